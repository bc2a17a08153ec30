/** ENV-09 to ENV-13, and the order among launch, cgroups and mounts. */
import { describe, expect, test } from 'vitest';
import { HOSTS, HYBRID, NO_BIRTH_CGROUP, NO_IDMAP, PURE_V1, PURE_V2 } from '../lib/facts.js';
import { actions, at, has, initStepOf, planOf, privileged, unprivileged } from './kit.js';

const OF_CLONE = ['CLONE_NEWNS', 'CLONE_NEWPID', 'CLONE_NEWUTS', 'CLONE_NEWNET'];

describe.each(Object.entries(HOSTS))('on %s', (_, facts) => {
  test('ENV-10 unprivileged: user, mount, pid, uts and net namespaces at birth, cgroup and ipc afterwards', () => {
    const plan = planOf(unprivileged(), facts);
    expect(actions(plan, 'launch').map(({ namespaces }) => [...namespaces].sort())).toEqual([
      ['CLONE_NEWUSER', ...OF_CLONE].sort(),
    ]);
    expect(actions(plan, 'unshare').map(({ flags }) => flags)).toEqual([['CLONE_NEWCGROUP'], ['CLONE_NEWIPC']]);
    // ENV-28: by container root, so that its message queues are its own.
    expect(at(plan, 'mounting.identity')).toBeLessThan(at(plan, 'mounting.ipc'));
    expect(at(plan, 'mounting.ipc')).toBeLessThan(at(plan, 'devices.mqueue'));
  });

  test('ENV-11 the cgroup namespace is unshared after every join, and before anything is mounted', () => {
    const plan = planOf(unprivileged(), facts);
    const unshare = at(plan, 'creating.cgroup.namespace');
    const joins = plan.steps.filter(step => step.id.startsWith('creating.join.')).map(step => at(plan, step.id));
    for (const join of joins) expect(join).toBeLessThan(unshare);
    expect(at(plan, 'creating.launch')).toBeLessThan(unshare);
    expect(unshare).toBeLessThan(at(plan, 'mounting.cgroup'));
    // Every hierarchy is joined: by birth or by a write of the child's own.
    const byBirth = actions(plan, 'launch')[0]?.cgroup === null ? 0 : 1;
    // Or moved there, where systemd wants the child first.
    const moved = actions(plan, 'cgroup.attach').length;
    if (moved > 0) expect(at(plan, 'creating.scope.attach')).toBeLessThan(unshare);
    expect(joins.length + byBirth + moved).toBe(facts.cgroups.v1.length + (facts.cgroups.v2 === null ? 0 : 1));
  });

  test('ENV-11 cgroups are made and opened before the launch, or in a scope while it waits; limits included', () => {
    const limits =
      facts.cgroups.v1.length === 0 && facts.cgroups.v2?.controllers.length === 0 ? {} : { memory: 1e8, pids: 9 };
    const plan = planOf(unprivileged({ limits }), facts);
    const before = facts.systemd === null ? 'creating.launch' : 'creating.cgroup.namespace';
    const launch = at(plan, before);
    for (const step of plan.steps) {
      const early = step.id.startsWith('creating.cgroup.open') || step.id.startsWith('creating.limit');
      if (early) expect(at(plan, step.id), step.id).toBeLessThan(launch);
    }
    expect(plan.steps.filter(step => step.id.startsWith('creating.limit'))).toHaveLength(2);
  });

  test('ENV-12 sysfs is mounted by the child, after its user and net namespaces exist', () => {
    const plan = planOf(unprivileged(), facts);
    expect(at(plan, 'creating.launch')).toBeLessThan(at(plan, 'mounting.sys'));
    expect(initStepOf(plan, 'mounting.sys').action.op).toBe('mount');
    // One clone makes both: the kernel makes the user namespace first and lets it own the others.
    expect(actions(plan, 'unshare').flatMap(({ flags }) => [...flags])).not.toContain('CLONE_NEWNET');
  });

  test('ENV-12 ids are mapped before the child does anything', () => {
    const plan = planOf(unprivileged(), facts);
    const first = plan.steps.findIndex(step => step.executor === 'init');
    expect(at(plan, 'creating.idmap')).toBeLessThan(first);
    expect(actions(plan, 'idmap.write')[0]).toEqual({
      op: 'idmap.write',
      pid: 'pid',
      uid: [{ inside: 0, outside: 1_000_000, count: 65_536 }],
      gid: [{ inside: 0, outside: 1_000_000, count: 65_536 }],
    });
  });

  test('ENV-09 the child pivots before it mounts, and detaches the old root before its devices are attached', () => {
    const plan = planOf(unprivileged(), facts);
    const order = [
      'mounting.private',
      'mounting.rootfs.attach',
      'mounting.rootfs.enter',
      'mounting.pivot',
      'mounting.proc',
      'mounting.sys',
      'mounting.cgroup',
      'mounting.detach',
      'mounting.chdir',
      'devices.attach',
      'devices.attach.pts',
    ].map(id => at(plan, id));
    expect(order).toEqual([...order].sort((a, b) => a - b));
    expect(initStepOf(plan, 'mounting.detach').action).toEqual({ op: 'umount', target: '.', flags: ['MNT_DETACH'] });
  });
});

