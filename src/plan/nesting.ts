/**
 * Containers inside the container (ENV-35). The kernel lets a user namespace mount proc and sysfs only while it sees a
 * full instance of each, and what is mounted over a file of /proc, its own boot id for one, makes that less than full.
 * So there is another of each, where nothing is mounted over.
 */
import type { ContainerSpec } from '../spec/container.js';
import { directory, init } from './device-step.js';
import type { HostStep, InitStep } from './step.js';

const INSTANCES = [
  { name: 'proc', fstype: 'proc' },
  { name: 'sys', fstype: 'sysfs' },
] as const;

export function nestingSteps(spec: ContainerSpec): { made: HostStep[]; attached: InitStep[] } {
  if (!spec.security.nesting) return { made: [], attached: [] };
  const owner = spec.idmap?.first ?? 0;
  return {
    made: ['.lxc', ...INSTANCES.map(({ name }) => `.lxc/${name}`)].map(path => directory(path, owner)),
    attached: INSTANCES.map(({ name, fstype }) =>
      init(`nesting.${name}`, `a full ${fstype} for containers inside`, {
        op: 'mount',
        source: fstype,
        target: `/dev/.lxc/${name}`,
        fstype,
        flags: ['MS_NOSUID', 'MS_NODEV', 'MS_NOEXEC'],
      }),
    ),
  };
}
