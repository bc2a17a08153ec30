/** ENV-14 to ENV-25: /dev, its nodes and where the device policy is put. */
import { describe, expect, test } from 'vitest';
import type { HostFacts } from '#src/plan/facts.js';
import type { Plan, Step } from '#src/plan/step.js';
import { DEVICE_NODES, deviceRules } from '#src/spec/devices.js';
import { HOSTS, HYBRID, NESTED, NO_IDMAP, PURE_V1, PURE_V2 } from '../lib/facts.js';
import {
  actions,
  at,
  expectError,
  has,
  hostStepOf,
  initStepOf,
  planOf,
  privileged,
  stepOf,
  unprivileged,
} from './kit.js';

/** The nodes of the page, with their numbers: kept by hand. */
const PAGE: Readonly<Record<string, readonly [number, number]>> = {
  null: [1, 3],
  zero: [1, 5],
  full: [1, 7],
  random: [1, 8],
  urandom: [1, 9],
  tty: [5, 0],
  fuse: [10, 229],
  'net/tun': [10, 200],
};

/** On v1, with a leaf for the payload, the policy is part of making the cgroups. */
function policySteps(plan: Plan): Step[] {
  return plan.steps.filter(({ id }) => /^(creating|devices)\.policy/.test(id));
}

const CASES = Object.entries(HOSTS).flatMap(([host, facts]) => [
  [host, 'unprivileged', unprivileged(), facts] as const,
  ...(host === 'nested' ? [] : [[host, 'privileged', privileged(), facts] as const]),
]);

