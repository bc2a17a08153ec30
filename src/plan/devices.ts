/**
 * /dev (ENV-14 to ENV-29): a private tmpfs filled by the host through a descriptor, before the child sees it. Made
 * outside the user namespace its nodes work inside; made through a descriptor no path of the container is walked.
 */
import type { ContainerSpec } from '../spec/container.js';
import { DEVICE_LINKS } from '../spec/devices.js';
import { availableNodes, nodeSteps } from './device-nodes.js';
import { directory, host, init } from './device-step.js';
import type { HostFacts } from './facts.js';
import { nestingSteps } from './nesting.js';
import type { InitStep, PlanNotice, Step } from './step.js';
import { syslogSteps } from './syslog.js';
import { terminalSteps } from './terminal.js';

/** Mounts below /dev that belong to nobody but this container. */
function ownMounts(): InitStep[] {
  return [
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
  ];
}

export function deviceSteps(spec: ContainerSpec, facts: HostFacts): { steps: Step[]; notices: PlanNotice[] } {
  const owner = spec.idmap?.first ?? 0;
  const { nodes, notices } = availableNodes(facts);
  const devices = nodeSteps(nodes, facts, owner);
  const terminal = terminalSteps(spec);
  const nesting = nestingSteps(spec);
  const steps: Step[] = [
    host('tmpfs', `tmpfs of ${spec.devices.size} bytes for /dev`, {
      op: 'fs.mount',
      fstype: 'tmpfs',
      options: { mode: '0755', size: String(spec.devices.size), uid: String(owner), gid: String(owner) },
      attributes: ['MOUNT_ATTR_NOSUID'],
      save: 'fd:dev',
    }),
    ...['shm', 'mqueue'].map(path => directory(path, owner)),
    ...devices.made,
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
    // Where a program looks for a node by its number (ENV-30).
    directory('char', owner),
    ...nodes.map(({ path, major, minor }) =>
      host(`link.char.${major}:${minor}`, `/dev/char/${major}:${minor} -> ../${path}`, {
        op: 'tree.symlink',
        dir: 'fd:dev',
        path: `char/${major}:${minor}`,
        target: `../${path}`,
        uid: owner,
        gid: owner,
      }),
    ),
    ...syslogSteps(spec),
    ...terminal.made,
    ...nesting.made,
    init('attach', 'attach /dev', { op: 'move_mount', mount: 'fd:dev', target: '/dev' }),
    ...terminal.attached,
    ...devices.attached,
    ...ownMounts(),
    ...nesting.attached,
    host('close', 'close the descriptors of /dev', {
      op: 'close',
      registers: ['fd:dev', 'fd:devpts', ...devices.registers],
    }),
  ];
  return { steps, notices };
}