describe('by mode', () => {
  test('ENV-10 privileged: no user namespace, and no ids to map', () => {
    const plan = planOf(privileged(), PURE_V2);
    expect(actions(plan, 'launch').map(({ namespaces }) => [...namespaces].sort())).toEqual([
      ['CLONE_NEWIPC', ...OF_CLONE].sort(),
    ]);
    expect(has(plan, 'creating.idmap')).toBe(false);
    expect(has(plan, 'mounting.rootfs.idmap')).toBe(false);
  });

  test('ENV-13 the host name is the container name, or the one asked for', () => {
    expect(actions(planOf(unprivileged(), PURE_V2), 'sethostname')).toEqual([{ op: 'sethostname', name: 'web' }]);
    const named = unprivileged({ hostname: 'db.example' });
    expect(actions(planOf(named, PURE_V2), 'sethostname')).toEqual([{ op: 'sethostname', name: 'db.example' }]);
  });
});

describe('ENV-11 how the child gets into its cgroups', () => {
  const joined = (facts: typeof PURE_V2) => {
    const plan = planOf(unprivileged(), facts);
    return {
      birth: actions(plan, 'launch')[0]?.cgroup,
      writes: actions(plan, 'write').flatMap(action => ('fd' in action ? [action] : [])),
    };
  };

  test('cgroup v2 with CLONE_INTO_CGROUP: by birth, in the payload leaf', () => {
    expect(joined(PURE_V2)).toEqual({ birth: 'fd:cgroup.v2', writes: [] });
    expect(actions(planOf(unprivileged(), PURE_V2), 'open')).toEqual([
      {
        op: 'open',
        path: '/sys/fs/cgroup/caisson/web/payload',
        flags: ['O_RDONLY', 'O_DIRECTORY'],
        save: 'fd:cgroup.v2',
      },
    ]);
    expect(joined(NO_IDMAP).birth).toBe('fd:cgroup.v2');
  });

  test('cgroup v2 before 5.7: by writing 0 to cgroup.procs of the leaf', () => {
    expect(joined(NO_BIRTH_CGROUP)).toEqual({ birth: null, writes: [{ op: 'write', fd: 'fd:cgroup.v2', text: '0' }] });
    expect(actions(planOf(unprivileged(), NO_BIRTH_CGROUP), 'open')).toEqual([
      {
        op: 'open',
        path: '/sys/fs/cgroup/caisson/web/payload/cgroup.procs',
        flags: ['O_WRONLY'],
        save: 'fd:cgroup.v2',
      },
    ]);
  });

  test('cgroup v1: by writing 0 to the tasks file of each hierarchy, opened by the host', () => {
    const names = ['cpu,cpuacct', 'cpuset', 'memory', 'devices', 'freezer', 'pids', 'systemd'];
    expect(joined(PURE_V1)).toEqual({
      birth: null,
      writes: names.map(name => ({ op: 'write', fd: `fd:cgroup.${name}`, text: '0' })),
    });
    const opened = actions(planOf(unprivileged(), PURE_V1), 'open');
    expect(opened.map(({ path }) => path)).toEqual(
      PURE_V1.cgroups.v1.map(({ base }) => `${base}/caisson/web/payload/tasks`),
    );
    expect(opened.every(({ flags }) => flags.join() === 'O_WRONLY')).toBe(true);
  });

  test('hybrid: v1 by writing, v2 by birth', () => {
    const { birth, writes } = joined(HYBRID);
    expect(birth).toBe('fd:cgroup.v2');
    expect(writes).toHaveLength(HYBRID.cgroups.v1.length);
  });
});
