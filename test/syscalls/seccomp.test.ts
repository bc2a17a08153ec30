/**
 * ENV-62: the filter of our own assembler and the one that libseccomp makes of the same rules give the same verdict on
 * every call. libseccomp has its own tables of numbers, so that ours are checked with it.
 */
import { existsSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { seccompProgram } from '#src/plan/seccomp-program.js';
import { DEFAULT_DENYLIST, NO_AUDIT_SOCKET, type SeccompRule, SYSCALL_ABIS } from '#src/spec/seccomp.js';
import { exportFilter } from '#src/syscalls/libseccomp.js';
import { type Call, Filter, RET_ALLOW } from '../lib/cbpf.ts';

/** EM_X86_64 without the bit for 64: how libseccomp names x32 (seccomp.h, SCMP_ARCH_X32). */
const SCMP_ARCH_X32 = 0x4000003e;

/** More than the product has, to try the assembler itself. */
const OTHER_RULES: readonly SeccompRule[] = [
  { call: 'kexec_load', arguments: [{ index: 3, mask: 0x8001, value: 0x8000 }], errno: 'EINVAL' },
  { call: 'umount2', arguments: [{ index: 1, mask: 3, value: 2 }], errno: 'EBUSY' },
  {
    call: 'finit_module',
    arguments: [
      { index: 2, mask: 0x8000_0000, value: 0x8000_0000 },
      { index: 0, mask: 9, value: 9 },
    ],
    errno: 'ENOSYS',
  },
  { call: 'open_by_handle_at', errno: 'ENOSYS' },
];

/**
 * socketcall(2) of i386. Asked for a rule about socket(2), libseccomp adds one for it as well, though its arguments are
 * in memory where no filter can read them: what it then compares is not what the rule names.
 */
const SOCKETCALL = { arch: 0x40000003, nr: 102 };
const FOREIGN = [0x40000008, 0xc0000015, 0xc00000f3, 0x80000016, 0, 62];
const REGISTERS = [
  0n,
  1n,
  2n,
  3n,
  9n,
  0x8000n,
  0x8001n,
  0x8000_0000n,
  0x1_0000_0000n,
  0x1_0000_0001n,
  (1n << 64n) - 1n,
];

function* calls(arch: 'x64' | 'arm64', rules: readonly SeccompRule[]): Generator<Call> {
  const conventions = new Set(SYSCALL_ABIS[arch].map(({ audit }) => audit));
  const tried = [...new Set(rules.flatMap(rule => (rule.arguments ?? []).map(({ index }) => index)))];
  for (const audit of [...conventions, ...FOREIGN]) {
    const bases = conventions.has(audit) ? [0, 0x4000_0000] : [0];
    for (const base of bases) {
      for (let nr = base; nr < base + 600; nr++) {
        for (const index of tried) {
          for (const value of REGISTERS) {
            // The other arguments are small numbers, so that rules about two of them fit now and then.
            for (const other of [1n, 9n]) {
              yield { arch: audit, nr, args: Array.from({ length: 6 }, (_, at) => (at === index ? value : other)) };
            }
          }
        }
      }
    }
  }
}

// Debian's package libseccomp2; scripts/setup.sh installs it.
const LIBRARY = ['/usr/lib', '/lib', '/usr/lib64', '/usr/lib/x86_64-linux-gnu', '/usr/lib/aarch64-linux-gnu'];
const present = LIBRARY.some(directory => existsSync(`${directory}/libseccomp.so.2`));
if (!present) console.warn('skipped: no libseccomp.so.2 on this machine (package libseccomp2)');

describe.skipIf(!present).each(['x64', 'arm64'] as const)('%s', arch => {
  test.each([
    ['the default policy', DEFAULT_DENYLIST],
    ['without audit', [...DEFAULT_DENYLIST, NO_AUDIT_SOCKET]],
    ['other rules', OTHER_RULES],
  ] as const)('ENV-62: %s', (_, rules) => {
    const abis = SYSCALL_ABIS[arch];
    const tokens = abis.map(({ name, audit }) => (name === 'x32' ? SCMP_ARCH_X32 : audit));
    const own = new Filter(seccompProgram(rules, abis));
    const theirs = new Filter(exportFilter(rules, tokens, 'ENOSYS'));
    let refused = 0;
    let allowed = 0;
    for (const call of calls(arch, rules)) {
      const verdict = own.run(call);
      if (call.arch === SOCKETCALL.arch && call.nr === SOCKETCALL.nr) {
        expect(verdict).toBe(RET_ALLOW);
        continue;
      }
      if (verdict === RET_ALLOW) allowed++;
      else refused++;
      if (verdict !== theirs.run(call)) expect({ ...call, verdict }).toBe(theirs.run(call));
    }
    expect(refused).toBeGreaterThan(100);
    expect(allowed).toBeGreaterThan(10_000);
  });
});
