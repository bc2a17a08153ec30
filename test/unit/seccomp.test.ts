/** ENV-62: the list of refused calls, and the filter that is made of it. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { HostFacts } from '#src/plan/facts.js';
import { seccompProgram } from '#src/plan/seccomp-program.js';
import { ERRNO } from '#src/spec/errno.js';
import {
  type ArgumentTest,
  DEFAULT_DENYLIST,
  NO_AUDIT_SOCKET,
  type RefusedCall,
  type SeccompRule,
  SYSCALL_ABIS,
} from '#src/spec/seccomp.js';
import { Filter, RET_ALLOW, refusedWith } from '../lib/cbpf.ts';
import { HYBRID, NO_IDMAP, PURE_V2 } from '../lib/facts.js';
import { actions, at, expectError, planOf, privileged, stepOf, unprivileged } from './kit.js';

const ARCHITECTURES = ['x64', 'arm64'] as const;
/** What most containers get. */
const RULES = [...DEFAULT_DENYLIST, NO_AUDIT_SOCKET];
const EPERM = refusedWith(ERRNO.EPERM);
const ENOSYS = refusedWith(ERRNO.ENOSYS);
/** EM_MIPS, EM_PPC64, EM_S390, EM_RISCV and nonsense, with the bits for size and byte order. */
const FOREIGN = [0x40000008, 0xc0000015, 0x80000016, 0xc00000f3, 0, 0xffffffff, 62, 3, 0x8000003e];

/** What the rules mean, in the words of the policy. */
function verdict(rules: readonly SeccompRule[], call: RefusedCall | undefined, args: readonly bigint[]): number {
  for (const rule of rules) {
    if (rule.call !== call) continue;
    const fits = ({ index, mask, value }: ArgumentTest): boolean =>
      Number((args[index] ?? 0n) & BigInt(mask)) === value;
    if ((rule.arguments ?? []).every(fits)) return refusedWith(ERRNO[rule.errno]);
  }
  return RET_ALLOW;
}

describe('the policy', () => {
  test('ENV-62: names what Incus and LXC name, with EPERM', () => {
    const always = DEFAULT_DENYLIST.filter(rule => rule.arguments === undefined).map(({ call }) => call);
    expect(always.sort()).toEqual([
      'delete_module',
      'finit_module',
      'init_module',
      'kexec_file_load',
      'kexec_load',
      'open_by_handle_at',
    ]);
    expect(DEFAULT_DENYLIST.filter(rule => rule.arguments !== undefined)).toEqual([
      { call: 'umount2', arguments: [{ index: 1, mask: 1, value: 1 }], errno: 'EPERM' },
    ]);
    expect(new Set(DEFAULT_DENYLIST.map(({ errno }) => errno))).toEqual(new Set(['EPERM']));
  });

  test('every call has a number in every convention that has the call', () => {
    for (const abis of Object.values(SYSCALL_ABIS)) {
      for (const { name, numbers } of abis) {
        const missing = RULES.map(({ call }) => call).filter(call => !(call in numbers));
        // 32-bit x86 never got kexec_file_load.
        expect(missing, name).toEqual(name === 'i386' ? ['kexec_file_load'] : []);
        expect(new Set(Object.values(numbers)).size, name).toBe(Object.keys(numbers).length);
      }
    }
  });
});

describe.each(ARCHITECTURES)('the filter for %s', arch => {
  const abis = SYSCALL_ABIS[arch];
  const filter = new Filter(seccompProgram(RULES, abis));

  test('ENV-62: every number of every convention, with and without MNT_FORCE', () => {
    let refused = 0;
    for (const audit of new Set(abis.map(abi => abi.audit))) {
      const calls = new Map<number, RefusedCall>(
        abis
          .filter(abi => abi.audit === audit)
          .flatMap(({ numbers }) => Object.entries(numbers).map(([call, nr]) => [nr, call as RefusedCall] as const)),
      );
      for (const base of [0, 0x4000_0000, 0x8000_0000, 0xffff_fc00]) {
        for (let offset = 0; offset < 1024; offset++) {
          const nr = base + offset;
          for (const flags of [0n, 1n, 2n, 3n, 9n, 0x1_0000_0000n, 0x1_0000_0001n]) {
            // MNT_FORCE in any other argument means nothing.
            const args = [1n, flags, 1n, 1n, 1n, 1n];
            const got = filter.run({ arch: audit, nr, args });
            const wanted = verdict(RULES, calls.get(nr), args);
            if (got !== wanted) expect({ audit, nr, flags, got }).toBe(wanted);
            if (got === EPERM) refused++;
          }
        }
      }
    }
    const numbers = abis.flatMap(abi => Object.keys(abi.numbers)).filter(call => call !== 'socket');
    const forced = numbers.filter(call => call === 'umount2').length;
    // Of the seven flags four have MNT_FORCE set in the half that the kernel reads.
    expect(refused).toBe(7 * (numbers.length - forced) + 4 * forced);
  });

  test('ENV-61: of sockets only that to audit is refused, in every convention', () => {
    const sockets = [
      { domain: 16n, protocol: 9n, result: refusedWith(ERRNO.EAFNOSUPPORT) },
      { domain: 0xabc_0000_0010n, protocol: 0xffff_ffff_0000_0009n, result: refusedWith(ERRNO.EAFNOSUPPORT) },
      { domain: 16n, protocol: 0n, result: RET_ALLOW },
      { domain: 16n, protocol: 15n, result: RET_ALLOW },
      { domain: 2n, protocol: 9n, result: RET_ALLOW },
      { domain: 9n, protocol: 16n, result: RET_ALLOW },
    ];
    for (const { audit, numbers } of abis) {
      for (const { domain, protocol, result } of sockets) {
        const args = [domain, 3n, protocol];
        expect(filter.run({ arch: audit, nr: numbers.socket ?? -1, args }), `${domain} ${protocol}`).toBe(result);
      }
    }
  });

  test('ENV-62: a convention that is not known is neither a way around nor the end of the process', () => {
    for (const audit of FOREIGN) {
      for (const nr of [0, 1, 39, 166, 246, 0x4000_00a6, 0xffff_ffff]) {
        expect(filter.run({ arch: audit, nr }), `${audit} ${nr}`).toBe(ENOSYS);
      }
    }
  });
});

