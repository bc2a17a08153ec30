/** ENV-50 to ENV-60: what PID 1 is and has at its first instruction. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { HostFacts } from '#src/plan/facts.js';
import { CAPABILITIES, capabilitiesOf, DROPPED_BY_DEFAULT } from '#src/spec/capabilities.js';
import type { ContainerSpec } from '#src/spec/container.js';
import { capRlimit, defaultRlimits, RLIMIT_NAMES, type Rlimit } from '#src/spec/rlimits.js';
import { HOSTS, HYBRID, NO_SYS_RESOURCE, PURE_V1, PURE_V2 } from '../lib/facts.js';
import { actions, at, errorOf, has, hostStepOf, initStepOf, planOf, privileged, stepOf, unprivileged } from './kit.js';

const MIB = 1024 * 1024;

const CASES = Object.entries(HOSTS).flatMap(([host, facts]) => [
  [host, 'unprivileged', unprivileged(), facts] as const,
  ...(host === 'nested' ? [] : [[host, 'privileged', privileged(), facts] as const]),
]);

describe.each(CASES)('on %s, %s', (_host, _mode, spec, facts) => {
  const plan = planOf(spec, facts);

  test('ENV-50 the program is /sbin/init, and argv is its path only', () => {
    expect(actions(plan, 'execve')).toEqual([
      { op: 'execve', path: '/sbin/init', argv: ['/sbin/init'], env: ['container=lxc'] },
    ]);
  });

  test('ENV-51 default environment is exactly container=lxc', () => {
    expect(actions(plan, 'execve')[0]?.env).toEqual(['container=lxc']);
  });

  test('ENV-53 descriptors 0, 1 and 2 are the console, and everything above is closed at exec', () => {
    expect(actions(plan, 'dup')).toEqual([0, 1, 2].map(to => ({ op: 'dup', fd: 'fd:console.slave', to })));
    expect(actions(plan, 'close_on_exec')).toEqual([{ op: 'close_on_exec', from: 3 }]);
    expect(at(plan, 'running.fds')).toBeGreaterThan(at(plan, 'running.fd.2'));
  });

  test('ENV-54 a new session, then the console as its controlling terminal, or an idle one, by the init it is', () => {
    expect(at(plan, 'mounting.init.detect')).toBeLessThan(at(plan, 'devices.idle'));
    expect(hostStepOf(plan, 'devices.idle').needs).toBe('is:init.needs-idle-terminal');
    expect(at(plan, 'devices.console')).toBeLessThan(at(plan, 'devices.idle'));
    expect(at(plan, 'running.session')).toBeLessThan(at(plan, 'running.tty'));
    expect(initStepOf(plan, 'running.tty')).toMatchObject({
      action: { op: 'controlling_tty', fd: 'fd:console.slave' },
      needs: 'is:init.takes-console',
    });
    expect(initStepOf(plan, 'running.tty.idle')).toMatchObject({
      action: { op: 'controlling_tty', fd: 'fd:idle.slave' },
      needs: 'is:init.needs-idle-terminal',
    });
  });

  test('ENV-55 SIGPIPE (13) and SIGXFSZ (25), which Node ignores, get their default action back', () => {
    const [reset] = actions(plan, 'default_signals');
    expect(reset?.signals).toEqual(expect.arrayContaining(['13', '25']));
  });

  test('ENV-55 signals are unblocked as the very last thing before exec', () => {
    const ids = plan.steps.filter(step => step.executor === 'init').map(({ id }) => id);
    expect(ids.slice(-2)).toEqual(['running.signals.unblock', 'running.exec']);
    expect(at(plan, 'running.signals.default')).toBeLessThan(at(plan, 'running.signals.unblock'));
  });

  test('ENV-56 cwd /, umask 0022, uid 0, gid 0', () => {
    expect(initStepOf(plan, 'mounting.chdir').action).toEqual({ op: 'chdir', path: '/' });
    expect(initStepOf(plan, 'running.umask').action).toEqual({ op: 'umask', mask: 0o022 });
    expect(initStepOf(plan, 'mounting.identity').action).toEqual({ op: 'identity', uid: 0, gid: 0 });
    // Nothing leaves / again, and nothing changes who we are afterwards.
    expect(
      plan.steps.slice(at(plan, 'mounting.chdir') + 1).filter(({ action }) => ['chdir', 'fchdir'].includes(action.op)),
    ).toEqual([]);
  });

  test('ENV-57 every limit is set, and none is above what can be had', () => {
    const [set] = actions(plan, 'rlimits');
    expect(Object.keys(set?.limits ?? {}).sort()).toEqual([...RLIMIT_NAMES].sort());
    for (const [name, limit] of Object.entries(set?.limits ?? {})) {
      const [soft, hard] = limit;
      if (hard !== null) expect(soft ?? Number.POSITIVE_INFINITY, name).toBeLessThanOrEqual(hard);
      const ceiling = facts.rlimits[name as keyof typeof facts.rlimits].hard;
      if (facts.capabilities.includes('sys_resource') || ceiling === null) continue;
      expect(hard ?? Number.POSITIVE_INFINITY, name).toBeLessThanOrEqual(ceiling);
    }
    expect(at(plan, 'running.rlimits')).toBeLessThan(at(plan, 'running.exec'));
  });

  test('ENV-60 sys_admin, mknod and sys_boot are never dropped', () => {
    for (const { drop, keep } of actions(plan, 'capabilities')) {
      for (const capability of ['sys_admin', 'mknod', 'sys_boot'] as const) {
        expect(drop).not.toContain(capability);
        expect(keep).toContain(capability);
      }
    }
  });
});

describe('ENV-50 program and arguments', () => {
  test('init and args come from the spec, the program itself first', () => {
    const plan = planOf(unprivileged({ init: '/bin/sh', args: ['-c', 'echo "$0"', ''] }), PURE_V2);
    expect(actions(plan, 'execve')[0]).toMatchObject({ path: '/bin/sh', argv: ['/bin/sh', '-c', 'echo "$0"', ''] });
  });
});

describe('ENV-51, ENV-52 environment', () => {
  const envOf = (input: Record<string, unknown>) => actions(planOf(unprivileged(input), PURE_V2), 'execve')[0]?.env;

  test('nothing of ours is inherited', () => {
    process.env.CAISSON_LEAK = 'x';
    try {
      expect(envOf({})).toEqual(['container=lxc']);
    } finally {
      delete process.env.CAISSON_LEAK;
    }
  });

  test("the user's variables follow container=, in their order, empty values included", () => {
    expect(envOf({ environment: { LANG: 'C', A: '', B: 'x=y' } })).toEqual(['container=lxc', 'LANG=C', 'A=', 'B=x=y']);
  });

  test('container= follows type, and only type', () => {
    expect(envOf({ type: 'caisson' })).toEqual(['container=caisson']);
    const error = errorOf(() => unprivileged({ environment: { container: 'docker' } }));
    expect({ code: error.code, field: error.field }).toEqual({ code: 'SPEC_INVALID', field: 'environment.container' });
  });

  test('each variable arrives once, whatever its name', () => {
    const variables = fc.dictionary(
      fc
        .oneof(
          fc.stringMatching(/^[A-Za-z_][A-Za-z0-9_]{0,10}$/),
          fc.constantFrom('constructor', 'prototype', '__proto__', 'toString', 'hasOwnProperty'),
        )
        .filter(name => name !== 'container'),
      fc.string({ maxLength: 8 }).filter(value => !value.includes('\0')),
      { maxKeys: 8 },
    );
    fc.assert(
      fc.property(variables, environment => {
        const expected = Object.entries(environment).map(([name, value]) => `${name}=${value}`);
        expect(envOf({ environment })).toEqual(['container=lxc', ...expected]);
      }),
    );
  });
});

test('ENV-54 console.controlling: true gives PID 1 the console, whatever init it is', () => {
  const plan = planOf(unprivileged({ console: { controlling: true } }), PURE_V2);
  expect(initStepOf(plan, 'running.tty').needs).toBeUndefined();
  for (const id of ['running.tty.idle', 'devices.idle']) expect(has(plan, id), id).toBe(false);
});

test('ENV-54 console.controlling: false leaves the terminal to whoever opens it first', () => {
  const plan = planOf(unprivileged({ console: { controlling: false } }), PURE_V2);
  for (const id of ['running.tty', 'running.tty.idle', 'devices.idle']) expect(has(plan, id), id).toBe(false);
  expect(has(plan, 'running.session')).toBe(true);
  expect(actions(plan, 'dup')).toHaveLength(3);
});

test('ENV-55 what else the supervisor ignores is reset too, each signal once, in order', () => {
  const signalsOf = (ignoredSignals: number[]) =>
    actions(planOf(unprivileged(), { ...PURE_V2, ignoredSignals }), 'default_signals')[0]?.signals;
  expect(signalsOf([])).toEqual(['13', '25']);
  expect(signalsOf([1, 25, 64, 13])).toEqual(['1', '13', '25', '64']);
});

describe('ENV-57 resource limits', () => {
  const limitsOf = (facts: HostFacts, rlimits?: Record<string, unknown>) =>
    actions(planOf(unprivileged(rlimits === undefined ? {} : { rlimits }), facts), 'rlimits')[0]?.limits;
  const capped = (facts: HostFacts, rlimits?: Record<string, unknown>) =>
    planOf(unprivileged(rlimits === undefined ? {} : { rlimits }), facts).notices.filter(
      ({ code }) => code === 'rlimit-capped',
    );

  test('defaults, with CAP_SYS_RESOURCE', () => {
    expect(limitsOf(PURE_V2)).toEqual({
      cpu: [null, null],
      fsize: [null, null],
      data: [null, null],
      stack: [8 * MIB, null],
      core: [0, null],
      rss: [null, null],
      nproc: [63_000, 63_000],
      nofile: [1024, 524_288],
      memlock: [8 * MIB, 8 * MIB],
      as: [null, null],
      locks: [null, null],
      sigpending: [63_000, 63_000],
      msgqueue: [819_200, 819_200],
      nice: [0, 0],
      rtprio: [0, 0],
      rttime: [null, null],
    });
    expect(capped(PURE_V2)).toEqual([]);
  });

  test("the supervisor's own, Node-raised limits play no part where hard limits can be raised", () => {
    const low = { ...PURE_V2, rlimits: NO_SYS_RESOURCE.rlimits };
    expect(limitsOf(low)).toEqual(limitsOf(PURE_V2));
  });

  test('without CAP_SYS_RESOURCE: what the supervisor may have, and a notice for each hard limit that is lower', () => {
    expect(limitsOf(NO_SYS_RESOURCE)).toMatchObject({
      nofile: [1024, 4096],
      memlock: [65_536, 65_536],
      core: [0, 0],
      nproc: [2000, 2000],
      msgqueue: [1000, 1000],
      stack: [8 * MIB, null],
    });
    expect(capped(NO_SYS_RESOURCE).map(({ message }) => message)).toEqual([
      'core: hard limit 0 instead of unlimited, since the supervisor lacks CAP_SYS_RESOURCE',
      'nproc: hard limit 2000 instead of 63000, since the supervisor lacks CAP_SYS_RESOURCE',
      'nofile: hard limit 4096 instead of 524288, since the supervisor lacks CAP_SYS_RESOURCE',
      'memlock: hard limit 65536 instead of 8388608, since the supervisor lacks CAP_SYS_RESOURCE',
      'msgqueue: hard limit 1000 instead of 819200, since the supervisor lacks CAP_SYS_RESOURCE',
    ]);
  });

  test('this machine: NOFILE is capped at its hard limit of 20000', () => {
    expect(limitsOf(HYBRID)?.nofile).toEqual([1024, 20_000]);
  });

  test("NOFILE's hard limit is min(nr_open, 524288)", () => {
    expect(limitsOf({ ...PURE_V2, nrOpen: 65_536 })?.nofile).toEqual([1024, 65_536]);
    expect(limitsOf({ ...PURE_V2, nrOpen: 2_000_000 })?.nofile).toEqual([1024, 524_288]);
    expect(limitsOf({ ...PURE_V2, nrOpen: 512 })?.nofile).toEqual([512, 512]);
  });

  test('the spec overrides, one limit at a time', () => {
    const limits = limitsOf(PURE_V2, {
      nofile: { soft: 4096, hard: 8192 },
      core: { soft: 'unlimited', hard: 'unlimited' },
      nice: { soft: 0, hard: 40 },
    });
    expect(limits).toMatchObject({
      nofile: [4096, 8192],
      core: [null, null],
      nice: [0, 40],
      memlock: [8 * MIB, 8 * MIB],
    });
  });

  test('unlimited descriptors are more than the kernel gives anybody: capped at nr_open, and told', () => {
    const wish = { nofile: { soft: 4096, hard: 'unlimited' } };
    expect(limitsOf(PURE_V2, wish)?.nofile).toEqual([4096, 1_048_576]);
    expect(capped(PURE_V2, wish).map(({ message }) => message)).toEqual([
      'nofile: hard limit 1048576 instead of unlimited, since fs.nr_open is no higher',
    ]);
    expect(limitsOf(NO_SYS_RESOURCE, wish)?.nofile).toEqual([4096, 4096]);
    expect(capped(NO_SYS_RESOURCE, wish)[0]?.message).toContain('CAP_SYS_RESOURCE');
  });

  test('they are set on the parked child by the host, not by the child: a pid, no inheritance', () => {
    expect(hostStepOf(planOf(unprivileged(), PURE_V2), 'running.rlimits').action).toMatchObject({
      op: 'rlimits',
      pid: 'pid',
    });
  });

  test('capRlimit never gives more than asked nor more than the ceiling', () => {
    const value = fc.option(fc.nat(100));
    const order = (limit: number | null): number => limit ?? Number.POSITIVE_INFINITY;
    const rlimit: fc.Arbitrary<Rlimit> = fc
      .tuple(value, value)
      .map(([a, b]) => (order(a) <= order(b) ? { soft: a, hard: b } : { soft: b, hard: a }));
    fc.assert(
      fc.property(rlimit, rlimit, (wanted, ceiling) => {
        const got = capRlimit(wanted, ceiling);
        expect(order(got.hard)).toBe(Math.min(order(wanted.hard), order(ceiling.hard)));
        expect(order(got.soft)).toBe(Math.min(order(wanted.soft), order(ceiling.hard)));
        expect(order(got.soft)).toBeLessThanOrEqual(order(got.hard));
      }),
    );
  });

  test("the names are in the kernel's order: an index is a RLIMIT_ number", () => {
    expect(RLIMIT_NAMES.indexOf('nofile')).toBe(7);
    expect(RLIMIT_NAMES.indexOf('rttime')).toBe(15);
    expect(RLIMIT_NAMES).toHaveLength(16);
    expect(
      Object.keys(defaultRlimits({ nrOpen: 1, nproc: { soft: 1, hard: 1 }, sigpending: { soft: 1, hard: 1 } })).sort(),
    ).toEqual([...RLIMIT_NAMES].sort());
  });
});

describe('ENV-58 oom_score_adj', () => {
  const oomOf = (own: number, wanted?: number) => {
    const plan = planOf(unprivileged(wanted === undefined ? {} : { oomScoreAdj: wanted }), {
      ...PURE_V2,
      oomScoreAdj: own,
    });
    return {
      adj: actions(plan, 'oom').map(({ adj }) => adj),
      notices: plan.notices.map(({ code }) => code).filter(code => code !== 'unconfined'),
      plan,
    };
  };

  test('a supervisor at -500 makes a container at 0, and says when', () => {
    expect(oomOf(-500)).toMatchObject({ adj: [0], notices: ['oom-late'] });
  });

  test('what is inherited anyway needs no step', () => {
    expect(oomOf(0)).toMatchObject({ adj: [], notices: [] });
    expect(oomOf(300, 300)).toMatchObject({ adj: [], notices: [] });
  });

  test('the spec decides, and a refusal to lower it is tolerated', () => {
    const { adj, plan } = oomOf(0, -200);
    expect(adj).toEqual([-200]);
    expect(hostStepOf(plan, 'running.oom').tolerate?.map(({ errno }) => errno)).toEqual(['EACCES']);
  });

  test("after exec: before it the child shares the supervisor's memory, and with it its oom_score_adj", () => {
    const { plan } = oomOf(-500);
    expect(at(plan, 'running.oom')).toBeGreaterThan(at(plan, 'running.exec'));
  });
});

describe('ENV-63 keys and login', () => {
  test('a session keyring of its own, once its ids are what they will be, before keyctl(2) could be refused', () => {
    for (const spec of [unprivileged(), privileged()]) {
      const plan = planOf(spec, PURE_V2);
      expect(initStepOf(plan, 'running.keyring').action).toEqual({ op: 'session_keyring' });
      expect(at(plan, 'running.keyring')).toBeGreaterThan(at(plan, 'mounting.identity'));
      expect(at(plan, 'running.keyring')).toBeLessThan(at(plan, 'running.seccomp'));
      // Not EDQUOT: without a keyring of its own the payload would have the supervisor's.
      const tolerated = (stepOf(plan, 'running.keyring').tolerate ?? []).map(({ errno }) => errno);
      expect(tolerated).toEqual(['ENOSYS', 'EPERM']);
    }
  });

  test('a login of the supervisor is unset before the child is cloned; without one nothing is touched', () => {
    for (const spec of [unprivileged(), privileged()]) {
      expect(actions(planOf(spec, PURE_V2), 'loginuid.unset')).toEqual([]);
      for (const loginuid of [0, 1000]) {
        const plan = planOf(spec, { ...PURE_V2, loginuid });
        expect(at(plan, 'creating.loginuid')).toBeLessThan(at(plan, 'creating.launch'));
      }
    }
  });
});

describe('ENV-59 capabilities', () => {
  const AUDIT = ['audit_control', 'audit_read', 'audit_write'];
  const HOST = ['mac_admin', 'mac_override', 'sys_module', 'sys_rawio', 'sys_time'];
  const of = (spec: ContainerSpec, facts: HostFacts) => {
    const [set, ...more] = actions(planOf(spec, facts), 'capabilities');
    expect(more).toEqual([]);
    return { keep: set?.keep ?? [], drop: [...(set?.drop ?? [])].sort() };
  };

  test('ENV-61: unprivileged: the full set of its user namespace but for audit, whatever the supervisor has', () => {
    for (const facts of Object.values(HOSTS)) {
      const { keep, drop } = of(unprivileged(), facts);
      expect(drop).toEqual(AUDIT);
      expect(keep).toEqual(CAPABILITIES.filter(name => !AUDIT.includes(name)));
    }
  });

  test('ENV-61: privileged: all but audit, sys_time, sys_module, sys_rawio, mac_admin and mac_override', () => {
    const { keep, drop } = of(privileged(), PURE_V1);
    expect(drop).toEqual([...AUDIT, ...HOST]);
    expect(keep).toEqual(CAPABILITIES.filter(name => !drop.includes(name)));
    expect([...DROPPED_BY_DEFAULT].sort()).toEqual(drop);
  });

  test('ENV-61: keep and drop', () => {
    const wishes = { keep: ['sys_time', 'audit_write'], drop: ['net_raw', 'chown', 'net_raw'] };
    expect(of(privileged({ capabilities: wishes }), PURE_V2).drop).toEqual(
      ['audit_control', 'audit_read', 'chown', ...HOST, 'net_raw'].filter(name => name !== 'sys_time').sort(),
    );
    const inside = of(unprivileged({ capabilities: wishes }), PURE_V2);
    expect(inside.drop).toEqual(['audit_control', 'audit_read', 'chown', 'net_raw']);
    expect(inside.keep).not.toContain('chown');
    expect(of(unprivileged({ capabilities: { keep: AUDIT } }), PURE_V2)).toEqual({ keep: CAPABILITIES, drop: [] });
  });

  test('ENV-60, HST-45, HST-46: mknod, sys_admin and sys_boot stay', () => {
    for (const spec of [unprivileged(), privileged()]) {
      const { keep } = of(spec, PURE_V2);
      for (const name of ['mknod', 'sys_admin', 'sys_boot']) expect(keep).toContain(name);
      expect(planOf(spec, PURE_V2).notices.map(({ code }) => code)).not.toContain('capability-missing');
    }
  });

  test('HST-54: without one of them there is a warning that says what is lost', () => {
    for (const make of [unprivileged, privileged]) {
      for (const [name, loss] of [
        ['mknod', 'PrivateDevices='],
        ['sys_admin', 'sandboxing'],
        ['sys_boot', 'reboot'],
      ] as const) {
        const plan = planOf(make({ capabilities: { drop: [name] } }), PURE_V2);
        expect(plan.notices.filter(({ code }) => code === 'capability-missing')).toEqual([
          { code: 'capability-missing', message: expect.stringContaining(loss) },
        ]);
      }
    }
    // Nor has it what its supervisor cannot give.
    const few = { ...PURE_V2, capabilities: CAPABILITIES.filter(name => name !== 'sys_boot') };
    expect(planOf(privileged(), few).notices.map(({ code }) => code)).toContain('capability-missing');
  });

  test('privileged: none is asked for that the supervisor has not', () => {
    expect(actions(planOf(privileged(), HYBRID), 'capabilities')[0]?.keep).not.toContain('sys_resource');
    const few = { ...PURE_V2, capabilities: ['sys_admin', 'mknod', 'sys_boot', 'sys_time'] as const };
    expect(actions(planOf(privileged(), few), 'capabilities')[0]?.keep).toEqual(['sys_admin', 'mknod', 'sys_boot']);
  });

  test('they are dropped after everything that needs them', () => {
    const plan = planOf(privileged(), PURE_V2);
    expect(at(plan, 'running.capabilities')).toBeGreaterThan(at(plan, 'running.hostname'));
    expect(at(plan, 'running.capabilities')).toBeLessThan(at(plan, 'running.exec'));
  });

  test("the names are the kernel's, by number", () => {
    expect(CAPABILITIES).toHaveLength(41);
    expect([
      CAPABILITIES.indexOf('sys_admin'),
      CAPABILITIES.indexOf('mknod'),
      CAPABILITIES.indexOf('checkpoint_restore'),
    ]).toEqual([21, 27, 40]);
    expect(new Set(CAPABILITIES).size).toBe(41);
  });

  test('a mask of /proc is read bit by bit', () => {
    expect(capabilitiesOf('0000000000000000')).toEqual([]);
    expect(capabilitiesOf('000001ffffffffff')).toEqual(CAPABILITIES);
    expect(capabilitiesOf('0000010000200001')).toEqual(['chown', 'sys_admin', 'checkpoint_restore']);
    // A kernel newer than this table knows more.
    expect(capabilitiesOf('ffffffffffffffff')).toEqual(CAPABILITIES);
  });
});

describe('the memory that a child shares with the supervisor', () => {
  test('is non-dumpable from before the launch until after exec', () => {
    const plan = planOf(unprivileged(), PURE_V2);
    expect(hostStepOf(plan, 'creating.dumpable')).toMatchObject({
      action: { op: 'undumpable.hold' },
      undo: { op: 'undumpable.release' },
    });
    expect(hostStepOf(plan, 'running.dumpable').action).toEqual({ op: 'undumpable.release' });
    expect(at(plan, 'creating.dumpable')).toBeLessThan(at(plan, 'creating.launch'));
    expect(at(plan, 'running.dumpable')).toBeGreaterThan(at(plan, 'running.exec'));
  });

  test('stays as it is in a privileged start, in which no uid changes', () => {
    expect(actions(planOf(privileged(), PURE_V2), 'undumpable.hold')).toEqual([]);
  });
});

test('the child is uid 0 of its own namespace before it mounts anything: an unmapped owner would be nobody inside', () => {
  for (const facts of Object.values(HOSTS)) {
    const plan = planOf(unprivileged(), facts);
    const identity = at(plan, 'mounting.identity');
    expect(identity).toBeGreaterThan(at(plan, 'creating.idmap'));
    expect(identity).toBeLessThan(at(plan, 'mounting.proc'));
    expect(identity).toBeLessThan(at(plan, 'mounting.cgroup'));
    expect(identity).toBeLessThan(at(plan, 'devices.shm'));
  }
});

test('ENV-65 lo is up before PID 1', () => {
  const plan = planOf(unprivileged(), PURE_V2);
  expect(actions(plan, 'link.up')).toEqual([{ op: 'link.up', name: 'lo' }]);
  expect(at(plan, 'network.lo')).toBeLessThan(at(plan, 'running.exec'));
});