describe.each(CASES)('on %s, %s', (_host, _mode, spec, facts) => {
  const plan = planOf(spec, facts);
  const owner = spec.idmap?.first ?? 0;

  test("ENV-14 /dev is a fresh tmpfs: 0755, 500 000 bytes, nosuid, container root's, without nodev", () => {
    expect(hostStepOf(plan, 'devices.tmpfs').action).toEqual({
      op: 'fs.mount',
      fstype: 'tmpfs',
      options: { mode: '0755', size: '500000', uid: String(owner), gid: String(owner) },
      attributes: ['MOUNT_ATTR_NOSUID'],
      save: 'fd:dev',
    });
    expect(initStepOf(plan, 'devices.attach').action).toEqual({ op: 'move_mount', mount: 'fd:dev', target: '/dev' });
  });

  test('ENV-15 every node of the page is there, and no other', () => {
    const made = actions(plan, facts.mknod ? 'tree.mknod' : 'tree.file').map(({ path }) => path);
    expect(made.filter(path => path !== 'console').sort()).toEqual(Object.keys(PAGE).sort());
  });

  test('ENV-16 no node is made that the policy refuses', () => {
    const rules = deviceRules(spec.devices.mknod);
    for (const path of Object.keys(PAGE)) {
      const [major, minor] = PAGE[path]!;
      const row = rules.find(rule => rule.type === 'c' && rule.major === major && rule.minor === minor);
      expect(row?.access, path).toBe('rwm');
    }
  });

  test('the device tree is complete before it is attached, and the child attaches /dev before what lies in it', () => {
    const attach = at(plan, 'devices.attach');
    for (const step of plan.steps)
      if ('dir' in step.action && step.action.dir === 'fd:dev') expect(at(plan, step.id)).toBeLessThan(attach);
    for (const id of ['attach.pts', 'shm', 'mqueue', 'console.bind']) {
      expect(at(plan, `devices.${id}`), id).toBeGreaterThan(attach);
    }
    expect(at(plan, 'devices.attach.pts')).toBeLessThan(at(plan, 'devices.console.bind'));
  });

  test('directories are made before what lies in them', () => {
    const made = new Set<string>();
    for (const { action } of plan.steps) {
      if (!('dir' in action) || !('path' in action) || action.dir !== 'fd:dev') continue;
      const parent = action.path.includes('/') ? action.path.slice(0, action.path.lastIndexOf('/')) : undefined;
      if (parent !== undefined) expect(made.has(parent), action.path).toBe(true);
      if (action.op === 'tree.mkdir') made.add(action.path);
    }
    expect([...made].sort()).toEqual(['char', 'mqueue', 'net', 'pts', 'shm']);
  });

  test('HST-47, HST-48 nothing that the page leaves out: no kmsg, mem, kcore, VTs, vcs or block devices', () => {
    const paths = plan.steps.flatMap(({ action }) =>
      'dir' in action && 'path' in action && action.dir === 'fd:dev' ? [action.path] : [],
    );
    expect(paths.filter(path => /^(kmsg|mem|kmem|port|kcore|tty\d+|vcs|sd|loop)/.test(path))).toEqual([]);
    // The only node maker knows character devices alone.
    expect(DEVICE_NODES.every(({ kind }) => kind === 'char')).toBe(true);
  });

  test('ENV-24 devpts: a new instance, ptmxmode 0666, mode 0620, gid 5, at most 1024, nosuid, noexec', () => {
    expect(hostStepOf(plan, 'devices.devpts').action).toEqual({
      op: 'fs.mount',
      fstype: 'devpts',
      options: { ptmxmode: '0666', mode: '0620', max: '1024', gid: String(owner + 5) },
      attributes: ['MOUNT_ATTR_NOSUID', 'MOUNT_ATTR_NOEXEC'],
      save: 'fd:devpts',
    });
  });

  test('ENV-25 /dev/console is a pty of that instance, its master kept by the supervisor', () => {
    expect(hostStepOf(plan, 'devices.console').action).toMatchObject({
      devpts: 'fd:devpts',
      uid: owner,
      gid: owner + 5,
      save: { master: 'fd:console', slave: 'fd:console.slave' },
    });
    expect(plan.exports).toContain('fd:console');
    expect(initStepOf(plan, 'devices.console.bind').action).toMatchObject({
      source: '/dev/pts/0',
      target: '/dev/console',
      flags: ['MS_BIND'],
    });
    // The first pty of a new instance is number 0: nothing else may open one before.
    const first = plan.steps.find(({ action }) => action.op === 'pty.open');
    expect(first?.id).toBe('devices.console');
    expect(first?.needs).toBeUndefined();
  });

  test('links: fd, stdin, stdout, stderr, and ptmx to pts/ptmx', () => {
    // With /dev/log it depends on the init: test/unit/syslog.test.ts.
    const made = actions(plan, 'tree.symlink').filter(({ path }) => path !== 'log' && !path.startsWith('char/'));
    const links = Object.fromEntries(made.map(({ path, target }) => [path, target]));
    expect(links).toEqual({
      fd: '/proc/self/fd',
      stdin: '/proc/self/fd/0',
      stdout: '/proc/self/fd/1',
      stderr: '/proc/self/fd/2',
      ptmx: 'pts/ptmx',
    });
  });

  test('ENV-28, ENV-29 /dev/mqueue and /dev/shm are mounted by the child, in its own namespaces', () => {
    expect(initStepOf(plan, 'devices.shm').action).toMatchObject({
      fstype: 'tmpfs',
      target: '/dev/shm',
      flags: ['MS_NOSUID', 'MS_NODEV'],
      data: 'mode=1777',
    });
    expect(initStepOf(plan, 'devices.mqueue').action).toMatchObject({ fstype: 'mqueue', target: '/dev/mqueue' });
  });

  test('what is made in /dev belongs to container root', () => {
    for (const { id, action } of plan.steps) {
      if (action.op.startsWith('tree.') && 'uid' in action)
        expect([action.uid, action.gid], id).toEqual([owner, owner]);
    }
  });
});

