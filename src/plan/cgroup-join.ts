/** The child's way into its cgroups, and into a namespace of them. */
import type { CgroupPaths } from './cgroups.js';
import type { HostFacts } from './facts.js';
import type { HostStep, InitStep, Step } from './step.js';

/** The register of the cgroup the child is born into, or null where it has to join by itself. */
export function birthCgroup(facts: HostFacts, paths: CgroupPaths): string | null {
  return paths.v2 !== null && paths.scope === null && facts.features.cloneIntoCgroup ? 'fd:cgroup.v2' : null;
}

/**
 * The child joins each hierarchy itself by writing 0: moving another process waits for an RCU grace period (7 ms
 * and more). The namespace is unshared only then, so that its root is the payload cgroup (ENV-11).
 */
export function cgroupJoin(facts: HostFacts, paths: CgroupPaths): Step[] {
  const names = paths.v1.map(({ hierarchy }) => hierarchy.name);
  if (paths.v2 !== null && paths.scope === null && !facts.features.cloneIntoCgroup) names.push('v2');
  const joins = names.map(
    (name): InitStep => ({
      id: `creating.join.${name}`,
      phase: 'creating',
      executor: 'init',
      label: `join the ${name} cgroup`,
      action: { op: 'write', fd: `fd:cgroup.${name}`, text: '0' },
    }),
  );
  const unshare: InitStep = {
    id: 'creating.cgroup.namespace',
    phase: 'creating',
    executor: 'init',
    label: 'new cgroup namespace, its root the payload cgroup',
    action: { op: 'unshare', flags: ['CLONE_NEWCGROUP'] },
  };
  const close: HostStep = {
    id: 'creating.cgroup.close',
    phase: 'creating',
    executor: 'host',
    label: 'close the cgroup descriptors',
    action: {
      op: 'close',
      registers: [
        ...paths.v1.map(({ hierarchy }) => `fd:cgroup.${hierarchy.name}`),
        ...(paths.v2 === null || paths.scope !== null ? [] : ['fd:cgroup.v2']),
      ],
    },
  };
  return [...joins, unshare, close];
}
