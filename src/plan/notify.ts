/** The socket by which PID 1 tells its manager how far it is (HST-25, HST-37). It is always there; who asks for it is
 * told where by NOTIFY_SOCKET. */
import type { ContainerSpec } from '../spec/container.js';
import type { HostStep, Register } from './step.js';

export const NOTIFY_PATH = '/run/host/notify';
/** Our end of it. */
export const NOTIFY: Register = 'fd:notify';

/** @param directory register of what will be /run/host. */
export function notifySocket(directory: Register, owner: number): HostStep {
  return {
    id: 'mounting.run.host.notify',
    phase: 'mounting',
    executor: 'host',
    label: `socket ${NOTIFY_PATH}`,
    // For its owner only: whoever is not PID 1 is not heard anyway.
    action: {
      op: 'datagram.bind',
      dir: directory,
      name: 'notify',
      mode: 0o600,
      uid: owner,
      gid: owner,
      // BARRIER=1 comes with one.
      descriptors: 'taken',
      save: NOTIFY,
    },
  };
}

/** The variable of sd_notify(3), where it was asked for (ENV-52). */
export function notifyVariable(spec: ContainerSpec): string[] {
  return spec.ready === 'notify' ? [`NOTIFY_SOCKET=${NOTIFY_PATH}`] : [];
}
