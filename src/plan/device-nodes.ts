/** The nodes of the device table: made, or where that is not possible the host's bound (ENV-15 to ENV-20). */
import { DEVICE_NODES, type DeviceNode } from '../spec/devices.js';
import { CaissonError } from '../spec/errors.js';
import { directory, host, init } from './device-step.js';
import type { HostFacts } from './facts.js';
import type { PlanNotice, Step } from './step.js';

function parents(nodes: readonly DeviceNode[]): string[] {
  return [
    ...new Set(
      nodes.filter(node => node.path.includes('/')).map(node => node.path.slice(0, node.path.lastIndexOf('/'))),
    ),
  ];
}

export function nodeSteps(
  nodes: readonly DeviceNode[],
  facts: HostFacts,
  owner: number,
): { made: Step[]; attached: Step[]; registers: string[] } {
  const made: Step[] = parents(nodes).map(path => directory(path, owner));
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
export function availableNodes(facts: HostFacts): { nodes: DeviceNode[]; notices: PlanNotice[] } {
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
