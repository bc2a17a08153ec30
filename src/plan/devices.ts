/**
 * /dev (ENV-14 to ENV-25): a private tmpfs filled by the host through a descriptor, before the child sees it. Made
 * outside the user namespace its nodes work inside; made through a descriptor no path of the container is walked.
 */
import type { ContainerSpec } from '../spec/container.js';
import { DEVICE_LINKS, DEVICE_NODES, type DeviceNode, deviceRules } from '../spec/devices.js';
import { CaissonError } from '../spec/errors.js';
import type { CgroupPaths } from './cgroups.js';
import { deviceLines, deviceProgram } from './device-program.js';
import type { HostFacts } from './facts.js';
import type { HostAction, HostStep, InitAction, InitStep, PlanNotice, Step, Tolerance } from './step.js';

const TTY_GID = 5;

function host(id: string, label: string, action: HostAction, tolerate?: readonly Tolerance[]): HostStep {
  return {
    id: `devices.${id}`,
    phase: 'devices',
    executor: 'host',
    label,
    action,
    ...(tolerate === undefined ? {} : { tolerate }),
  };
}

function init(id: string, label: string, action: InitAction): InitStep {
  return { id: `devices.${id}`, phase: 'devices', executor: 'init', label, action };
}

function parents(nodes: readonly DeviceNode[]): string[] {
  return [
    ...new Set(
      nodes.filter(node => node.path.includes('/')).map(node => node.path.slice(0, node.path.lastIndexOf('/'))),
    ),
  ];
}

function nodeSteps(
  nodes: readonly DeviceNode[],
  facts: HostFacts,
  owner: number,
): { made: Step[]; attached: Step[]; registers: string[] } {
  const made: Step[] = [];
  const attached: Step[] = [];
  const registers: string[] = [];
  for (const node of nodes) {
    if (facts.mknod) {
      made.push(
        host(`node.${node.path}`, `node /dev/${node.path} ${node.major}:${node.minor}`, {
          op: 'tree.mknod',
          dir: 'fd:dev',
          path: node.path,
          major: node.major,
          minor: node.minor,
          mode: node.mode,
          uid: owner,
          gid: owner,
        }),
      );
      continue;
    }
    const register = `fd:bind.${node.path}`;
    registers.push(register);
    made.push(
      host(`node.${node.path}`, `empty file to bind the host's /dev/${node.path} on`, {
        op: 'tree.file',
        dir: 'fd:dev',
        path: node.path,
        mode: 0o666,
        uid: owner,
        gid: owner,
      }),
      host(`bind.${node.path}`, `host's /dev/${node.path}`, {
        op: 'bind.open',
        path: `/dev/${node.path}`,
        save: register,
      }),
    );
    attached.push(
      init(`attach.${node.path}`, `bind the host's node on /dev/${node.path}`, {
        op: 'move_mount',
        mount: register,
        target: `/dev/${node.path}`,
      }),
      // A copy of a shared mount is shared with it: what the payload mounts over its node would cover the host's.
      init(`private.${node.path}`, `sever /dev/${node.path} from the mount it is a copy of`, {
        op: 'mount',
        source: null,
        target: `/dev/${node.path}`,
        fstype: null,
        flags: ['MS_PRIVATE'],
      }),
    );
  }
  return { made, attached, registers };
}

/** Nodes that can be had, and a notice for each bound host node that is narrower than the table (ENV-20). */
function availableNodes(facts: HostFacts): { nodes: DeviceNode[]; notices: PlanNotice[] } {
  if (facts.mknod) return { nodes: [...DEVICE_NODES], notices: [] };
  const notices: PlanNotice[] = [];
  const nodes = DEVICE_NODES.filter(node => {
    const present = facts.deviceNodes[node.path];
    if (present === undefined) {
      if (node.optional === true) return false;
      throw new CaissonError('HOST_UNSUPPORTED', `the host has no /dev/${node.path}, and nodes cannot be made here`);
    }
    if ((present.mode & node.mode) !== node.mode) {
      notices.push({
        code: 'device-degraded',
        message: `/dev/${node.path} has the host's mode ${present.mode.toString(8)} instead of ${node.mode.toString(8)}: a bind keeps it, and changing it would change the host`,
      });
    }
    return true;
  });
  return { nodes, notices };
}

/** `early` steps belong between the making of the policy's cgroup and of the leaf below it. */
export interface DevicePolicy {
  readonly early: readonly HostStep[];
  readonly late: readonly HostStep[];
  readonly notices: readonly PlanNotice[];
}

