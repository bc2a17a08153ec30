/** Terminals for logins besides the console (ENV-26, HST-16, HST-48). */
import { existsSync } from 'node:fs';
import type { Console } from 'caisson';
import { beforeAll, expect, test } from 'vitest';
import { IMAGE_TIMEOUT_MS, image } from '../lib/images.ts';
import { inside } from '../lib/inside.ts';
import { MODES, until, useRig } from '../lib/rig.ts';
import { slow } from '../lib/slow.ts';

const rig = useRig();
let debian = '';

beforeAll(async () => {
  debian = await image('debian-12');
}, IMAGE_TIMEOUT_MS);

const shows = (tty: Console, wanted: RegExp): Promise<void> =>
  until(() => wanted.test(tty.history().toString()), `${wanted} on a terminal`, slow(30_000));

test.each(MODES)('HST-16: systemd starts a login on each, and what is typed there is its own, %s', async mode => {
  const container = await rig.start({ mode, rootfs: { path: debian, overlay: 'ephemeral' }, ttys: 2 });
  const [first, second] = container.ttys;
  if (first === undefined || second === undefined) throw new Error('no terminals');
  for (const tty of [container.console, first, second]) await shows(tty, /login: $/);
  await second.write('root\n');
  await shows(second, /root@.*:~# $/);
  await second.write('tty; echo $((6 * 7)); stty size\n');
  await shows(second, /\/dev\/pts\/2\r\n42\r\n24 80/);
  for (const tty of [container.console, first]) expect(tty.history().toString()).not.toContain('42');
  // ENV-26, HST-48: no names of virtual terminals.
  expect((await inside(container, 'ls -d /dev/tty[0-9]* /dev/vcs* 2>/dev/null')).text).toBe('');
  expect((await inside(container, 'tr "\\0" "\\n" </proc/1/environ')).text).toContain('container_ttys=pts/1 pts/2');
});

test('ENV-26, ENV-54: none by default; the idle terminal of an init comes after them', async () => {
  const script = 'cd /dev/pts; echo * "[$container_ttys]"';
  const { text } = await rig.run({ script });
  expect(text).toBe('0 ptmx []\n');
  const more = await rig.run({ script, ttys: 1, signals: { profile: 'sysvinit' } });
  expect(more.text).toBe('0 1 2 ptmx [pts/1]\n');
});

test('HST-48: nothing is mounted over the name of a virtual terminal', async () => {
  const container = await rig.start({ init: '/bin/sleep', args: ['1000'] });
  for (const target of ['/dev/tty1', '/dev/vcs', '//dev/./tty63', '/dev/vcsa2']) {
    await expect(container.addMount({ source: rig.dir, target }), target).rejects.toMatchObject({
      code: 'SPEC_INVALID',
      field: 'target',
    });
  }
  expect(existsSync(`/proc/${container.pid}/root/dev/tty1`)).toBe(false);
});
