/** ENV-40, ENV-41, ENV-43, ENV-71: which hierarchies there are, what the payload sees of them, and whose they are. */
import { describe, expect, test } from 'vitest';
import type { HostFacts } from '#src/plan/facts.js';
import { compilePrepare, compilePrepareWithoutScope, compileRelease } from '#src/plan/host.js';
import type { Plan } from '#src/plan/step.js';
import { compileFreeze, compileTeardown, oomFiles, traces } from '#src/plan/teardown.js';
import {
  HOSTS,
  HYBRID,
  NESTED,
  NO_BIRTH_CGROUP,
  NO_CGROUP_NAMESPACE,
  PURE_V1,
  PURE_V2,
  SYSTEMD,
} from '../lib/facts.js';
import { actions, expectError, has, hostStepOf, planOf, privileged, RUN_DIR, unprivileged } from './kit.js';

const LAYOUTS = ['auto', 'unified', 'hybrid', 'legacy'] as const;
type Layout = (typeof LAYOUTS)[number];

const withLayout = (layout: Layout) => unprivileged({ cgroups: { layout } });

/** What is mounted at and below /sys/fs/cgroup: `target: fstype options`. */
function cgroupMounts(plan: Plan): string[] {
  return actions(plan, 'mount')
    .filter(({ target, fstype }) => target.startsWith('/sys/fs/cgroup') && fstype !== null)
    .map(({ target, fstype, data }) => `${target}: ${fstype}${data === undefined ? '' : ` ${data}`}`);
}

const UNIFIED = ['/sys/fs/cgroup: cgroup2'];
const TMPFS = '/sys/fs/cgroup: tmpfs mode=755,size=10485760';
const HYBRID_V1 = [
  ...['cpu', 'cpuacct', 'cpuset', 'memory', 'devices', 'freezer', 'blkio', 'pids'].map(
    name => `/sys/fs/cgroup/${name}: cgroup ${name}`,
  ),
  '/sys/fs/cgroup/systemd: cgroup none,name=systemd',
];
const V1 = [
  '/sys/fs/cgroup/cpu,cpuacct: cgroup cpu,cpuacct',
  '/sys/fs/cgroup/cpuset: cgroup cpuset',
  '/sys/fs/cgroup/memory: cgroup memory',
  '/sys/fs/cgroup/devices: cgroup devices',
  '/sys/fs/cgroup/freezer: cgroup freezer',
  '/sys/fs/cgroup/pids: cgroup pids',
  '/sys/fs/cgroup/systemd: cgroup none,name=systemd',
];

