/** The host's part with the root file system: opened and checked, cloned, mapped, laid below an overlay. */
import type { ContainerSpec } from '../spec/container.js';
import { CaissonError } from '../spec/errors.js';
import { initName } from './detect.js';
import type { HostFacts } from './facts.js';
import { imageMount, imageSteps } from './image.js';
import { mapsOwners, ownership, shiftSteps, shiftTarget } from './ownership.js';
import { layerOf, type Places, sourceOf } from './rootfs-layer.js';
import type { HostAction, HostStep } from './step.js';

/** Set when the layer holds what an earlier life, which ended by a reboot, has left there. */
const KEPT = 'is:layer.kept';

function creating(id: string, label: string, action: HostAction): HostStep {
  return { id: `creating.${id}`, phase: 'creating', executor: 'host', label, action };
}

function mounting(id: string, label: string, action: HostAction, more: Partial<HostStep> = {}): HostStep {
  return { id: `mounting.${id}`, phase: 'mounting', executor: 'host', label, action, ...more };
}

function refuseSharedSuperblock(spec: ContainerSpec): void {
  const { path, kind, overlay, allowSharedSuperblock } = spec.rootfs;
  // An image has a superblock of its own.
  if (kind === 'image') return;
  if (spec.idmap !== null || overlay !== 'none' || allowSharedSuperblock) return;
  throw new CaissonError(
    'ROOTFS_SHARES_HOST_SUPERBLOCK',
    `rootfs: a privileged container on the plain directory ${path} could remount the host's file system`,
    {
      field: 'rootfs.overlay',
      hint: 'set rootfs.overlay to ephemeral or persistent, run unprivileged, or, for a payload you trust, set rootfs.allowSharedSuperblock',
    },
  );
}

/** What the payload will see is checked: below a layer that may add to it or take away, the merged tree (ENV-02 to 06). */
function check(spec: ContainerSpec, facts: HostFacts, dir: 'fd:rootfs.dir' | 'fd:rootfs'): HostAction {
  const { path, createMissing, overlay } = spec.rootfs;
  const first = spec.idmap?.first ?? null;
  return {
    op: 'rootfs.check',
    dir,
    path,
    init: spec.init,
    createMissing,
    owner: ownership(spec, facts) === 'owned' ? first : null,
    // Through an overlay, which maps no ids, what is made must be given to the container's root.
    giveTo: overlay === 'none' && mapsOwners(spec, facts) ? null : first,
  };
}

function openedRootfs(spec: ContainerSpec, places: Places): 'fd:rootfs' | 'fd:rootfs.dir' {
  return spec.rootfs.kind === 'image' ? imageMount(spec, places) : 'fd:rootfs.dir';
}

/** ENV-01 to ENV-06, on a descriptor: what was checked is what is used. */
export function rootfsChecks(spec: ContainerSpec, facts: HostFacts, places: Places): HostStep[] {
  refuseSharedSuperblock(spec);
  const { kind, overlay, createMissing } = spec.rootfs;
  const path = sourceOf(spec, places);
  const steps =
    kind === 'image'
      ? imageSteps(spec, places)
      : [creating('rootfs.open', `open ${path}`, { op: 'rootfs.open', path, save: 'fd:rootfs.dir' })];
  // A fresh layer changes nothing, unless mount points are to be made in it: then the start can be refused right here.
  if (overlay === 'none' || (overlay === 'ephemeral' && !createMissing)) {
    const label = `check /dev, /proc, /sys and ${initName(spec)} in the root file system`;
    steps.push(creating('rootfs.check', label, check(spec, facts, openedRootfs(spec, places))));
  }
  return [...steps, ...shiftSteps(spec, facts, places)];
}

function overlaySteps(
  spec: ContainerSpec,
  facts: HostFacts,
  layer: string,
  lower: { readonly register: string; readonly detached: boolean },
): HostStep[] {
  const { kind, overlay, createMissing } = spec.rootfs;
  const persistent = overlay === 'persistent';
  return [
    mounting(
      'overlay.dir',
      persistent
        ? 'directory of the layer that keeps the changes'
        : 'directory of the layer that is thrown away at stop',
      // A step of its own: only steps that succeeded are undone, and an overlay may fail half-way.
      { op: 'layer.make', path: layer, save: KEPT },
      persistent ? {} : { undo: { op: 'rmtree', path: layer } },
    ),
    mounting('rootfs.overlay', 'overlay with that layer on top', {
      op: 'rootfs.overlay',
      lower: lower.register,
      layer,
      owner: spec.idmap?.first ?? 0,
      attached: lower.detached && !facts.features.overlayOnDetached,
      ...(kind === 'image' ? { attributes: ['MOUNT_ATTR_NODEV'] } : {}),
      save: 'fd:rootfs',
    }),
    mounting(
      'rootfs.check',
      `check /dev, /proc, /sys and ${initName(spec)} in what the layers make together`,
      check(spec, facts, 'fd:rootfs'),
      persistent || createMissing ? {} : { needs: KEPT },
    ),
  ];
}

/** Makes `fd:rootfs`, a detached mount. Never attached in the host's mount namespace: cloning that grows with it. */
export function rootfsMount(spec: ContainerSpec, facts: HostFacts, places: Places): HostStep[] {
  const layer = layerOf(spec, places);
  const idmapped = mapsOwners(spec, facts);
  const otherwise = ownership(spec, facts) === 'either' ? shiftTarget(spec, places) : null;
  if (layer !== null && idmapped && !facts.features.overlayOnIdmapped) {
    throw new CaissonError(
      'HOST_UNSUPPORTED',
      'rootfs.overlay: this kernel cannot lay an overlay over an id-mapped mount',
      {
        field: 'rootfs.overlay',
        hint: 'Linux 5.19 or newer is needed for an overlay in a user namespace; leave rootfs.overlay out here',
      },
    );
  }
  const steps: HostStep[] = [];
  const opened = openedRootfs(spec, places);
  const image = spec.rootfs.kind === 'image';
  // What has no owners to map need not be a mount of its own below an overlay; an image is one already.
  const lower = idmapped && !image ? 'fd:rootfs.lower' : 'fd:rootfs.dir';
  const tree = layer === null ? 'fd:rootfs' : lower;
  const used: string[] = opened === 'fd:rootfs' ? [] : [opened];
  if (tree !== opened) {
    const action = { op: 'rootfs.clone', dir: 'fd:rootfs.dir', save: tree } as const;
    steps.push(mounting('rootfs.clone', 'detached mount of the root file system', action));
    if (tree === lower) used.push(tree);
  }
  if (idmapped) {
    steps.push(
      mounting('userns', "open the container's user namespace", { op: 'userns.open', pid: 'pid', save: 'fd:userns' }),
      mounting('rootfs.idmap', "map the owners of the root file system to the container's ids", {
        op: 'mount.idmap',
        mount: tree,
        userns: 'fd:userns',
        ...(otherwise === null ? {} : { otherwise }),
      }),
    );
    used.push('fd:userns');
  }
  if (layer !== null)
    steps.push(...overlaySteps(spec, facts, layer, { register: tree, detached: tree !== opened || image }));
  if (used.length > 0)
    steps.push(mounting('rootfs.close', 'close what the root mount was made from', { op: 'close', registers: used }));
  return steps;
}
