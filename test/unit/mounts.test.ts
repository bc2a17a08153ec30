/** ENV-31 to ENV-33: which kernel file systems are mounted where, and what of them can be written. */
import { describe, expect, test } from 'vitest';
import type { Plan } from '#src/plan/step.js';
import { HOSTS, HYBRID, PURE_V2 } from '../lib/facts.js';
import { actions, at, hostStepOf, initStepOf, planOf, privileged, unprivileged } from './kit.js';

const KERNEL_FS = ['MS_NODEV', 'MS_NOEXEC', 'MS_NOSUID'];

interface Mount {
  readonly fstype: string | null;
  readonly flags: readonly string[];
  readonly readOnly: boolean;
}

const ATTRIBUTES: Readonly<Record<string, string>> = {
  MOUNT_ATTR_NOSUID: 'MS_NOSUID',
  MOUNT_ATTR_NODEV: 'MS_NODEV',
  MOUNT_ATTR_NOEXEC: 'MS_NOEXEC',
};

/** What /proc/mounts would say after the mounting phase: the mount table as the plan's calls build it. */
function mountTable(plan: Plan): Map<string, Mount> {
  const detached = new Map<string, Mount>();
  const table = new Map<string, Mount>();
  // What is mounted in the old root goes with it, but for descriptors: names without a slash are bound from there.
  let covers: Mount | undefined;
  for (const { action } of plan.steps) {
    if (action.op === 'fs.mount' || action.op === 'bind.tree') {
      const flags = action.attributes.flatMap(attribute => ATTRIBUTES[attribute] ?? []).sort();
      const readOnly = action.attributes.includes('MOUNT_ATTR_RDONLY');
      detached.set(action.save, { fstype: action.op === 'fs.mount' ? action.fstype : null, flags, readOnly });
    }
    // What is a copy of one of the host's: which flags it has is the host's affair.
    if (action.op === 'move_mount')
      table.set(
        typeof action.target === 'string' ? action.target : action.target.from,
        detached.get(action.mount) ?? { fstype: null, flags: [], readOnly: false },
      );
    if (action.op === 'pivot_root') {
      covers = table.get('/dev');
      table.clear();
    }
    if (action.op !== 'mount') continue;
    const { source, target, fstype, flags } = action;
    const plain = flags.filter(flag => !['MS_BIND', 'MS_REMOUNT', 'MS_RDONLY', 'MS_RELATIME'].includes(flag)).sort();
    if (flags.includes('MS_REMOUNT')) {
      const mounted = table.get(target);
      if (mounted === undefined) throw new Error(`remount of ${target}, which is not a mount`);
      // A bind remount sets the flags anew: those it does not repeat are lost.
      table.set(target, { ...mounted, flags: plain, readOnly: flags.includes('MS_RDONLY') });
    } else if (flags.includes('MS_BIND')) {
      const parent = source?.startsWith('/') === true ? mountOf(table, source) : covers;
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
      const fresh = [
        ...actions(plan, 'launch').flatMap(({ namespaces }) => [...namespaces]),
        ...actions(plan, 'unshare').flatMap(({ flags }) => [...flags]),
      ];
      const all = ['CLONE_NEWUSER', 'CLONE_NEWIPC', 'CLONE_NEWUTS', 'CLONE_NEWPID', 'CLONE_NEWNET'].every(flag =>
        fresh.includes(flag),
      );
      expect(writable(plan, '/proc/sys/kernel/shmmax'), name).toBe(all);
    }
  }
});

