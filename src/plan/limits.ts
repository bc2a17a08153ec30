/** The file of each limit of a container, and changing it while the container runs (NET-23, NET-24). */
import type { ContainerSpec } from '../spec/container.js';
import { CaissonError } from '../spec/errors.js';
import { type CgroupPaths, cgroupPaths } from './cgroups.js';
import type { HostFacts } from './facts.js';
import { livePlan, TARGET } from './live-mount.js';
import type { HostAction, HostStep, Plan } from './step.js';

export const LIMITS = ['memory', 'pids'] as const;
export type LimitName = (typeof LIMITS)[number];

const FILES = {
  memory: { v1: 'memory.limit_in_bytes', v2: 'memory.max' },
  pids: { v1: 'pids.max', v2: 'pids.max' },
} as const;

export interface LimitFile {
  readonly version: 1 | 2;
  /** The group that the limit is on. */
  readonly group: string;
  readonly path: string;
}

/** @throws CaissonError SPEC_INVALID where nothing would enforce it. */
export function limitFile(controller: LimitName, facts: HostFacts, paths: CgroupPaths): LimitFile {
  const v1 = paths.v1.find(({ hierarchy }) => hierarchy.controllers.includes(controller));
  if (v1 !== undefined) return { version: 1, group: v1.outer, path: `${v1.outer}/${FILES[controller].v1}` };
  if (facts.cgroups.v2?.controllers.includes(controller) === true && paths.v2 !== null) {
    return { version: 2, group: paths.v2.outer, path: `${paths.v2.outer}/${FILES[controller].v2}` };
  }
  throw new CaissonError('SPEC_INVALID', `limits.${controller}: no ${controller} controller on this host enforces it`, {
    field: `limits.${controller}`,
    hint: 'enable the controller (kernel parameter, or cgroup.subtree_control), or leave the limit out',
  });
}

function setLimit(name: LimitName, { version, group, path }: LimitFile, value: number | null): HostAction {
  // On v1 the word `max` is known to pids only.
  const text = value === null ? (version === 1 && name === 'memory' ? '-1' : 'max') : String(value);
  return name === 'memory' && value !== null
    ? { op: 'memory.limit', group, path, version, bytes: value }
    : { op: 'write', path, text };
}

/** From the limits of `before` to those of `spec`; what cannot be done puts back what was. */
export function compileLiveLimits(spec: ContainerSpec, before: ContainerSpec, facts: HostFacts): Plan {
  const paths = cgroupPaths(spec, facts);
  const steps = LIMITS.flatMap((name): HostStep[] => {
    const value = spec.limits[name];
    const was = before.limits[name];
    if (value === was) return [];
    const file = limitFile(name, facts, paths);
    return [
      {
        id: `live.limit.${name}`,
        phase: 'live',
        executor: 'host',
        label: value === null ? `no limit of ${name}` : `limit ${name} to ${value}`,
        action: setLimit(name, file, value),
        undo: setLimit(name, file, was),
      },
    ];
  });
  return livePlan(spec, steps, [TARGET]);
}
