/**
 * Cgroups of one container: an outer one per hierarchy that carries limits and policy and belongs to the host, and
 * below it, where the payload may manage its own groups, a `payload` leaf given to container root (ENV-41).
 */
import type { ContainerSpec } from '../spec/container.js';
import { CaissonError } from '../spec/errors.js';
import type { CgroupV1Hierarchy, HostFacts } from './facts.js';
import { type ScopePlace, scopeOf } from './scope.js';

export type CgroupLayout = 'unified' | 'hybrid' | 'legacy';

export interface CgroupPaths {
  readonly layout: CgroupLayout;
  readonly v1: readonly { readonly hierarchy: CgroupV1Hierarchy; readonly outer: string; readonly joined: string }[];
  readonly v2: { readonly outer: string; readonly payload: string } | null;
  /** The unit of systemd that the v2 groups are in. */
  readonly scope: ScopePlace | null;
}

export const PAYLOAD_LEAF = 'payload';

/** Which hierarchies the payload sees (container-environment §4.2, ENV-71). */
export function payloadLayout(wanted: ContainerSpec['cgroups']['layout'], facts: HostFacts): CgroupLayout {
  const { v1, v2 } = facts.cgroups;
  if (v1.length === 0) {
    if (wanted === 'hybrid' || wanted === 'legacy') {
      throw new CaissonError(
        'SPEC_INVALID',
        `cgroups.layout: ${wanted} needs cgroup v1 hierarchies, which this host has not`,
        {
          field: 'cgroups.layout',
          hint: 'leave it at auto',
        },
      );
    }
    return 'unified';
  }
  if (v2 === null) {
    if (wanted === 'unified' || wanted === 'hybrid') {
      throw new CaissonError(
        'SPEC_INVALID',
        `cgroups.layout: ${wanted} needs a cgroup v2 hierarchy, which this host has not`,
        {
          field: 'cgroups.layout',
          hint: 'leave it at auto',
        },
      );
    }
    return 'legacy';
  }
  return wanted === 'auto' ? 'unified' : wanted;
}

/**
 * Host root in a privileged container can mount any v1 hierarchy, and finds there, as its root, the group it is in:
 * that must not be the one with its limits and its device policy (ENV-41).
 */
function carriesLimits(hierarchy: CgroupV1Hierarchy): boolean {
  return ['devices', 'memory', 'pids'].some(controller => hierarchy.controllers.includes(controller));
}

export function cgroupPaths(spec: ContainerSpec, facts: HostFacts): CgroupPaths {
  const layout = payloadLayout(spec.cgroups.layout, facts);
  const below = `${facts.cgroups.prefix}/${spec.name}`;
  const scope = scopeOf(spec, facts);
  // systemd keeps the attributes of the scope's own cgroup to itself: limits go to one below it, which is ours.
  const v2 = scope === null ? facts.cgroups.v2 && `${facts.cgroups.v2.base}/${below}` : `${scope.path}/container`;
  return {
    layout,
    v1: facts.cgroups.v1.map(hierarchy => {
      const outer = `${hierarchy.base}/${below}`;
      const atOuter = layout === 'unified' && !(spec.idmap === null && carriesLimits(hierarchy));
      return { hierarchy, outer, joined: atOuter ? outer : `${outer}/${PAYLOAD_LEAF}` };
    }),
    v2: v2 === null ? null : { outer: v2, payload: `${v2}/${PAYLOAD_LEAF}` },
    scope,
  };
}

/** Directories to remove after the payload is gone, leaves first. */
export function cgroupDirectories(paths: CgroupPaths): string[] {
  const v2 = paths.v2 === null ? [] : [paths.v2.payload, paths.v2.outer];
  return [...v2, ...paths.v1.flatMap(({ outer, joined }) => (joined === outer ? [outer] : [joined, outer]))];
}
