/** What a host says of itself (HST-17), and what exit code 133 becomes (HST-59). */
import { expect, test } from 'vitest';
import { exitCodeOf } from '#src/cli/exit-code.js';
import type { ExitStatus } from '#src/machines/exit.js';
import { hostKeysOf } from '#src/spec/os-release.js';

test('HST-17: os-release in every form of quoting; other keys and empty values are left out', () => {
  const text = `NAME="Debian"\nID=debian\nVERSION_ID="13"\n# VARIANT_ID=comment\nBUILD_ID='a b'\nVARIANT_ID=""\n`;
  expect(hostKeysOf(text)).toEqual({ id: 'debian', version_id: '13', build_id: 'a b' });
  expect(hostKeysOf('ID="a\\"b\\$c\\\\d"')).toEqual({ id: 'a"b$c\\d' });
  expect(hostKeysOf('')).toEqual({});
});

const EXACT = { confidence: 'exact' } as const;
const exit = (status: number) => ({ kind: 'exit', status, ...EXACT }) as ExitStatus;

test('HST-59: 133 asks systemd for a restart, and is no code of a payload', () => {
  expect(exitCodeOf(exit(133))).toBe(1);
  expect(exitCodeOf({ kind: 'signal', number: 5, signal: 'SIGTRAP', core: false, ...EXACT } as ExitStatus)).toBe(1);
  expect([0, 1, 132, 134].map(status => exitCodeOf(exit(status)))).toEqual([0, 1, 132, 134]);
});