describe('ENV-40, ENV-71 what the payload sees', () => {
  const table: [string, HostFacts, Layout, string[]][] = [
    ['v2', PURE_V2, 'auto', UNIFIED],
    ['v2', PURE_V2, 'unified', UNIFIED],
    ['hybrid', HYBRID, 'auto', UNIFIED],
    ['hybrid', HYBRID, 'unified', UNIFIED],
    ['hybrid', HYBRID, 'hybrid', [TMPFS, ...HYBRID_V1, '/sys/fs/cgroup/unified: cgroup2']],
    ['hybrid', HYBRID, 'legacy', [TMPFS, ...HYBRID_V1]],
    ['v1', PURE_V1, 'auto', [TMPFS, ...V1]],
    ['v1', PURE_V1, 'legacy', [TMPFS, ...V1]],
  ];
  test.each(table)('%s host, %2$s', (_, facts, layout, expected) => {
    expect(cgroupMounts(planOf(withLayout(layout), facts))).toEqual(expected);
  });

  test.each([
    ['v2', PURE_V2, 'hybrid', 'v1'],
    ['v2', PURE_V2, 'legacy', 'v1'],
    ['v1', PURE_V1, 'unified', 'v2'],
    ['v1', PURE_V1, 'hybrid', 'v2'],
  ] as const)(
    '%s host cannot give %3$s: the error names the field and what is missing',
    (_, facts, layout, missing) => {
      for (const act of [
        () => planOf(withLayout(layout), facts),
        () => compileTeardown(withLayout(layout), facts, { runDir: RUN_DIR }),
      ]) {
        const error = expectError(act, 'SPEC_INVALID', 'cgroups.layout');
        expect(error.message).toMatch(new RegExp(`^cgroups.layout: ${layout} .*${missing}`));
        expect(error.hint).toContain('auto');
      }
    },
  );

  test.each([...Object.entries(HOSTS)])('every cgroup mount is nosuid, nodev, noexec: %s', (_, facts) => {
    for (const layout of LAYOUTS) {
      if (facts.cgroups.v1.length === 0 && (layout === 'hybrid' || layout === 'legacy')) continue;
      if (facts.cgroups.v2 === null && (layout === 'hybrid' || layout === 'unified')) continue;
      const mounts = actions(planOf(withLayout(layout), facts), 'mount').filter(({ target }) =>
        target.startsWith('/sys/fs/cgroup'),
      );
      expect(mounts.length).toBeGreaterThan(0);
      for (const { flags, target } of mounts) {
        expect(flags, target).toEqual(expect.arrayContaining(['MS_NOSUID', 'MS_NODEV', 'MS_NOEXEC']));
      }
    }
  });

  test('the tmpfs is made read-only last, by a remount that repeats its flags', () => {
    const mounts = actions(planOf(withLayout('legacy'), HYBRID), 'mount').filter(({ target }) =>
      target.startsWith('/sys/fs/cgroup'),
    );
    expect(mounts.at(-1)).toMatchObject({
      target: '/sys/fs/cgroup',
      flags: ['MS_REMOUNT', 'MS_BIND', 'MS_RDONLY', 'MS_NOSUID', 'MS_NODEV', 'MS_NOEXEC'],
    });
  });

  test("each hierarchy's directory is made before it is mounted on", () => {
    const plan = planOf(withLayout('hybrid'), HYBRID);
    const made: string[] = [];
    for (const { action } of plan.steps) {
      if (action.op === 'mkdir' && action.path.startsWith('/sys/fs/cgroup/') && !action.path.includes('caisson'))
        made.push(action.path);
      const isMount = action.op === 'mount' && action.target.startsWith('/sys/fs/cgroup/');
      if (isMount) expect(made).toContain(action.target);
    }
    expect(made).toHaveLength(10);
  });

  test.each(['unprivileged', 'privileged'] as const)('ENV-40 without cgroup namespaces: refused, %s', mode => {
    const spec = mode === 'privileged' ? privileged() : unprivileged();
    const error = expectError(() => planOf(spec, NO_CGROUP_NAMESPACE), 'CGROUP_NS_REQUIRED');
    expect(error.hint).toContain('4.6');
    const onV2 = { ...PURE_V2, features: { ...PURE_V2.features, cgroupNamespace: false } };
    expectError(() => planOf(spec, onV2), 'CGROUP_NS_REQUIRED');
  });
});

