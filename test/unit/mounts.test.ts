/** ENV-31 to ENV-33: which kernel file systems are mounted where, and what of them can be written. */
import { describe, expect, test } from 'vitest';
import type { Plan } from '#src/plan/step.js';
import { HOSTS, HYBRID, PURE_V2 } from '../lib/facts.js';
import { actions, planOf, privileged, unprivileged } from './kit.js';

const KERNEL_FS = ['MS_NODEV', 'MS_NOEXEC', 'MS_NOSUID'];

interface Mount {
  readonly fstype: string | null;
  readonly flags: readonly string[];
  readonly readOnly: boolean;
}

/** What /proc/mounts would say after the mounting phase: the mount table as the plan's calls build it. */
function mountTable(plan: Plan): Map<string, Mount> {
  const table = new Map<string, Mount>();
  for (const { action } of plan.steps) {
    // What the host made or opened: which flags it has is the host's step's affair.
    if (action.op === 'move_mount') table.set(action.target, { fstype: null, flags: [], readOnly: false });
    if (action.op !== 'mount') continue;
    const { source, target, fstype, flags } = action;
    const plain = flags.filter(flag => !['MS_BIND', 'MS_REMOUNT', 'MS_RDONLY', 'MS_RELATIME'].includes(flag)).sort();
    if (flags.includes('MS_REMOUNT')) {
      const mounted = table.get(target);
      if (mounted === undefined) throw new Error(`remount of ${target}, which is not a mount`);
      // A bind remount sets the flags anew: those it does not repeat are lost.
      table.set(target, { ...mounted, flags: plain, readOnly: flags.includes('MS_RDONLY') });
    } else if (flags.includes('MS_BIND')) {
      const parent = mountOf(table, source ?? '');
      table.set(target, {
        fstype: parent?.fstype ?? null,
        flags: parent?.flags ?? [],
        readOnly: parent?.readOnly ?? false,
      });
    } else if (fstype !== null) {
      table.set(target, { fstype, flags: plain, readOnly: flags.includes('MS_RDONLY') });
    }
  }
  return table;
}

/** The mount a path lies on. */
function mountOf(table: Map<string, Mount>, path: string): Mount | undefined {
  const covering = [...table.keys()].filter(target => path === target || path.startsWith(`${target}/`));
  return table.get(covering.sort((a, b) => b.length - a.length)[0] ?? '');
}

function writable(plan: Plan, path: string): boolean {
  const mount = mountOf(mountTable(plan), path);
  if (mount === undefined) throw new Error(`${path} is on no mount of the plan`);
  return !mount.readOnly;
}

const SHARED_PROC = { proc: true, 'proc/sys': true, 'proc/sys/net': true, 'proc/sysrq-trigger': true };
const TABLE = [
  ['unprivileged, sys ro', unprivileged(), { ...SHARED_PROC, sys: false, 'sys/devices/virtual/net': true }],
  ['unprivileged, sys rw', unprivileged({ sys: 'rw' }), { ...SHARED_PROC, sys: true, 'sys/devices/virtual/net': true }],
  [
    'privileged, sys ro',
    privileged(),
    {
      proc: true,
      'proc/sys': false,
      'proc/sys/net': true,
      'proc/sysrq-trigger': false,
      sys: false,
      'sys/devices/virtual/net': true,
    },
  ],
  [
    'privileged, sys rw',
    privileged({ sys: 'rw' }),
    {
      proc: true,
      'proc/sys': false,
      'proc/sys/net': true,
      'proc/sysrq-trigger': false,
      sys: true,
      'sys/devices/virtual/net': true,
    },
  ],
] as const;

describe.each(TABLE)('%s', (_, spec, expected) => {
  test.each(Object.entries(expected))('ENV-31 /%s is writable: %s', (path, wanted) => {
    expect(writable(planOf(spec, PURE_V2), `/${path}`)).toBe(wanted);
  });

  test('ENV-31 proc and sysfs are new instances: nosuid, nodev, noexec, before and after any remount', () => {
    const table = mountTable(planOf(spec, PURE_V2));
    for (const [path, fstype] of [
      ['/proc', 'proc'],
      ['/sys', 'sysfs'],
    ] as const) {
      expect(table.get(path)).toMatchObject({ fstype, flags: KERNEL_FS });
    }
    for (const [path, mount] of table) {
      if (path.startsWith('/proc') || path.startsWith('/sys')) expect(mount.flags, path).toEqual(KERNEL_FS);
    }
  });

  test('ENV-31 the order lets /proc/sys/net and the links stay writable', () => {
    // Bound before the tree around them is made read-only; afterwards they could not be bound writable.
    const targets = actions(planOf(spec, PURE_V2), 'mount').map(
      ({ target, flags }) => `${flags.includes('MS_REMOUNT') ? 'ro ' : ''}${target}`,
    );
    for (const [inner, outer] of [
      ['/proc/sys/net', 'ro /proc/sys'],
      ['/sys/devices/virtual/net', 'ro /sys'],
    ] as const) {
      if (targets.includes(outer)) expect(targets.indexOf(inner)).toBeLessThan(targets.indexOf(outer));
      if (targets.includes(outer)) expect(targets).toContain(inner);
    }
  });
});

test('ENV-32 /sys is read-only unless the spec says rw, on every kind of host', () => {
  for (const [name, facts] of Object.entries(HOSTS)) {
    expect(writable(planOf(unprivileged(), facts), '/sys/kernel'), name).toBe(false);
    expect(writable(planOf(unprivileged({ sys: 'rw' }), facts), '/sys/kernel'), name).toBe(true);
  }
});

test('ENV-33 /proc/sys is writable only when user, ipc, uts, pid and net namespaces are all new', () => {
  for (const [name, facts] of Object.entries(HOSTS)) {
    for (const spec of [unprivileged(), privileged()]) {
      if (name === 'nested' && spec.idmap === null) continue;
      const plan = planOf(spec, facts);
      const fresh = actions(plan, 'launch').flatMap(({ namespaces }) => [...namespaces]);
      const all = ['CLONE_NEWUSER', 'CLONE_NEWIPC', 'CLONE_NEWUTS', 'CLONE_NEWPID', 'CLONE_NEWNET'].every(flag =>
        fresh.includes(flag),
      );
      expect(writable(plan, '/proc/sys/kernel/shmmax'), name).toBe(all);
    }
  }
});

test('ENV-31 a kernel without magic SysRq has no trigger to cover: that is tolerated, nothing else is', () => {
  const tolerated = planOf(privileged(), PURE_V2).steps.filter(
    ({ id, tolerate }) => id.startsWith('mounting.proc') && tolerate !== undefined,
  );
  expect(tolerated.map(({ id, tolerate }) => [id, tolerate?.map(({ errno }) => errno)])).toEqual([
    ['mounting.proc.sysrq', ['ENOENT']],
    ['mounting.proc.sysrq.ro', ['ENOENT']],
  ]);
});

test('cgroup file systems stay writable below a read-only /sys (ENV-32 with ENV-40)', () => {
  expect(writable(planOf(unprivileged(), PURE_V2), '/sys/fs/cgroup/a')).toBe(true);
  const legacy = planOf(unprivileged({ cgroups: { layout: 'legacy' } }), HYBRID);
  expect(writable(legacy, '/sys/fs/cgroup/pids/a')).toBe(true);
  expect(writable(legacy, '/sys/fs/cgroup')).toBe(false);
});
