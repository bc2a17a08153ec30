/** The overlay below which changes are kept apart from a root file system. */
import type { RootfsAction } from '../../../plan/actions/rootfs.js';
import { AT, flagsOf, MOUNT_ATTR, O } from '../../../syscalls/abi/constants.js';
import { chownat, close, mkdirat, openat, statFd } from '../../../syscalls/fs.js';
import { SyscallError } from '../../../syscalls/libc.js';
import { attachMount, newMount } from '../../../syscalls/mount.js';
import { moveTo, tryUnlink } from '../../../syscalls/tree.js';
import { inMountNamespaceAside } from './aside.js';

/** False when the directory is there already. */
function makeDirectory(dir: number, path: string, mode: number): boolean {
  try {
    mkdirat(dir, path, mode);
    return true;
  } catch (error) {
    if (error instanceof SyscallError && error.errno === 'EEXIST') return false;
    throw error;
  }
}

/** The directory of a layer, whose files nobody but the container is to reach; false when it is there already. */
export function makeLayer(path: string): boolean {
  return makeDirectory(AT.AT_FDCWD, path, 0o700);
}

const PERMISSIONS = 0o7777;

/**
 * The root of an overlay is that of its upper layer, permissions and owner included: made under another name, so that
 * there is none without them after a crash.
 */
function makeUpper(directory: number, mode: number, owner: number): void {
  makeDirectory(directory, 'upper.new', mode);
  chownat(directory, 'upper.new', owner, owner);
  if (!moveTo(directory, 'upper.new', directory, 'upper')) tryUnlink(directory, 'upper.new', true);
}

/**
 * An overlay whose upper layer lives in `directory`. The layers are named by descriptors: their paths on the host would
 * show in the container's /proc/mounts.
 */
function overlayOf(lower: number, directory: number, owner: number, attributes: number): number {
  const opened: number[] = [];
  const open = (name: string): number => {
    const fd = openat(directory, name, O.O_PATH | O.O_DIRECTORY);
    opened.push(fd);
    return fd;
  };
  try {
    makeDirectory(directory, 'work', 0o700);
    makeUpper(directory, statFd(lower).mode & PERMISSIONS, owner);
    const [work, upper] = [open('work'), open('upper')];
    const path = (fd: number): string => `/proc/self/fd/${fd}`;
    return newMount('overlay', { lowerdir: path(lower), upperdir: path(upper), workdir: path(work) }, attributes);
  } finally {
    for (const fd of opened) close(fd);
  }
}

/** A detached mount of the overlay. */
export function overlay(lower: number, action: Extract<RootfsAction, { op: 'rootfs.overlay' }>): number {
  const { layer, owner, attached } = action;
  const lay = (): number => {
    const directory = openat(AT.AT_FDCWD, layer, O.O_PATH | O.O_DIRECTORY);
    try {
      if (attached) attachMount(lower, layer);
      return overlayOf(lower, directory, owner, flagsOf(MOUNT_ATTR, action.attributes ?? []));
    } finally {
      close(directory);
    }
  };
  // Before Linux 6.15 every layer must be on a mount of the caller's own namespace. Attached in the host's, each would
  // be one mount more that every later start has to copy.
  return attached ? inMountNamespaceAside(lay) : lay();
}