describe('ENV-41 outer and inner cgroup', () => {
  const OUTER = '/sys/fs/cgroup/caisson/web';
  const PAYLOAD = `${OUTER}/payload`;

  test('v2: controllers are enabled on the outer one, the payload leaf lies below', () => {
    const plan = planOf(unprivileged(), PURE_V2);
    const made = actions(plan, 'mkdir').map(({ path }) => path);
    expect(made.filter(path => path.startsWith('/sys/fs/cgroup'))).toEqual([OUTER, PAYLOAD]);
    expect(hostStepOf(plan, 'creating.cgroup.v2.controllers').action).toEqual({
      op: 'write',
      path: `${OUTER}/cgroup.subtree_control`,
      text: '+cpu +cpuset +io +memory +pids',
    });
  });

  test('v2: exactly the leaf and the files of /sys/kernel/cgroup/delegate are given to container root', () => {
    const plan = planOf(unprivileged(), PURE_V2);
    expect(actions(plan, 'chown').filter(({ path }) => path.startsWith('/sys/fs/cgroup'))).toEqual(
      ['', ...PURE_V2.cgroups.delegate.map(file => `/${file}`)].map(file => ({
        op: 'chown',
        path: `${PAYLOAD}${file}`,
        uid: 1_000_000,
        gid: 1_000_000,
      })),
    );
    for (const file of ['cgroup.procs', 'cgroup.threads', 'cgroup.subtree_control']) {
      expect(has(plan, `creating.delegate.v2.${file}`)).toBe(true);
    }
  });

  test.each([
    ['v2', PURE_V2, 'memory.max', 'pids.max', '/sys/fs/cgroup', '/sys/fs/cgroup'],
    ['hybrid', HYBRID, 'memory.limit_in_bytes', 'pids.max', '/sys/fs/cgroup/memory/own', '/sys/fs/cgroup/pids'],
    [
      'v1',
      PURE_V1,
      'memory.limit_in_bytes',
      'pids.max',
      '/sys/fs/cgroup/memory/system.slice/caisson.service',
      '/sys/fs/cgroup/pids',
    ],
  ] as const)('limits are written to the outer cgroup: %s', (_, facts, memory, pids, memoryBase, pidsBase) => {
    const plan = planOf(unprivileged({ limits: { memory: 268_435_456, pids: 100 } }), facts);
    expect(hostStepOf(plan, 'creating.limit.memory').action).toEqual({
      op: 'write',
      path: `${memoryBase}/caisson/web/${memory}`,
      text: '268435456',
    });
    expect(hostStepOf(plan, 'creating.limit.pids').action).toEqual({
      op: 'write',
      path: `${pidsBase}/caisson/web/${pids}`,
      text: '100',
    });
  });

  test('no limit asked for, none written', () => {
    for (const facts of Object.values(HOSTS)) {
      expect(planOf(unprivileged(), facts).steps.filter(({ id }) => id.startsWith('creating.limit'))).toEqual([]);
    }
  });

  test('nothing that carries a limit or a policy is ever given away', () => {
    for (const [name, facts] of Object.entries(HOSTS)) {
      for (const layout of ['auto', 'legacy'] as const) {
        if (layout === 'legacy' && facts.cgroups.v1.length === 0) continue;
        const limits = { memory: 1e8, pids: 100 };
        const plan = planOf(unprivileged({ limits, cgroups: { layout } }), facts);
        const given = actions(plan, 'chown')
          .map(({ path }) => path)
          .filter(path => path.startsWith('/sys/fs/cgroup'));
        expect(
          given.every(path => path.includes('/payload')),
          name,
        ).toBe(true);
        for (const path of given) expect(path, name).not.toMatch(/(memory\.(max|limit)|pids\.max|devices\.)/);
      }
    }
  });

  test.each([
    ['no controller at all', { ...HYBRID, cgroups: { ...HYBRID.cgroups, v1: [] } }],
    ['v1 without memory and pids', { ...PURE_V1, cgroups: { ...PURE_V1.cgroups, v1: PURE_V1.cgroups.v1.slice(3, 5) } }],
  ])('a limit nobody enforces is refused, not ignored: %s', (_, facts) => {
    for (const controller of ['memory', 'pids']) {
      const spec = unprivileged({ limits: { [controller]: 1_000_000 } });
      const error = expectError(() => planOf(spec, facts), 'SPEC_INVALID', `limits.${controller}`);
      expect(error.message).toContain(controller);
    }
  });

  test('v1 with layout unified: the hierarchies the payload does not see have no leaf of its own', () => {
    const made = actions(planOf(unprivileged(), HYBRID), 'mkdir').map(({ path }) => path);
    expect(made.filter(path => path.endsWith('/payload'))).toEqual(['/sys/fs/cgroup/unified/caisson/web/payload']);
  });

  test("v1 that the payload sees: a leaf in each, but only the named hierarchy is container root's", () => {
    const plan = planOf(withLayout('legacy'), HYBRID);
    const leaves = actions(plan, 'mkdir').filter(({ path }) => path.endsWith('/payload'));
    expect(leaves).toHaveLength(HYBRID.cgroups.v1.length + 1);
    const given = actions(plan, 'chown')
      .map(({ path }) => path)
      .filter(path => path.startsWith('/sys/fs/cgroup'));
    expect(given.filter(path => !path.startsWith('/sys/fs/cgroup/unified/'))).toEqual([
      '/sys/fs/cgroup/systemd/caisson/web/payload',
      '/sys/fs/cgroup/systemd/caisson/web/payload/cgroup.procs',
      '/sys/fs/cgroup/systemd/caisson/web/payload/tasks',
    ]);
  });

  test('files this kernel has not are no failure, a leaf that cannot be given away is', () => {
    const plan = planOf(unprivileged(), PURE_V2);
    expect(hostStepOf(plan, 'creating.delegate.v2').tolerate).toBeUndefined();
    expect(hostStepOf(plan, 'creating.delegate.v2.memory.reclaim').tolerate?.map(({ errno }) => errno)).toEqual([
      'ENOENT',
    ]);
  });
});

