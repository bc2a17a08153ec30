/** The overlay below which changes are kept apart from a root file system. */
import type { RootfsAction } from '../../plan/actions/rootfs.js';
import { AT, O } from '../../syscalls/abi/constants.js';
import { chownat, close, mkdirat, openat } from '../../syscalls/fs.js';
import { attachMount, newMount } from '../../syscalls/mount.js';
import { inMountNamespaceAside } from './aside.js';

/**
 * An overlay whose upper layer lives in `directory`, an empty one. The layers are named by descriptors: their paths on
 * the host would show in the container's /proc/mounts.
 */
function overlayOf(lower: number, directory: number, owner: number): number {
  const opened: number[] = [];
  try {
    const layers = ['work', 'upper'].map(name => {
      mkdirat(directory, name, 0o755);
      const fd = openat(directory, name, O.O_PATH | O.O_DIRECTORY);
      opened.push(fd);
      return fd;
    });
    const [work, upper] = layers as [number, number];
    chownat(upper, '', owner, owner);
    const path = (fd: number): string => `/proc/self/fd/${fd}`;
    return newMount('overlay', { lowerdir: path(lower), upperdir: path(upper), workdir: path(work) }, 0);
  } finally {
    for (const fd of opened) close(fd);
  }
}

/** A detached mount of the overlay. */
export function overlay(lower: number, action: Extract<RootfsAction, { op: 'rootfs.overlay' }>): number {
  const { scratch, owner, attached } = action;
  const lay = (): number => {
    const directory = openat(AT.AT_FDCWD, scratch, O.O_PATH | O.O_DIRECTORY);
    try {
      if (attached) attachMount(lower, scratch);
      return overlayOf(lower, directory, owner);
    } finally {
      close(directory);
    }
  };
  // Before Linux 6.15 every layer must be on a mount of the caller's own namespace. Attached in the host's, each would
  // be one mount more that every later start has to copy.
  return attached ? inMountNamespaceAside(lay) : lay();
}
