/** The root file system: opened and checked before anything is made, then cloned, mapped and handed to the child. */
import type { ContainerSpec } from '../spec/container.js';
import { CaissonError } from '../spec/errors.js';
import type { HostFacts } from './facts.js';
import type { HostStep, Step } from './step.js';

/** ENV-01 to ENV-06, on a descriptor: what was checked is what is used. */
export function rootfsChecks(spec: ContainerSpec, facts: HostFacts): HostStep[] {
  const { path, createMissing, overlay, allowSharedSuperblock } = spec.rootfs;
  if (spec.idmap === null && overlay === 'none' && !allowSharedSuperblock) {
    throw new CaissonError(
      'ROOTFS_SHARES_HOST_SUPERBLOCK',
      `rootfs: a privileged container on the plain directory ${path} could remount the host's file system`,
      {
        field: 'rootfs.overlay',
        hint: 'set rootfs.overlay to ephemeral, run unprivileged, or, for a payload you trust, set rootfs.allowSharedSuperblock',
      },
    );
  }
  // Without idmapped mounts the tree must already belong to the container's own ids.
  const owner = spec.idmap !== null && !facts.features.idmappedMounts ? spec.idmap.first : null;
  return [
    {
      id: 'creating.rootfs.open',
      phase: 'creating',
      executor: 'host',
      label: `open ${path}`,
      action: { op: 'rootfs.open', path, save: 'fd:rootfs.dir' },
    },
    {
      id: 'creating.rootfs.check',
      phase: 'creating',
      executor: 'host',
      label: `check /dev, /proc, /sys and ${spec.init} in the root file system`,
      action: { op: 'rootfs.check', dir: 'fd:rootfs.dir', path, init: spec.init, createMissing, owner },
    },
  ];
}

/** Makes `fd:rootfs`, a detached mount. Never attached in the host's mount namespace: cloning that grows with it. */
export function rootfsMount(spec: ContainerSpec, facts: HostFacts, runDir: string): HostStep[] {
  const steps: HostStep[] = [];
  const overlay = spec.rootfs.overlay === 'ephemeral';
  const idmapped = spec.idmap !== null && facts.features.idmappedMounts;
  if (overlay && idmapped && !facts.features.overlayOnIdmapped) {
    throw new CaissonError(
      'HOST_UNSUPPORTED',
      'rootfs.overlay: this kernel cannot lay an overlay over an id-mapped mount',
      {
        field: 'rootfs.overlay',
        hint: 'Linux 5.19 or newer is needed for an ephemeral root file system in a user namespace; leave rootfs.overlay out here',
      },
    );
  }
  // What has no owners to map need not be a mount of its own below an overlay.
  const lower = idmapped ? 'fd:rootfs.lower' : 'fd:rootfs.dir';
  const tree = overlay ? lower : 'fd:rootfs';
  if (tree !== 'fd:rootfs.dir') {
    steps.push({
      id: 'mounting.rootfs.clone',
      phase: 'mounting',
      executor: 'host',
      label: 'detached mount of the root file system',
      action: { op: 'rootfs.clone', dir: 'fd:rootfs.dir', save: tree },
    });
  }
  const used = ['fd:rootfs.dir'];
  if (idmapped) {
    steps.push(
      {
        id: 'mounting.userns',
        phase: 'mounting',
        executor: 'host',
        label: "open the container's user namespace",
        action: { op: 'userns.open', pid: 'pid', save: 'fd:userns' },
      },
      {
        id: 'mounting.rootfs.idmap',
        phase: 'mounting',
        executor: 'host',
        label: "map the owners of the root file system to the container's ids",
        action: { op: 'mount.idmap', mount: tree, userns: 'fd:userns' },
      },
    );
    used.push('fd:userns');
  }
  if (overlay) {
    const scratch = `${runDir}/overlay`;
    steps.push(
      {
        id: 'mounting.overlay.dir',
        phase: 'mounting',
        executor: 'host',
        label: 'directory of the layer that is thrown away at stop',
        // A step of its own: only steps that succeeded are undone, and an overlay may fail half-way.
        action: { op: 'mkdir', path: scratch, mode: 0o700 },
        undo: { op: 'rmtree', path: scratch },
      },
      {
        id: 'mounting.rootfs.overlay',
        phase: 'mounting',
        executor: 'host',
        label: 'overlay with that layer on top',
        action: {
          op: 'rootfs.overlay',
          lower: tree,
          scratch,
          owner: spec.idmap?.first ?? 0,
          attached: idmapped && !facts.features.overlayOnDetached,
          save: 'fd:rootfs',
        },
      },
    );
    if (tree !== 'fd:rootfs.dir') used.push(tree);
  }
  steps.push({
    id: 'mounting.rootfs.close',
    phase: 'mounting',
    executor: 'host',
    label: 'close what the root mount was made from',
    action: { op: 'close', registers: used },
  });
  return steps;
}

/** First of all that the child mounts. */
export function privateTree(): Step[] {
  return [
    {
      id: 'mounting.private',
      phase: 'mounting',
      executor: 'init',
      label: 'no mount event leaves or enters this namespace',
      action: { op: 'mount', source: null, target: '/', fstype: null, flags: ['MS_REC', 'MS_PRIVATE'] },
    },
  ];
}

/**
 * The child makes the tree its root before it mounts anything in it: a symlink planted there then resolves inside
 * the container or not at all. The old root stays stacked below until proc and sysfs are mounted, since the kernel
 * lets a user namespace mount them only while it can see a full instance of each.
 */
export function rootfsPivot(): Step[] {
  return [
    {
      id: 'mounting.rootfs.attach',
      phase: 'mounting',
      executor: 'init',
      label: 'attach the root file system',
      action: { op: 'move_mount', mount: 'fd:rootfs', target: '/' },
    },
    {
      id: 'mounting.rootfs.enter',
      phase: 'mounting',
      executor: 'init',
      label: 'enter it',
      action: { op: 'fchdir', fd: 'fd:rootfs' },
    },
    {
      id: 'mounting.rootfs.private',
      phase: 'mounting',
      executor: 'init',
      // A copy of a mount that systemd made shared is shared with it: mounts made here would appear on the host, and
      // pivot_root refuses it.
      label: 'sever it from the mount it is a copy of',
      action: { op: 'mount', source: null, target: '.', fstype: null, flags: ['MS_REC', 'MS_PRIVATE'] },
    },
    {
      id: 'mounting.pivot',
      phase: 'mounting',
      executor: 'init',
      label: 'make it the root, the old root stacked on top of it',
      action: { op: 'pivot_root', newRoot: '.', putOld: '.' },
    },
  ];
}

export function rootfsDetachOld(): Step[] {
  return [
    {
      id: 'mounting.detach',
      phase: 'mounting',
      executor: 'init',
      label: 'detach the old root: no host path is reachable from here on',
      action: { op: 'umount', target: '.', flags: ['MNT_DETACH'] },
    },
    {
      id: 'mounting.chdir',
      phase: 'mounting',
      executor: 'init',
      label: 'working directory /',
      action: { op: 'chdir', path: '/' },
    },
    {
      id: 'mounting.rootfs.release',
      phase: 'mounting',
      executor: 'host',
      label: "close the root mount's descriptor",
      action: { op: 'close', registers: ['fd:rootfs'] },
    },
  ];
}
