/** Being told when the kernel kills a process because a container's memory has run out (NET-28). */
import type { ContainerSpec } from '../spec/container.js';
import { cgroupPaths } from './cgroups.js';
import type { HostFacts } from './facts.js';
import { KEPT_FROM } from './kept.js';
import type { HostStep, Plan } from './step.js';

export const OOM = 'fd:oom';

export interface OomPlan {
  readonly plan: Plan;
  /** 1: the descriptor is an eventfd; 2: the file that counts, which has an exceptional condition when it changes. */
  readonly version: 1 | 2;
}

/** Null where nothing limits memory. */
export function compileOomWatch(spec: ContainerSpec, facts: HostFacts): OomPlan | null {
  if (spec.limits.memory === null) return null;
  const { v1, v2 } = cgroupPaths(spec, facts);
  const joined = v1.find(({ hierarchy }) => hierarchy.controllers.includes('memory'))?.joined;
  const group = joined ?? v2?.outer;
  if (group === undefined) return null;
  const version = joined === undefined ? 2 : 1;
  const base = { phase: 'live', executor: 'host' } as const;
  const steps: HostStep[] = [
    {
      ...base,
      id: 'live.oom.watch',
      label: 'be told of processes that are killed for want of memory',
      action:
        version === 1
          ? { op: 'oom.event', group, save: OOM }
          : { op: 'open', path: `${group}/memory.events`, flags: ['O_RDONLY'], save: OOM },
    },
    {
      ...base,
      id: 'live.oom.raise',
      label: 'give it a high number: the low ones are for launches',
      action: { op: 'raise', registers: [OOM], from: KEPT_FROM },
      tolerate: [{ errno: 'EINVAL', why: 'the limit on descriptors is lower' }],
    },
  ];
  return { plan: { container: spec.name, steps, notices: [], exports: [OOM] }, version };
}
