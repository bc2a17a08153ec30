/** Reading tar archives: headers, extended headers, files with holes, ACLs; and what is refused. */
import { describe, expect, test } from 'vitest';
import { encodeAcl } from '#src/workers/unpack/acl.js';
import { ByteReader } from '#src/workers/unpack/bytes.js';
import { numberIn } from '#src/workers/unpack/header.js';
import { type Member, Members } from '#src/workers/unpack/members.js';
import { parsePax, paxTime } from '#src/workers/unpack/pax.js';
import { printable } from '#src/workers/unpack/refuse.js';
import { paxRecord, type TarMember, tarOf } from '../lib/tar.ts';
import { errorOf } from './kit.js';

/** In pieces of a prime length, so that every boundary falls into one. */
async function* pieces(bytes: Buffer): AsyncGenerator<Buffer, void, void> {
  for (let at = 0; at < bytes.length; at += 97) yield bytes.subarray(at, at + 97);
}

async function read(bytes: Buffer): Promise<{ member: Member; data: string }[]> {
  const members = new Members(new ByteReader(pieces(bytes)));
  const out: { member: Member; data: string }[] = [];
  for (let member = await members.next(); member !== undefined; member = await members.next()) {
    const parts: Buffer[] = [];
    for (let data = await members.data(); data !== undefined; data = await members.data())
      parts.push(Buffer.from(data));
    out.push({ member, data: Buffer.concat(parts).toString() });
  }
  return out;
}

async function only(member: TarMember): Promise<{ member: Member; data: string }> {
  const [one, ...more] = await read(tarOf(member));
  expect(more).toEqual([]);
  if (one === undefined) throw new Error('no member');
  return one;
}

describe('members', () => {
  test('of every kind, with all that a plain header says', async () => {
    const all = await read(
      tarOf(
        { name: './', type: '5', mode: 0o1777 },
        { name: 'a/file', mode: 0o4755, uid: 7, gid: 8, mtime: 99, data: 'x'.repeat(700) },
        { name: 'a/link', type: '1', link: 'a/file', size: 700 },
        { name: 'a/symlink', type: '2', link: '/etc/passwd' },
        { name: 'dev/null', type: '3' },
        { name: 'dev/sda', type: '4' },
        { name: 'fifo', type: '6' },
        { name: 'old/', type: '\0' },
      ),
    );
    expect(all.map(({ member }) => [member.kind, member.name.toString(), member.link.toString()])).toEqual([
      ['directory', './', ''],
      ['file', 'a/file', ''],
      ['link', 'a/link', 'a/file'],
      ['symlink', 'a/symlink', '/etc/passwd'],
      ['device', 'dev/null', ''],
      ['device', 'dev/sda', ''],
      ['fifo', 'fifo', ''],
      ['directory', 'old/', ''],
    ]);
    expect(all[1]?.member).toMatchObject({ mode: 0o4755, uid: 7, gid: 8, size: 700, segments: null });
    expect(all[1]?.member.mtime).toEqual({ seconds: 99, nanoseconds: 0 });
    expect(all[1]?.data).toBe('x'.repeat(700));
  });

  test('whose data nobody wants are passed over', async () => {
    const members = new Members(new ByteReader(pieces(tarOf({ name: 'a', data: 'x'.repeat(2000) }, { name: 'b' }))));
    expect((await members.next())?.name.toString()).toBe('a');
    expect((await members.next())?.name.toString()).toBe('b');
    expect(await members.next()).toBeUndefined();
  });

  test("long names come by a prefix, by GNU's headers and by pax; bytes stay what they are", async () => {
    const bytes = Buffer.from('caf\xe9/\xff', 'latin1');
    expect((await only({ name: bytes })).member.name).toEqual(bytes);
    const patch = (header: Buffer): void => void header.write('prefix/of/it', 345, 'latin1');
    expect((await only({ name: 'name', patch })).member.name.toString()).toBe('prefix/of/it/name');
    const long = 'long/'.repeat(100);
    const gnu = tarOf(
      { name: '././@LongLink', type: 'L', data: `${long}file\0` },
      { name: '././@LongLink', type: 'K', data: `${long}target\0` },
      { name: 'short', type: '2', link: 'short' },
    );
    const [{ member } = { member: undefined }] = await read(gnu);
    expect([member?.name.toString(), member?.link.toString()]).toEqual([`${long}file`, `${long}target`]);
    const pax = { path: `${long}p`, linkpath: bytes, uid: '4000000', gid: '70000', mtime: '-1.5' };
    const one = (await only({ name: 'short', type: '2', pax })).member;
    expect(one.name.toString()).toBe(`${long}p`);
    expect(one.link).toEqual(bytes);
    expect(one).toMatchObject({ uid: 4_000_000, gid: 70_000, mtime: { seconds: -2, nanoseconds: 500_000_000 } });
  });

  test('attributes are byte-exact, also such as are no UTF-8, hold newlines, or equals signs', async () => {
    const capability = Buffer.from('0100000202200000ff0a3d00fe800000', 'hex');
    const { member } = await only({ name: 'ping', pax: { 'SCHILY.xattr.security.capability': capability } });
    expect(member.attributes.get('security.capability')).toEqual(capability);
  });

  test('an ACL that comes as text and as attribute is the attribute', async () => {
    const value = Buffer.from([2, 0, 0, 0]);
    const text = 'user::rwx,group:adm:r-x';
    for (const pax of [
      { 'SCHILY.acl.access': text, 'SCHILY.xattr.system.posix_acl_access': value },
      { 'SCHILY.xattr.system.posix_acl_access': value, 'SCHILY.acl.access': text },
    ])
      expect([...(await only({ name: 'a', pax })).member.acls]).toEqual([['system.posix_acl_access', value]]);
    const named = (await only({ name: 'a', pax: { 'SCHILY.acl.default': text } })).member;
    expect([...named.acls]).toEqual([['system.posix_acl_default', null]]);
  });

  test('global records hold for all that follow, and an empty value takes one back', async () => {
    const all = await read(
      tarOf(
        { name: 'g', type: 'g', data: paxRecord('uid', '5') },
        { name: 'a', uid: 1 },
        { name: 'b', uid: 1, pax: { uid: '' } },
      ),
    );
    expect(all.map(({ member }) => member.uid)).toEqual([5, 1]);
  });
});