describe('ENV-43 hybrid hosts', () => {
  test('devices and limits are on v1', () => {
    const plan = planOf(unprivileged({ limits: { memory: 1e8 } }), HYBRID);
    expect(has(plan, 'devices.policy.deny')).toBe(true);
    expect(actions(plan, 'policy.bpf')).toEqual([]);
    expect(hostStepOf(plan, 'creating.limit.memory').action).toMatchObject({
      path: expect.stringContaining('/memory/own/caisson/web/memory.limit_in_bytes'),
    });
  });

  test('no controller is enabled on a v2 tree that has none', () => {
    expect(has(planOf(unprivileged(), HYBRID), 'creating.cgroup.v2.controllers')).toBe(false);
  });

  test('freezing and killing still use the v2 tree', () => {
    expect(compileFreeze(unprivileged(), HYBRID, true).steps[0]?.action).toMatchObject({
      op: 'cgroup.freeze',
      path: '/sys/fs/cgroup/unified/caisson/web',
      version: 2,
      frozen: true,
    });
    const kill = compileTeardown(unprivileged(), HYBRID, { runDir: RUN_DIR }).steps.find(
      ({ id }) => id === 'teardown.kill',
    );
    expect(kill?.action).toMatchObject({ op: 'cgroup.kill', v2: '/sys/fs/cgroup/unified/caisson/web' });
  });

  test('on v1 alone the freezer hierarchy does it, and the kill goes through the leaves', () => {
    expect(compileFreeze(unprivileged(), PURE_V1, false).steps).toEqual([
      expect.objectContaining({
        id: 'thaw',
        action: expect.objectContaining({ path: '/sys/fs/cgroup/freezer/caisson/web', version: 1, frozen: false }),
      }),
    ]);
    const kill = compileTeardown(unprivileged(), PURE_V1, { runDir: RUN_DIR }).steps.find(
      ({ id }) => id === 'teardown.kill',
    );
    expect(kill?.action).toMatchObject({
      v2: null,
      paths: PURE_V1.cgroups.v1.map(({ base }) => `${base}/caisson/web/payload`),
    });
  });

  test('a host without any freezer says so', () => {
    const none = {
      ...PURE_V1,
      cgroups: { ...PURE_V1.cgroups, v1: PURE_V1.cgroups.v1.filter(({ name }) => name !== 'freezer') },
    };
    expectError(() => compileFreeze(unprivileged(), none, true), 'HOST_UNSUPPORTED');
  });
});

describe('teardown', () => {
  test.each(Object.entries(HOSTS))(
    'removes leaves before what they lie in, after everything is dead: %s',
    (_, facts) => {
      const { steps } = compileTeardown(unprivileged(), facts, { runDir: RUN_DIR });
      const kill = steps.findIndex(({ action }) => action.op === 'cgroup.kill');
      const removed = steps.flatMap(({ action }, index) =>
        action.op === 'cgroup.remove' ? [{ path: action.path, index }] : [],
      );
      expect(removed.length).toBeGreaterThan(0);
      for (const { path, index } of removed) {
        expect(index).toBeGreaterThan(kill);
        const parent = removed.find(other => path.startsWith(`${other.path}/`));
        if (parent !== undefined) expect(parent.index).toBeGreaterThan(index);
      }
      expect(steps.at(-1)?.action).toEqual({ op: 'rmdir', path: RUN_DIR });
    },
  );

  test('every step may find its work done already', () => {
    for (const facts of Object.values(HOSTS)) {
      for (const step of compileTeardown(privileged(), facts, { runDir: RUN_DIR }).steps) {
        // A place that holds nothing is emptied all the same.
        if (step.action.op === 'keeper.drop') continue;
        expect(
          step.tolerate?.map(({ errno }) => errno),
          step.id,
        ).toContain('ENOENT');
      }
    }
  });

  test('an ephemeral layer is thrown away before its directory goes, a kept one has no such step', () => {
    const ids = (spec: ReturnType<typeof unprivileged>) =>
      compileTeardown(spec, PURE_V2, { runDir: RUN_DIR }).steps.map(({ id }) => id);
    expect(ids(privileged()).indexOf('teardown.overlay')).toBeGreaterThan(0);
    expect(ids(privileged()).indexOf('teardown.overlay')).toBeLessThan(ids(privileged()).indexOf('teardown.run'));
    expect(ids(unprivileged())).not.toContain('teardown.overlay');
  });

  test.each([
    ['v2', PURE_V2, ['/sys/fs/cgroup/caisson/web/memory.events']],
    [
      'hybrid',
      HYBRID,
      ['/sys/fs/cgroup/memory/own/caisson/web/memory.oom_control', '/sys/fs/cgroup/unified/caisson/web/memory.events'],
    ],
    ['v1', PURE_V1, ['/sys/fs/cgroup/memory/system.slice/caisson.service/caisson/web/payload/memory.oom_control']],
  ] as const)('the OOM counter is read where PID 1 is charged: %s', (_, facts, files) => {
    expect(oomFiles(unprivileged(), facts)).toEqual(files);
  });
});

