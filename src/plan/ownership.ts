/** How the files of a root file system come to belong to the container's ids (NET-33). */
import type { ContainerSpec } from '../spec/container.js';
import { CaissonError } from '../spec/errors.js';
import type { ShiftTarget } from './actions/rootfs.js';
import type { HostFacts } from './facts.js';
import type { Places } from './rootfs-layer.js';
import type { HostStep, Plan } from './step.js';

/**
 * `as-is`: privileged, ids are the host's. `mapped`: shown through an id-mapped mount. `owned`: they must belong to the
 * range already. `shifted`: their owners are changed, once. `either`: mapped where the file system can do that, else shifted.
 */
type Ownership = 'as-is' | 'mapped' | 'owned' | 'shifted' | 'either';

/** @throws CaissonError HOST_UNSUPPORTED */
export function ownership(spec: ContainerSpec, facts: HostFacts): Ownership {
  const { kind, overlay, shift } = spec.rootfs;
  const { idmappedMounts } = facts.features;
  if (spec.idmap === null) return 'as-is';
  if (shift === 'chown') return 'shifted';
  if (shift === 'none') return 'owned';
  if (shift === 'idmap' && !idmappedMounts) {
    throw new CaissonError('HOST_UNSUPPORTED', 'rootfs.shift: this kernel has no id-mapped mounts', {
      field: 'rootfs.shift',
      hint: 'Linux 5.12 or newer is needed; auto and chown change the owners in the directory here',
    });
  }
  // What is only read belongs to others, too: nothing is changed in it.
  const own = shift === 'auto' && kind === 'directory' && overlay === 'none';
  if (idmappedMounts) return own ? 'either' : 'mapped';
  return own ? 'shifted' : 'owned';
}

/** True when the tree is shown through an id map, if its file system has such mounts. */
export function mapsOwners(spec: ContainerSpec, facts: HostFacts): boolean {
  return ['mapped', 'either'].includes(ownership(spec, facts));
}

/** What a shift is told, and remembers; null without ids to shift to. */
export function shiftTarget(spec: ContainerSpec, places: Pick<Places, 'dir'>): ShiftTarget | null {
  if (spec.idmap === null) return null;
  return { record: `${places.dir}/shift.json`, first: spec.idmap.first, count: spec.idmap.count };
}

/** A shift that does not depend on what the file system says. */
export function shiftSteps(spec: ContainerSpec, facts: HostFacts, places: Places): HostStep[] {
  const target = shiftTarget(spec, places);
  if (target === null || ownership(spec, facts) !== 'shifted') return [];
  return [
    {
      id: 'creating.rootfs.shift',
      phase: 'creating',
      executor: 'host',
      label: "give the files of the root file system to the container's ids, once",
      action: { op: 'rootfs.shift', dir: 'fd:rootfs.dir', ...target },
    },
  ];
}

/** Gives a directory of the user's back as it was, if it was shifted. */
export function compileUnshift(spec: ContainerSpec, places: Pick<Places, 'dir'>): Plan {
  const target = shiftTarget(spec, places);
  const { path, kind } = spec.rootfs;
  // What lies in the container's own directory goes with that.
  const its = target !== null && kind === 'directory' && !path.startsWith(`${places.dir}/`);
  const step: HostStep[] = its
    ? [
        {
          id: 'unshift',
          phase: 'prepare',
          executor: 'host',
          label: `give the files of ${path} back to the ids they had`,
          action: { op: 'rootfs.unshift', path, ...target },
        },
      ]
    : [];
  return { container: spec.name, steps: step, notices: [], exports: [] };
}