describe('files with holes', () => {
  const segments = [
    { offset: 10, length: 3 },
    { offset: 1000, length: 4 },
  ];

  test("GNU's own form", async () => {
    const patch = (header: Buffer): void => {
      header.write('ustar  \0', 257, 'latin1');
      for (const [index, { offset, length }] of segments.entries()) {
        header.write(offset.toString(8).padStart(11, '0'), 386 + 24 * index, 'latin1');
        header.write(length.toString(8).padStart(11, '0'), 398 + 24 * index, 'latin1');
      }
      header.write((2000).toString(8).padStart(11, '0'), 483, 'latin1');
    };
    const { member, data } = await only({ name: 'holes', type: 'S', data: 'abcdefg', patch });
    expect(member).toMatchObject({ kind: 'file', size: 2000, segments });
    expect(data).toBe('abcdefg');
  });

  test.each([
    ['0.1', { 'GNU.sparse.size': '2000', 'GNU.sparse.map': '10,3,1000,4', 'GNU.sparse.name': 'holes' }, 'abcdefg'],
    [
      '1.0',
      { 'GNU.sparse.major': '1', 'GNU.sparse.minor': '0', 'GNU.sparse.name': 'holes', 'GNU.sparse.realsize': '2000' },
      `${'2\n10\n3\n1000\n4\n'.padEnd(512, '\0')}abcdefg`,
    ],
  ])('form %s of pax', async (_, pax, stored) => {
    const { member, data } = await only({ name: 'GNUSparseFile.0/holes', pax, data: stored });
    expect(member).toMatchObject({ kind: 'file', size: 2000, segments });
    expect(member.name.toString()).toBe('holes');
    expect(data).toBe('abcdefg');
  });

  test.each([
    ['overlap', '10,3,12,4'],
    ['go back', '1000,4,10,3'],
    ['lie behind its end', '10,3,1999,4'],
    ['are longer than what is stored', '10,3,1000,5'],
    ['are no pairs', '10,3,1000'],
    ['are no numbers', '10,3,-1,4'],
  ])('pieces that %s are refused', async (_, map) => {
    const pax = { 'GNU.sparse.size': '2000', 'GNU.sparse.map': map };
    await expect(only({ name: 'holes', pax, data: 'abcdefg' })).rejects.toMatchObject({ code: 'ARCHIVE_INVALID' });
  });

  test('a map that promises more than there can be is not waited for', async () => {
    const pax = { 'GNU.sparse.major': '1', 'GNU.sparse.realsize': '1' };
    const data = `${Number.MAX_SAFE_INTEGER}\n`.padEnd(512, '\0');
    await expect(only({ name: 'holes', pax, data })).rejects.toThrow(/pieces/);
  });
});