export function devicePolicy(spec: ContainerSpec, facts: HostFacts, paths: CgroupPaths): DevicePolicy {
  const rules = deviceRules(spec.devices.mknod);
  // Privileged payloads must not run without a policy; unprivileged ones cannot make usable nodes anyway (ENV-22).
  const tolerate: Tolerance[] | undefined =
    spec.idmap === null
      ? undefined
      : [{ errno: 'EPERM', why: 'devicePolicy: none; in a user namespace nodes made by the payload do not work' }];
  const v1 = paths.v1.find(({ hierarchy }) => hierarchy.controllers.includes('devices'));
  if (v1 !== undefined) {
    const lines = deviceLines(rules);
    const steps = [
      host(
        'policy.deny',
        'device policy: deny all',
        { op: 'write', path: `${v1.outer}/devices.deny`, text: 'a' },
        tolerate,
      ),
      host(
        'policy.allow',
        `device policy: allow ${lines.length} rows`,
        { op: 'write.lines', path: `${v1.outer}/devices.allow`, lines },
        tolerate,
      ),
    ];
    if (v1.joined === v1.outer) return { early: [], late: steps, notices: [] };
    // The kernel refuses to deny all once the group has children (EINVAL); a child made later inherits the policy.
    const early = steps.map(
      (step): HostStep => ({ ...step, id: step.id.replace('devices.', 'creating.'), phase: 'creating' }),
    );
    return { early, late: [], notices: [] };
  }
  if (paths.v2 !== null && facts.bpfDevicePolicy) {
    return {
      early: [],
      late: [
        host(
          'policy',
          `device policy: BPF program of ${rules.length} rules, default deny`,
          { op: 'policy.bpf', cgroup: paths.v2.outer, program: deviceProgram(rules) },
          tolerate,
        ),
      ],
      notices: [],
    };
  }
  if (spec.idmap === null) {
    throw new CaissonError(
      'DEVICE_POLICY_REFUSED',
      'no device policy can be installed on this host, and a privileged container must not run without one',
      {
        hint: 'the host needs the v1 devices controller, or cgroup v2 with BPF (CAP_BPF or CAP_SYS_ADMIN)',
      },
    );
  }
  return {
    early: [],
    late: [],
    notices: [
      {
        code: 'device-policy-none',
        message: 'devicePolicy: none; this host offers neither a devices controller nor BPF',
      },
    ],
  };
}

export function deviceSteps(spec: ContainerSpec, facts: HostFacts): { steps: Step[]; notices: PlanNotice[] } {
  const owner = spec.idmap?.first ?? 0;
  const ttyGid = spec.idmap === null ? TTY_GID : spec.idmap.count > TTY_GID ? spec.idmap.first + TTY_GID : null;
  const { nodes, notices } = availableNodes(facts);
  const { made, attached, registers } = nodeSteps(nodes, facts, owner);
  const directory = (path: string): Step =>
    host(`dir.${path}`, `directory /dev/${path}`, {
      op: 'tree.mkdir',
      dir: 'fd:dev',
      path,
      mode: 0o755,
      uid: owner,
      gid: owner,
    });
  const devptsOwner = (path: string): Step =>
    host(
      `devpts.owner${path === '' ? '' : `.${path}`}`,
      `give /dev/pts${path === '' ? '' : `/${path}`} to container root`,
      { op: 'tree.chown', dir: 'fd:devpts', path, uid: owner, gid: owner },
    );
  const steps: Step[] = [
    host('tmpfs', `tmpfs of ${spec.devices.size} bytes for /dev`, {
      op: 'fs.mount',
      fstype: 'tmpfs',
      options: { mode: '0755', size: String(spec.devices.size), uid: String(owner), gid: String(owner) },
      attributes: ['MOUNT_ATTR_NOSUID'],
      save: 'fd:dev',
    }),
    ...[...parents(nodes), 'pts', 'shm', 'mqueue'].map(directory),
    ...made,
    host('console.file', 'empty file to bind the console on', {
      op: 'tree.file',
      dir: 'fd:dev',
      path: 'console',
      mode: 0o600,
      uid: owner,
      gid: owner,
    }),
    ...DEVICE_LINKS.map(({ path, target }) =>
      host(`link.${path}`, `/dev/${path} -> ${target}`, {
        op: 'tree.symlink',
        dir: 'fd:dev',
        path,
        target,
        uid: owner,
        gid: owner,
      }),
    ),
    host('devpts', 'new devpts instance', {
      op: 'fs.mount',
      fstype: 'devpts',
      options: { ptmxmode: '0666', mode: '0620', max: '1024', ...(ttyGid === null ? {} : { gid: String(ttyGid) }) },
      attributes: ['MOUNT_ATTR_NOSUID', 'MOUNT_ATTR_NOEXEC'],
      save: 'fd:devpts',
    }),
    ...(owner === 0 ? [] : [devptsOwner(''), devptsOwner('ptmx')]),
    host('console', 'console pty in that instance', {
      op: 'pty.open',
      devpts: 'fd:devpts',
      rows: spec.console.rows,
      cols: spec.console.cols,
      uid: owner,
      gid: ttyGid ?? owner,
      save: { master: 'fd:console', slave: 'fd:console.slave' },
    }),
    init('attach', 'attach /dev', { op: 'move_mount', mount: 'fd:dev', target: '/dev' }),
    init('attach.pts', 'attach /dev/pts', { op: 'move_mount', mount: 'fd:devpts', target: '/dev/pts' }),
    ...attached,
    init('shm', '/dev/shm', {
      op: 'mount',
      source: 'tmpfs',
      target: '/dev/shm',
      fstype: 'tmpfs',
      flags: ['MS_NOSUID', 'MS_NODEV'],
      data: 'mode=1777',
    }),
    init('mqueue', "/dev/mqueue of the container's own IPC namespace", {
      op: 'mount',
      source: 'mqueue',
      target: '/dev/mqueue',
      fstype: 'mqueue',
      flags: ['MS_NOSUID', 'MS_NODEV', 'MS_NOEXEC'],
    }),
    // The first pty of a fresh instance is always number 0.
    init('console.bind', '/dev/console is that pty', {
      op: 'mount',
      source: '/dev/pts/0',
      target: '/dev/console',
      fstype: null,
      flags: ['MS_BIND'],
    }),
    host('close', 'close the descriptors of /dev', { op: 'close', registers: ['fd:dev', 'fd:devpts', ...registers] }),
  ];
  return { steps, notices };
}
