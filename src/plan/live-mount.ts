/** Mounts of a running container (HST-34): made detached on the host, then moved into the container's namespace. */
import type { ContainerSpec } from '../spec/container.js';
import type { HostAction, HostStep, Plan } from './step.js';

export interface LiveMount {
  /** A directory or file of the host. */
  readonly source: string;
  /** Absolute path inside. */
  readonly target: string;
  readonly readOnly: boolean;
  /** Show owners through the container's id map: host root's files become container root's. */
  readonly shift: boolean;
}

/** The caller's own copy of the pidfd: the container may end, and close its own, at any time. */
export const TARGET = 'fd:target';

export function liveStep(id: string, label: string, action: HostAction): HostStep {
  return { id: `live.${id}`, phase: 'live', executor: 'host', label, action };
}

export function livePlan(spec: ContainerSpec, steps: HostStep[], registers: readonly string[]): Plan {
  const close = liveStep('close', 'close what it was made from', { op: 'close', registers });
  return { container: spec.name, steps: [...steps, close], notices: [], exports: [] };
}

export function compileLiveMount(spec: ContainerSpec, mount: LiveMount): Plan {
  const { source, target, readOnly, shift } = mount;
  const attributes = ['MOUNT_ATTR_NOSUID', 'MOUNT_ATTR_NODEV', ...(readOnly ? ['MOUNT_ATTR_RDONLY'] : [])];
  const steps = [
    liveStep('open', `detached copy of ${source}`, { op: 'live.source', path: source, save: 'fd:mount' }),
    ...(shift && spec.idmap !== null
      ? [
          liveStep('userns', "open the container's user namespace", {
            op: 'userns.of',
            pidfd: TARGET,
            pid: 'pid',
            save: 'fd:userns',
          }),
          liveStep('idmap', "map its owners to the container's ids", {
            op: 'mount.idmap',
            mount: 'fd:mount',
            userns: 'fd:userns',
          }),
        ]
      : []),
    liveStep('attributes', 'sever it from the host, no devices, no setuid programs', {
      op: 'mount.attributes',
      mount: 'fd:mount',
      attributes,
    }),
    liveStep('attach', `attach ${target}`, {
      op: 'live.mount',
      pidfd: TARGET,
      mount: 'fd:mount',
      target,
      owner: spec.idmap?.first ?? 0,
    }),
  ];
  return livePlan(spec, steps, ['fd:mount', 'fd:userns', TARGET]);
}

export function compileLiveUnmount(spec: ContainerSpec, target: string): Plan {
  return livePlan(
    spec,
    [liveStep('detach', `detach ${target}`, { op: 'live.umount', pidfd: TARGET, target })],
    [TARGET],
  );
}