describe('is refused', () => {
  const good: TarMember = { name: 'first', data: 'x'.repeat(600) };

  test.each<[string, Buffer, string, RegExp]>([
    ['what is no archive', Buffer.alloc(2048, 'x'), 'ARCHIVE_UNSUPPORTED', /no tar archive/],
    ['an empty file', Buffer.alloc(0), 'ARCHIVE_INVALID', /after its beginning/],
    ['one that ends within data', tarOf(good).subarray(0, 900), 'ARCHIVE_INVALID', /in the middle, after "first"/],
    ['one without an end', tarOf(good).subarray(0, 1536), 'ARCHIVE_INVALID', /in the middle, after "first"/],
    [
      'a type that nobody knows',
      tarOf({ name: 'm', type: 'M' }),
      'ARCHIVE_UNSUPPORTED',
      /"m" is of the unknown type "M"/,
    ],
    ['an extended header without end', tarOf({ name: 'x', type: 'x', size: 2 ** 33 }), 'ARCHIVE_INVALID', /bytes long/],
    ['records of a wrong length', tarOf({ name: 'x', type: 'x', data: '99 path=a\n' }), 'ARCHIVE_INVALID', /records/],
    ['a size that is none', tarOf({ name: 'n', pax: { size: '1e9' } }), 'ARCHIVE_INVALID', /"n": its size/],
    [
      'an id that there cannot be',
      tarOf({ name: 'n', pax: { uid: '4294967295' } }),
      'ARCHIVE_INVALID',
      /"n": its owner/,
    ],
  ])('%s', async (_, bytes, code, message) => {
    await expect(read(bytes)).rejects.toMatchObject({ code, message: expect.stringMatching(message) });
  });

  /** `piece` again and again; tells how much of it was taken. */
  async function endless(piece: Buffer): Promise<{ error: unknown; taken: number }> {
    let taken = 0;
    async function* source(): AsyncGenerator<Buffer, void, void> {
      for (; taken < 64 * 1024 * 1024; taken += piece.length) yield piece;
    }
    const members = new Members(new ByteReader(source()));
    try {
      await members.next();
      return { error: undefined, taken };
    } catch (error) {
      return { error, taken };
    }
  }

  test.each([
    ['records for one member', 'x', paxRecord('comment', 'x'.repeat(400_000))],
    ['records for all members', 'g', paxRecord('comment', 'x'.repeat(400_000))],
    ['long names', 'L', Buffer.alloc(400_000, 'n')],
    ['long links', 'K', Buffer.alloc(400_000, 'n')],
  ])('%s without end, before more memory is taken than there may be', async (_, type, data) => {
    const { error, taken } = await endless(tarOf({ name: 'h', type, data }).subarray(0, -1024));
    expect(error).toMatchObject({
      code: 'ARCHIVE_INVALID',
      message: expect.stringMatching(/bytes long, after others/),
    });
    expect(taken).toBeLessThan(2 * 1024 * 1024);
  });

  test('a map of holes that is one endless number', async () => {
    const pax = { 'GNU.sparse.major': '1', 'GNU.sparse.realsize': '1' };
    const header = tarOf({ name: 'holes', pax, size: 2 ** 32, data: '' }).subarray(0, -1024);
    let taken = 0;
    async function* source(): AsyncGenerator<Buffer, void, void> {
      yield header;
      for (; taken < 1024 * 1024; taken += 512) yield Buffer.alloc(512, '1');
    }
    await expect(new Members(new ByteReader(source())).next()).rejects.toMatchObject({ code: 'ARCHIVE_INVALID' });
    expect(taken).toBeLessThan(8192);
  });

  test.each<[string, TarMember]>([
    ['a path that the kernel would not take', { name: 'n', pax: { path: 'n/'.repeat(2049) } }],
    ['a link that the kernel would not take', { name: 'n', type: '2', pax: { linkpath: 'n'.repeat(4097) } }],
    ['a name that ends early for the kernel', { name: 'n', pax: { path: 'a/..\0' } }],
    ['a link that ends early for the kernel', { name: 'n', type: '2', pax: { linkpath: '..\0' } }],
    ['a link to nowhere', { name: 'n', type: '2', link: '' }],
    ['an attribute whose name ends early', { name: 'n', pax: { 'SCHILY.xattr.user.a\0': 'x' } }],
    ['an attribute with a long name', { name: 'n', pax: { [`SCHILY.xattr.user.${'a'.repeat(255)}`]: 'x' } }],
    ['an attribute that is too large', { name: 'n', pax: { 'SCHILY.xattr.user.a': 'x'.repeat(65_537) } }],
    ['an ACL that is too large', { name: 'n', pax: { 'SCHILY.acl.access': 'user:1:rwx,'.repeat(9000) } }],
  ])('%s', async (_, member) => {
    await expect(only(member)).rejects.toMatchObject({ code: 'ARCHIVE_INVALID' });
  });

  test('a damaged header after a good member', async () => {
    const bytes = tarOf(good, { name: 'second' });
    bytes.write('damage', 1536 + 100);
    await expect(read(bytes)).rejects.toThrow(/follows "first" is no header/);
  });
});