describe('ENV-17 modes and owners', () => {
  test.each([
    ['unprivileged', unprivileged(), 1_000_000],
    ['privileged', privileged(), 0],
  ] as const)("come from the table, not from the host's node: %s", (_, spec, owner) => {
    // The hybrid host has /dev/fuse and /dev/net/tun 0600.
    const nodes = actions(planOf(spec, HYBRID), 'tree.mknod');
    expect(nodes).toEqual(
      nodes.map(({ path }) => ({
        op: 'tree.mknod',
        dir: 'fd:dev',
        path,
        major: PAGE[path]?.[0],
        minor: PAGE[path]?.[1],
        mode: 0o666,
        uid: owner,
        gid: owner,
      })),
    );
    expect(nodes).toHaveLength(8);
    expect(planOf(spec, HYBRID).notices.map(({ code }) => code)).not.toContain('device-degraded');
  });

  test('directories are 0755, the console file 0600 before the pty covers it', () => {
    const plan = planOf(unprivileged(), PURE_V2);
    expect(
      actions(plan, 'tree.mkdir')
        .filter(({ dir }) => dir === 'fd:dev')
        .every(({ mode }) => mode === 0o755),
    ).toBe(true);
    expect(actions(plan, 'tree.file')).toEqual([
      { op: 'tree.file', dir: 'fd:dev', path: 'console', mode: 0o600, uid: 1_000_000, gid: 1_000_000 },
    ]);
  });
});

test('ENV-14 the size of /dev is settable', () => {
  const plan = planOf(unprivileged({ devices: { size: 64 } }), PURE_V2);
  expect(hostStepOf(plan, 'devices.tmpfs').action).toMatchObject({ options: { size: '64' } });
});

test('ENV-18 nodes are made by the host, before the child sees them, where the host may', () => {
  for (const [name, facts] of Object.entries(HOSTS)) {
    if (!facts.mknod) continue;
    const plan = planOf(unprivileged(), facts);
    for (const path of Object.keys(PAGE)) {
      expect(stepOf(plan, `devices.node.${path}`).executor, name).toBe('host');
      expect(has(plan, `devices.bind.${path}`)).toBe(false);
    }
  }
});

describe('ENV-19 where nodes cannot be made', () => {
  const plan = planOf(unprivileged(), NESTED);

  test("each is an empty file with the host's node bound over it", () => {
    expect(actions(plan, 'tree.mknod')).toEqual([]);
    for (const path of Object.keys(PAGE)) {
      expect(hostStepOf(plan, `devices.node.${path}`).action).toMatchObject({ op: 'tree.file', path });
      expect(hostStepOf(plan, `devices.bind.${path}`).action).toEqual({
        op: 'bind.open',
        path: `/dev/${path}`,
        save: `fd:bind.${path}`,
      });
      expect(initStepOf(plan, `devices.attach.${path}`).action).toEqual({
        op: 'move_mount',
        mount: `fd:bind.${path}`,
        target: `/dev/${path}`,
      });
      expect(at(plan, `devices.attach.${path}`)).toBeGreaterThan(at(plan, 'devices.attach'));
    }
  });

  test('an optional node the host has not is left out, with the directory only it needs', () => {
    const { fuse, 'net/tun': tun, ...rest } = NESTED.deviceNodes;
    expect([fuse, tun].every(Boolean)).toBe(true);
    const bare = planOf(unprivileged(), { ...NESTED, deviceNodes: rest });
    expect(actions(bare, 'bind.open').map(({ path }) => path)).not.toContain('/dev/fuse');
    expect(has(bare, 'devices.node.net/tun')).toBe(false);
    expect(has(bare, 'devices.dir.net')).toBe(false);
    expect(bare.notices.map(({ code }) => code)).not.toContain('device-degraded');
  });

  test.each(['null', 'zero', 'full', 'random', 'urandom', 'tty'])(
    "without the host's /dev/%s there is no start",
    path => {
      const deviceNodes = Object.fromEntries(Object.entries(NESTED.deviceNodes).filter(([name]) => name !== path));
      const error = expectError(() => planOf(unprivileged(), { ...NESTED, deviceNodes }), 'HOST_UNSUPPORTED');
      expect(error.message).toContain(`/dev/${path}`);
    },
  );
});