describe('any rules', () => {
  const call = fc.constantFrom(...RULES.map(rule => rule.call));
  const word = fc.oneof(fc.constantFrom(0, 1, 0x8000_0000, 0xffff_ffff), fc.nat(0xffff_ffff));
  const argument = fc.record({ index: fc.nat(5), mask: word, value: word });
  const rule: fc.Arbitrary<SeccompRule> = fc.record(
    { call, arguments: fc.array(argument, { maxLength: 3 }), errno: fc.constantFrom('EPERM', 'ENOSYS', 'EINVAL') },
    { requiredKeys: ['call', 'errno'] },
  );
  const register = fc.oneof(word.map(BigInt), fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }));

  test('the first that fits decides, in every convention; a hundred rules are no trouble', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...ARCHITECTURES),
        fc.array(rule, { maxLength: 100, size: 'max' }),
        fc.array(fc.record({ call, args: fc.array(register, { minLength: 6, maxLength: 6 }) }), { minLength: 5 }),
        (arch, rules, calls) => {
          const filter = new Filter(seccompProgram(rules, SYSCALL_ABIS[arch]));
          for (const abi of SYSCALL_ABIS[arch]) {
            for (const made of calls) {
              // Half of the time an argument is what a rule waits for.
              const wanted = rules.find(one => one.call === made.call)?.arguments ?? [];
              const args = [...made.args];
              if ((args[0] ?? 0n) % 2n === 0n) for (const { index, value } of wanted) args[index] = BigInt(value);
              const nr = abi.numbers[made.call];
              if (nr === undefined) continue;
              expect(filter.run({ arch: abi.audit, nr, args })).toBe(verdict(rules, made.call, args));
            }
          }
        },
      ),
      { numRuns: 200 },
    );
  });
});

describe('in a plan', () => {
  const without: HostFacts = { ...PURE_V2, features: { ...PURE_V2.features, seccomp: false } };
  const both = [
    ['privileged', privileged],
    ['unprivileged', unprivileged],
  ] as const;

  test.each(both)('%s: the default, for the architecture of the host', (_, spec) => {
    const hosts = [PURE_V2, HYBRID, NO_IDMAP, { ...PURE_V2, arch: 'arm64' } as const];
    for (const facts of hosts) {
      const programs = actions(planOf(spec(), facts), 'seccomp').map(({ program }) => program);
      expect(programs).toEqual([seccompProgram(RULES, SYSCALL_ABIS[facts.arch])]);
    }
  });

  test.each(both)('%s: ENV-61: audit sockets are left to who keeps an audit capability', (_, spec) => {
    for (const name of ['audit_read', 'audit_write', 'audit_control']) {
      const [action] = actions(planOf(spec({ capabilities: { keep: [name] } }), PURE_V2), 'seccomp');
      expect(action?.program).toEqual(seccompProgram(DEFAULT_DENYLIST, SYSCALL_ABIS.x64));
    }
  });

  test.each(both)('%s: in the last batch, before CAP_SYS_ADMIN can be lost', (_, spec) => {
    const plan = planOf(spec(), PURE_V2);
    const seccomp = at(plan, 'running.seccomp');
    expect(seccomp).toBeLessThan(at(plan, 'running.capabilities'));
    const rest = plan.steps.slice(seccomp).filter(step => step.executor === 'init');
    expect(rest.at(-1)?.action.op).toBe('execve');
    // None of what the child still does is on the list.
    const allowed = ['seccomp', 'capabilities', 'default_signals', 'close_on_exec', 'unblock_signals', 'execve'];
    expect(rest.map(step => step.action.op).filter(op => !allowed.includes(op))).toEqual([]);
    expect(stepOf(plan, 'running.seccomp').tolerate ?? []).toEqual([]);
  });

  test.each(both)('%s: none, as asked for, is told', (_, spec) => {
    for (const facts of [PURE_V2, without]) {
      const plan = planOf(spec({ security: { seccomp: 'none' } }), facts);
      expect(actions(plan, 'seccomp')).toEqual([]);
      expect(plan.notices.filter(({ code }) => code === 'seccomp-none')).toEqual([
        { code: 'seccomp-none', outcome: 'done', message: expect.stringContaining('as asked for') },
      ]);
    }
    expect(planOf(spec(), PURE_V2).notices.map(({ code }) => code)).not.toContain('seccomp-none');
  });

  test('on a host without filters: privileged is refused, unprivileged told', () => {
    const error = expectError(() => planOf(privileged(), without), 'SECCOMP_UNAVAILABLE', 'security.seccomp');
    expect(error.hint).toContain('CONFIG_SECCOMP_FILTER');
    const plan = planOf(unprivileged(), without);
    expect(actions(plan, 'seccomp')).toEqual([]);
    const notices = plan.notices.filter(({ code }) => code === 'seccomp-none');
    expect(notices).toEqual([{ code: 'seccomp-none', message: expect.stringContaining('this host takes no') }]);
  });
});