test('numbers are octal, or to the base of 256', () => {
  expect(numberIn(Buffer.from('0000644\0'))).toBe(0o644);
  expect(numberIn(Buffer.from('   644 \0'))).toBe(0o644);
  expect(numberIn(Buffer.alloc(8))).toBe(0);
  expect(numberIn(Buffer.from('8000000000000000000f4240', 'hex'))).toBe(1_000_000);
  expect(numberIn(Buffer.from('ffffffffffffffff', 'hex'))).toBe(-1);
  expect(numberIn(Buffer.from('807fffffffffffffffffffff', 'hex'))).toBeUndefined();
  expect(numberIn(Buffer.from('0000689\0'))).toBeUndefined();
});

test('pax records and times', () => {
  expect(parsePax(Buffer.concat([paxRecord('a', '1'), paxRecord('b', 'x=y\nz')]), 'it')).toEqual([
    ['a', Buffer.from('1')],
    ['b', Buffer.from('x=y\nz')],
  ]);
  expect(paxTime(Buffer.from('12.0000000019'), 'it')).toEqual({ seconds: 12, nanoseconds: 1 });
  expect(errorOf(() => paxTime(Buffer.from('now'), 'it')).code).toBe('ARCHIVE_INVALID');
});

test('an ACL in text becomes that of the kernel, in its order', () => {
  const text = 'user::rw-\nuser:1000:r-x\nuser:lisa:rwx:500\ngroup::r--\nmask::rwx # effective\nother::---\n';
  const entries = [
    [1, 6, 0xffffffff],
    [2, 7, 500],
    [2, 5, 1000],
    [4, 4, 0xffffffff],
    [16, 7, 0xffffffff],
    [32, 0, 0xffffffff],
  ] as const;
  const bytes = Buffer.alloc(4 + 8 * entries.length);
  bytes.writeUInt32LE(2, 0);
  entries.forEach(([tag, permissions, id], index) => {
    bytes.writeUInt16LE(tag, 4 + 8 * index);
    bytes.writeUInt16LE(permissions, 6 + 8 * index);
    bytes.writeUInt32LE(id, 8 + 8 * index);
  });
  expect(encodeAcl(text)).toEqual(bytes);
  expect(encodeAcl('group:adm:r-x')).toBeUndefined();
  expect(encodeAcl('')).toBeUndefined();
});

test('a name cannot write to the terminal that shows it', () => {
  expect(printable(Buffer.from('a\u001b[2J\u009bm'))).toBe('"a\\u001b[2J\\u009bm"');
});
