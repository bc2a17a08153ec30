/** What a host says of itself (HST-17), what hides it (HST-32), and what exit code 133 becomes (HST-59). */
import { describe, expect, test } from 'vitest';
import { exitCodeOf } from '#src/cli/exit-code.js';
import type { ExitStatus } from '#src/machines/exit.js';
import { hostKeysOf } from '#src/spec/os-release.js';
import { mountsRunIn } from '#src/workers/host/rootfs/run-mount.js';

test('HST-17: os-release in every form of quoting; other keys and empty values are left out', () => {
  const text = `NAME="Debian"\nID=debian\nVERSION_ID="13"\n# VARIANT_ID=comment\nBUILD_ID='a b'\nVARIANT_ID=""\n`;
  expect(hostKeysOf(text)).toEqual({ id: 'debian', version_id: '13', build_id: 'a b' });
  expect(hostKeysOf('ID="a\\"b\\$c\\\\d"')).toEqual({ id: 'a"b$c\\d' });
  expect(hostKeysOf('')).toEqual({});
});

describe('HST-32: what mounts a /run of its own', () => {
  test.each<[boolean, boolean, string]>([
    [true, true, 'tmpfs /run tmpfs defaults 0 0'],
    [true, true, '# a table\ntmpfs\t/run/\ttmpfs'],
    [true, false, '#tmpfs /run tmpfs'],
    [true, false, 'tmpfs /run/lock tmpfs'],
    [true, false, ' tmpfs /running tmpfs'],
    [false, true, 'mount -t tmpfs tmpfs /run'],
    [false, true, 'a\n/bin/mount -t tmpfs tmpfs /run/ ; b'],
    [false, true, 'test -d /run && mount -t tmpfs tmpfs /run\t\nb'],
    [false, true, 'mount -t tmpfs tmpfs /run # for daemons'],
    [false, false, '# mount -t tmpfs tmpfs /run'],
    [false, false, 'mount -t tmpfs tmpfs /tmp # not /run'],
    [false, false, 'mount -t tmpfs tmpfs /run/lock'],
    [false, false, 'mount -a; ls /run'],
    [false, false, 'umount /run'],
    [false, false, 'mount\n /run'],
  ])('table %s: %s: %j', (isTable, expected, text) => {
    expect(mountsRunIn(text, isTable)).toBe(expected);
  });

  test('is found out in no time, whatever the text', () => {
    for (const piece of ['mount ', 'mount /run x ', `mount /run${' '.repeat(50)}x `, ' ', 'a ', '; ', '\n']) {
      const text = `a ${piece.repeat(2 ** 20 / piece.length)}x`;
      const begun = performance.now();
      for (const isTable of [true, false]) expect(mountsRunIn(text, isTable)).toBe(false);
      // What looks at all of it from each of its places takes minutes.
      expect(performance.now() - begun).toBeLessThan(5000);
    }
  });
});

const EXACT = { confidence: 'exact' } as const;
const exit = (status: number) => ({ kind: 'exit', status, ...EXACT }) as ExitStatus;

test('HST-59: 133 asks systemd for a restart, and is no code of a payload', () => {
  expect(exitCodeOf(exit(133))).toBe(1);
  expect(exitCodeOf({ kind: 'signal', number: 5, signal: 'SIGTRAP', core: false, ...EXACT } as ExitStatus)).toBe(1);
  expect([0, 1, 132, 134].map(status => exitCodeOf(exit(status)))).toEqual([0, 1, 132, 134]);
});
