/** Users by the container's own files, which a hostile payload may have written. */
import { describe, expect, test } from 'vitest';
import { findUser } from '#src/supervisor/exec-user.js';
import { expectError } from './kit.ts';

const PASSWD = `root:x:0:0:root:/root:/bin/sh
daemon:x:1:1::/usr/sbin:/usr/sbin/nologin
web:x:33:44:The Web:/var/www:/bin/sh
high:x:70000:1::/:
negative:x:-1:0::/:
word:x:abc:0::/:
short:x
twice:x:5:5::/first:
twice:x:6:6::/second:
relative:x:7:7::home:
nohome:x:8:8
`;
const GROUP = `root:x:0:
adm:x:4:web,daemon
web:x:44:web
many:x:50:a,web
bad:x:zz:web
far:x:99999:web
`;
const RANGE = { last: 65_535, limit: 262_144 };

function find(wanted: string, passwd: string | null = PASSWD, group: string | null = GROUP, range = RANGE) {
  return findUser(
    wanted,
    [passwd, group].map(text => (text === null ? null : Buffer.from(text))),
    range,
  );
}

describe('findUser', () => {
  test('a name: its ids, its groups, its home', () => {
    expect(find('web')).toEqual({ uid: 33, gid: 44, groups: [4, 44, 50], name: 'web', home: '/var/www' });
    expect(find('root')).toEqual({ uid: 0, gid: 0, groups: [], name: 'root', home: '/root' });
    expect(find('twice')).toMatchObject({ uid: 5, home: '/first' });
    for (const name of ['relative', 'nohome']) expect(find(name)).toMatchObject({ home: '/' });
  });

  test('a number need not be there; a group after a colon is taken alone', () => {
    expect(find('33')).toMatchObject({ uid: 33, gid: 44, groups: [4, 44, 50], home: '/var/www' });
    expect(find('4242')).toEqual({ uid: 4242, gid: 0, groups: [], name: null, home: '/' });
    expect(find('4242', null, null)).toMatchObject({ uid: 4242, gid: 0 });
    expect(find('web:adm')).toMatchObject({ uid: 33, gid: 4, groups: [] });
    expect(find('9:10')).toMatchObject({ uid: 9, gid: 10, groups: [] });
  });

  test.each([
    'nobody',
    'high',
    'negative',
    'word',
    'short',
    '',
    ':',
    'web:',
    ':adm',
    'web:none',
    'web:far',
    'a:b:c',
    '99999',
  ])('%j is refused', wanted => {
    expectError(() => find(wanted), 'SPEC_INVALID', 'user');
  });

  test('files that are missing, no text, cut off or endless lines', () => {
    expectError(() => find('web', null), 'SPEC_INVALID', 'user');
    expectError(() => find('web', '\0'.repeat(1000)), 'SPEC_INVALID', 'user');
    expectError(() => findUser('web', [Buffer.alloc(1000, 0xff), null], RANGE), 'SPEC_INVALID', 'user');
    expect(find('web', `${':'.repeat(200_000)}\n${PASSWD}`)).toMatchObject({ uid: 33 });
    // The end of what was read may be the middle of a number.
    const cut = 'x:x:1:1::/:\nweb:x:33:44::/:';
    expectError(() => find('web', cut, '', { last: 65_535, limit: cut.length }), 'SPEC_INVALID', 'user');
    const members = `crowd:x:60:${'a,'.repeat(50_000)}web\n`;
    expect(find('web', PASSWD, members)).toMatchObject({ groups: [60] });
    const groups = Array.from({ length: 5000 }, (_, index) => `g${index}:x:${index}:web`).join('\n');
    expect(find('web', PASSWD, groups).groups).toHaveLength(1024);
  });
});
