/** Steps of the devices phase. */
import type { HostAction, HostStep, InitAction, InitStep, Tolerance } from './step.js';

export function host(id: string, label: string, action: HostAction, tolerate?: readonly Tolerance[]): HostStep {
  return {
    id: `devices.${id}`,
    phase: 'devices',
    executor: 'host',
    label,
    action,
    ...(tolerate === undefined ? {} : { tolerate }),
  };
}

export function init(id: string, label: string, action: InitAction): InitStep {
  return { id: `devices.${id}`, phase: 'devices', executor: 'init', label, action };
}

/** A directory of /dev. */
export function directory(path: string, owner: number): HostStep {
  return host(`dir.${path}`, `directory /dev/${path}`, {
    op: 'tree.mkdir',
    dir: 'fd:dev',
    path,
    mode: 0o755,
    uid: owner,
    gid: owner,
  });
}
