/** Credentials of a running container (HST-19): all of them on a new file system, which takes the place of the old one. */
import type { ContainerSpec } from '../spec/container.js';
import { TARGET } from './live-mount.js';
import { CREDENTIALS } from './run-host.js';
import type { HostAction, HostStep, Plan } from './step.js';

const MADE = 'fd:credentials';
const ATTRIBUTES = ['MOUNT_ATTR_RDONLY', 'MOUNT_ATTR_NOSUID', 'MOUNT_ATTR_NODEV', 'MOUNT_ATTR_NOEXEC'];

function step(id: string, label: string, action: HostAction): HostStep {
  return { id: `live.credentials.${id}`, phase: 'live', executor: 'host', label, action };
}

/**
 * Gives a running container what `spec` has. The file system that is there stays as it is: to change it, it would have to
 * be writable for a moment, for the payload too.
 */
export function compileLiveCredentials(spec: ContainerSpec): Plan {
  const owner = spec.idmap?.first ?? 0;
  const isEmpty = Object.keys(spec.credentials).length === 0;
  const make = [
    step('make', 'file system with the credentials, never swapped out', {
      op: 'credentials.mount',
      secrets: spec.credentials,
      uid: owner,
      gid: owner,
      save: MADE,
    }),
    step('attributes', 'read-only, and shared with nobody', {
      op: 'mount.attributes',
      mount: MADE,
      attributes: ATTRIBUTES,
    }),
  ];
  const steps = [
    ...(isEmpty ? [] : make),
    step('replace', isEmpty ? `take ${CREDENTIALS} away` : `put it in the place of ${CREDENTIALS}`, {
      op: 'live.replace',
      pidfd: TARGET,
      mount: isEmpty ? null : MADE,
      target: CREDENTIALS,
    }),
    step('close', 'close what it was made from', { op: 'close', registers: [MADE, TARGET] }),
  ];
  return { container: spec.name, steps, notices: [], exports: [] };
}