test('the traces of a life are what its start makes outside runDir, and runDir: all that the teardown removes', () => {
  for (const facts of Object.values(HOSTS)) {
    const { steps } = compileTeardown(unprivileged(), facts, { runDir: RUN_DIR });
    const removed = steps.flatMap(({ action }) =>
      'path' in action && typeof action.path === 'string' ? [action.path] : [],
    );
    const found = traces(unprivileged(), facts, { runDir: RUN_DIR });
    expect(found.length).toBeGreaterThan(1);
    expect([...found].sort()).toEqual(removed.filter(path => !path.startsWith(`${RUN_DIR}/`)).sort());
  }
});

describe("the supervisor's own cgroups", () => {
  test.each(Object.entries(HOSTS))(
    'HST-11: made once in every hierarchy that is not the tree of systemd, and given back: %s',
    (_, facts) => {
      const v1 = facts.cgroups.v1.map(({ base }) => base);
      const v2 = facts.cgroups.v2 === null ? [] : [facts.cgroups.v2.base];
      const bases = [...v1, ...(facts.systemd === null ? v2 : [])];
      const prepared = compilePrepare(facts, '/run/caisson').steps;
      const made = prepared.flatMap(({ action }) => (action.op === 'mkdir' ? [action.path] : []));
      expect(made).toEqual(bases.map(base => `${base}/caisson`));
      const released = compileRelease(facts, '/run/caisson').steps.flatMap(({ action }) =>
        'path' in action ? [action.path] : [],
      );
      expect([...new Set(released)]).toEqual([...[...v1, ...v2].map(base => `${base}/caisson`), '/run/caisson']);
      for (const step of prepared)
        if (step.action.op === 'mkdir') expect(step.tolerate?.map(({ errno }) => errno)).toEqual(['EEXIST']);
    },
  );

  test('HST-11: only a container that wants no scope has a directory made in the tree of systemd', () => {
    const alone = unprivileged({ cgroups: { scope: 'none' } });
    expect(compilePrepareWithoutScope(unprivileged(), SYSTEMD)).toBeNull();
    for (const facts of [PURE_V2, HYBRID, PURE_V1]) expect(compilePrepareWithoutScope(alone, facts)).toBeNull();
    const steps = compilePrepareWithoutScope(alone, SYSTEMD)?.steps ?? [];
    expect(steps.map(({ action }) => ('path' in action ? `${action.op} ${action.path}` : action.op))).toEqual([
      'mkdir /sys/fs/cgroup/caisson',
      'write /sys/fs/cgroup/cgroup.subtree_control',
      'write /sys/fs/cgroup/caisson/cgroup.subtree_control',
    ]);
    // Made for each such container: nothing may be in the way.
    expect(steps[0]?.tolerate?.map(({ errno }) => errno)).toEqual(['EEXIST']);
  });

  test("a container's cgroups lie in them", () => {
    for (const facts of Object.values(HOSTS)) {
      const own = compilePrepare(facts, '/run/caisson').steps.flatMap(({ action }) =>
        action.op === 'mkdir' ? [action.path] : [],
      );
      for (const step of planOf(unprivileged(), facts).steps) {
        if (step.executor !== 'host' || step.undo?.op !== 'cgroup.remove') continue;
        const { path } = step.undo;
        const scope = facts.systemd === null ? [] : ['/sys/fs/cgroup/machine.slice/caisson-web.scope'];
        expect(
          [...own, ...scope].some(parent => path.startsWith(`${parent}/`)),
          path,
        ).toBe(true);
      }
    }
  });

  test('v2: controllers are enabled from the base down, in that order', () => {
    const writes = compilePrepare(PURE_V2, '/run/caisson').steps.flatMap(({ action }) =>
      action.op === 'write' && 'path' in action ? [action.path] : [],
    );
    expect(writes).toEqual(['/sys/fs/cgroup/cgroup.subtree_control', '/sys/fs/cgroup/caisson/cgroup.subtree_control']);
    const nested = compilePrepare(NESTED, '/run/caisson').steps.flatMap(({ action }) =>
      action.op === 'write' ? [action.text] : [],
    );
    expect(nested).toEqual(['+memory +pids', '+memory +pids']);
  });

  test('a v1 cpuset is filled before anything can join it', () => {
    const ids = (facts: HostFacts) => compilePrepare(facts, '/run/caisson').steps.map(({ id }) => id);
    expect(ids(PURE_V1)).toContain('prepare.cpuset.inherit');
    expect(ids(PURE_V1).indexOf('prepare.cpuset.inherit')).toBeGreaterThan(
      ids(PURE_V1).indexOf('prepare.cgroup:/sys/fs/cgroup/cpuset/caisson'),
    );
    expect(ids(NO_BIRTH_CGROUP)).not.toContain('prepare.cpuset.inherit');
  });
});
