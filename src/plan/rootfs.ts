/** The child's part with its root file system: it attaches the mount that the host has made, and pivots into it. */
import type { Step } from './step.js';

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

/** ENV-08: when everything is mounted. The payload would start below what hides its root file system, and see none of it. */
export function rootfsSeen(): Step {
  return {
    id: 'devices.rootfs.seen',
    phase: 'devices',
    executor: 'init',
    label: 'nothing is mounted over the root file system',
    action: { op: 'root.check' },
  };
}

/**
 * HST-34: as systemd-nspawn(1) does, for every init. What is mounted in the container while it runs then reaches its
 * services, too, whose mount namespaces are slaves of this one. systemd leaves that to who starts it in a container.
 * All is severed from the host by then, so the peer groups made here are the container's own.
 */
export function sharedInside(): Step {
  return {
    id: 'devices.shared',
    phase: 'devices',
    executor: 'init',
    label: 'what is mounted here reaches mount namespaces made inside',
    action: { op: 'mount', source: null, target: '/', fstype: null, flags: ['MS_REC', 'MS_SHARED'] },
  };
}