describe('ENV-20 a bound node', () => {
  const degraded = (facts: HostFacts): string[] =>
    planOf(unprivileged(), facts)
      .notices.filter(({ code }) => code === 'device-degraded')
      .map(({ message }) => message);

  test('narrower than the table is told, with both modes', () => {
    expect(degraded(NESTED)).toEqual([
      expect.stringMatching(/^\/dev\/fuse has the host's mode 600 instead of 666/),
      expect.stringMatching(/^\/dev\/net\/tun has the host's mode 660 instead of 666/),
    ]);
  });

  test('as wide as the table or wider is not worth a word', () => {
    const deviceNodes = Object.fromEntries(Object.keys(PAGE).map(path => [path, { mode: 0o777 }]));
    expect(degraded({ ...NESTED, deviceNodes })).toEqual([]);
  });

  test('is never given another mode or owner: that would change the host', () => {
    const plan = planOf(unprivileged(), NESTED);
    const opened = actions(plan, 'bind.open').filter(({ path }) => path.startsWith('/dev/'));
    const bound = new Set(opened.map(({ save }) => save));
    expect(bound.size).toBe(8);
    for (const { id, action } of plan.steps) {
      const touches = 'dir' in action && bound.has(action.dir);
      const byPath =
        (action.op === 'chown' || action.op === 'write') && 'path' in action && action.path.startsWith('/dev/');
      expect(touches || byPath, id).toBe(false);
    }
    // No tree.* step reaches below the mount once the node is bound there: all come before the attach.
    const lastTree = Math.max(
      ...plan.steps.flatMap((step, index) => (step.action.op.startsWith('tree.') ? [index] : [])),
    );
    expect(lastTree).toBeLessThan(at(plan, 'devices.attach'));
  });
});

test("ENV-24 the new devpts is given to container root, where that is not the host's", () => {
  const given = (plan: Plan): string[] =>
    actions(plan, 'tree.chown').map(({ dir, path, uid, gid }) => `${dir}/${path} ${uid}:${gid}`);
  expect(given(planOf(unprivileged(), PURE_V2))).toEqual([
    'fd:devpts/ 1000000:1000000',
    'fd:devpts/ptmx 1000000:1000000',
  ]);
  expect(given(planOf(privileged(), PURE_V2))).toEqual([]);
});

describe('ENV-21 where the policy is put', () => {
  const policy = policySteps;

  test.each([
    ['v1', PURE_V1, '/sys/fs/cgroup/devices/system.slice/caisson/web'],
    ['hybrid', HYBRID, '/sys/fs/cgroup/devices/caisson/web'],
  ] as const)('%s: deny all, then one line per row, on the outer cgroup', (_, facts, cgroup) => {
    const [deny, allow, ...more] = policy(planOf(unprivileged(), facts)).map(({ action }) => action);
    expect(deny).toEqual({ op: 'write', path: `${cgroup}/devices.deny`, text: 'a' });
    expect(allow).toMatchObject({ op: 'write.lines', path: `${cgroup}/devices.allow` });
    expect(allow?.op === 'write.lines' ? allow.lines.length : 0).toBe(13);
    expect(more).toEqual([]);
  });

  test('v2: one program on the outer cgroup, which the container cannot write', () => {
    const [attach, ...more] = policy(planOf(unprivileged(), PURE_V2)).map(({ action }) => action);
    expect(attach).toMatchObject({ op: 'policy.bpf', cgroup: '/sys/fs/cgroup/caisson/web' });
    expect(more).toEqual([]);
  });

  test('v1 that the payload sees: before the leaf is made, since the kernel denies all only in a group without children', () => {
    for (const [facts, layout] of [
      [PURE_V1, 'auto'],
      [HYBRID, 'legacy'],
      [HYBRID, 'hybrid'],
    ] as const) {
      const plan = planOf(unprivileged({ cgroups: { layout } }), facts);
      const order = ['cgroup.devices', 'policy.deny', 'policy.allow', 'cgroup.devices.payload'].map(id =>
        at(plan, `creating.${id}`),
      );
      expect(order).toEqual([...order].sort((a, b) => a - b));
    }
  });

  test('it is in force before the payload can open anything', () => {
    for (const facts of [PURE_V1, HYBRID, PURE_V2]) {
      const plan = planOf(unprivileged(), facts);
      for (const { id } of policy(plan)) expect(at(plan, id)).toBeLessThan(at(plan, 'running.exec'));
    }
  });

  test.each(['any', 'table'] as const)('ENV-23 devices.mknod: %s decides the rows, on v1 and v2', mknod => {
    const spec = unprivileged({ devices: { mknod } });
    const lines = actions(planOf(spec, PURE_V1), 'write.lines').flatMap(action => [...action.lines]);
    expect(lines.includes('c *:* m')).toBe(mknod === 'any');
    expect(lines.includes('b *:* m')).toBe(mknod === 'any');
    const other = unprivileged({ devices: { mknod: mknod === 'any' ? 'table' : 'any' } });
    const programOf = (one: typeof spec) => actions(planOf(one, PURE_V2), 'policy.bpf')[0]?.program;
    expect(programOf(spec)).not.toEqual(programOf(other));
  });
});

describe('ENV-22 when no policy can be installed', () => {
  const without: HostFacts = { ...PURE_V2, bpfDevicePolicy: false };

  test('a privileged container is refused', () => {
    const error = expectError(() => planOf(privileged(), without), 'DEVICE_POLICY_REFUSED');
    expect(error.hint).toContain('BPF');
  });

  test('an unprivileged one goes on, and says so', () => {
    const plan = planOf(unprivileged(), without);
    expect(policySteps(plan)).toEqual([]);
    expect(plan.notices.filter(({ code }) => code !== 'unconfined')).toEqual([
      { code: 'device-policy-none', message: expect.stringContaining('devicePolicy: none') },
    ]);
  });

  test('with a policy there is no such notice', () => {
    for (const facts of [PURE_V1, HYBRID, PURE_V2, NO_IDMAP]) {
      expect(planOf(unprivileged(), facts).notices.map(({ code }) => code)).not.toContain('device-policy-none');
    }
  });

  test('a kernel that refuses it at run time is tolerated for an unprivileged container only', () => {
    for (const facts of [PURE_V1, HYBRID, PURE_V2]) {
      const tolerated = (plan: Plan) => policySteps(plan).map(step => step.tolerate?.map(({ errno }) => errno));
      expect(new Set(tolerated(planOf(privileged(), facts)))).toEqual(new Set([undefined]));
      for (const errnos of tolerated(planOf(unprivileged(), facts))) expect(errnos).toEqual(['EPERM']);
    }
  });
});

test('ENV-24 gid is left out where gid 5 is unmapped, and the pty then belongs to container root', () => {
  const narrow = planOf(unprivileged({ idmap: { first: 5000, count: 5 } }), PURE_V2);
  expect(hostStepOf(narrow, 'devices.devpts').action).toMatchObject({
    options: { ptmxmode: '0666', mode: '0620', max: '1024' },
  });
  expect(JSON.stringify(hostStepOf(narrow, 'devices.devpts').action)).not.toContain('gid');
  expect(hostStepOf(narrow, 'devices.console').action).toMatchObject({ uid: 5000, gid: 5000 });
  const wide = planOf(unprivileged({ idmap: { first: 5000, count: 6 } }), PURE_V2);
  expect(hostStepOf(wide, 'devices.devpts').action).toMatchObject({ options: { gid: '5005' } });
});