describe('ENV-34', () => {
  const MASKED = ['/proc/kcore', '/proc/kallsyms', '/proc/keys', '/proc/timer_list'];
  const SHOWN = ['/proc/acpi', '/proc/asound', '/proc/bus', '/proc/fs', '/proc/irq', '/proc/scsi'];

  test('what shows kernel memory, symbols, timers and keys is covered by an empty file, read-only', () => {
    for (const spec of [unprivileged(), privileged()]) {
      const table = mountTable(planOf(spec, PURE_V2));
      for (const path of MASKED) {
        expect(table.get(path), path).toEqual({ fstype: 'tmpfs', flags: KERNEL_FS, readOnly: true });
      }
      const sources = actions(planOf(spec, PURE_V2), 'mount').filter(({ target }) => MASKED.includes(target));
      expect(sources.map(({ source }) => source)).toEqual(MASKED.map(() => 'empty'));
    }
  });

  test('what the host has to do with is read-only for host root; in a user namespace its owner is nobody there', () => {
    const table = mountTable(planOf(privileged(), PURE_V2));
    for (const path of SHOWN) expect(table.get(path), path).toMatchObject({ fstype: 'proc', readOnly: true });
    for (const path of SHOWN) expect(mountTable(planOf(unprivileged(), PURE_V2)).has(path), path).toBe(false);
  });

  test('nesting hides nothing, but the boot id, the kernel log and the sysctls of the host', () => {
    const nesting = { security: { nesting: true } };
    const over = (plan: Plan): string[] =>
      [...mountTable(plan).keys()].filter(path => path.startsWith('/proc/') && !path.endsWith('/binfmt_misc'));
    const always = ['/proc/sys/kernel/random/boot_id', '/proc/kmsg'];
    expect(over(planOf(unprivileged(nesting), PURE_V2))).toEqual(always);
    expect(over(planOf(privileged(nesting), PURE_V2))).toEqual([
      '/proc/sys',
      '/proc/sys/net',
      '/proc/sysrq-trigger',
      ...always,
    ]);
  });

  test('what a kernel does not have need not be covered; nothing else is tolerated', () => {
    for (const spec of [unprivileged(), privileged()]) {
      for (const { id, action, tolerate } of planOf(spec, PURE_V2).steps) {
        if (tolerate === undefined || action.op !== 'mount' || !action.target.startsWith('/proc')) continue;
        if (action.fstype !== null) continue;
        expect(
          tolerate.map(({ errno }) => errno),
          id,
        ).toEqual(['ENOENT']);
        expect(['/proc', '/proc/sys', '/proc/sys/net'], id).not.toContain(action.target);
      }
    }
  });
});

test('ENV-35 nesting: a proc and a sysfs with nothing over them; without it there are none', () => {
  for (const base of [unprivileged, privileged]) {
    const table = mountTable(planOf(base({ security: { nesting: true } }), PURE_V2));
    expect(table.get('/dev/.lxc/proc')).toEqual({ fstype: 'proc', flags: KERNEL_FS, readOnly: false });
    expect(table.get('/dev/.lxc/sys')).toEqual({ fstype: 'sysfs', flags: KERNEL_FS, readOnly: false });
    expect([...table.keys()].filter(path => /^\/dev\/\.lxc\/.*\//.test(path))).toEqual([]);
    expect([...mountTable(planOf(base(), PURE_V2)).keys()].filter(path => path.includes('.lxc'))).toEqual([]);
  }
});

describe.each([
  ['unprivileged', unprivileged()],
  ['privileged', privileged()],
])('%s', (_, spec) => {
  const plan = planOf(spec, PURE_V2);
  const owner = spec.idmap?.first ?? 0;

  test('ENV-36 the boot id is a new random file, read-only, on no path of the container', () => {
    expect(actions(plan, 'tree.uuid')).toEqual([
      { op: 'tree.uuid', dir: 'fd:covers', path: 'boot-id', mode: 0o444, uid: owner, gid: owner },
    ]);
    const mount = mountTable(plan).get('/proc/sys/kernel/random/boot_id');
    expect(mount).toEqual({ fstype: 'tmpfs', flags: KERNEL_FS, readOnly: true });
    // Its tmpfs is attached before the pivot, in what becomes the old root, and goes with that.
    expect(at(plan, 'mounting.covers.attach')).toBeLessThan(at(plan, 'mounting.pivot'));
    expect(at(plan, 'mounting.boot-id')).toBeLessThan(at(plan, 'mounting.detach'));
    // Over /proc/sys, which is a mount of its own where it is read-only.
    if (spec.idmap === null) expect(at(plan, 'mounting.proc.sys')).toBeLessThan(at(plan, 'mounting.boot-id'));
  });

  test('HST-57 the kernel log is a FIFO whose other end the manager keeps', () => {
    expect(hostStepOf(plan, 'mounting.kmsg.fifo').action).toMatchObject({ kind: 'S_IFIFO', mode: 0o600, uid: owner });
    expect(plan.exports).toContain('fd:kmsg');
    expect(initStepOf(plan, 'mounting.kmsg').action).toMatchObject({ source: 'kmsg', target: '/proc/kmsg' });
  });
});

test("what is the payload's of the cgroups stays writable below a read-only /sys (ENV-32 with ENV-40, HST-10)", () => {
  expect(writable(planOf(unprivileged(), PURE_V2), '/sys/fs/cgroup/a')).toBe(true);
  const legacy = planOf(unprivileged({ cgroups: { layout: 'legacy' } }), HYBRID);
  expect(writable(legacy, '/sys/fs/cgroup/systemd/a')).toBe(true);
  // A controller of v1 is not, whoever owns its files.
  expect(writable(legacy, '/sys/fs/cgroup/pids/a')).toBe(false);
  expect(writable(legacy, '/sys/fs/cgroup')).toBe(false);
});
