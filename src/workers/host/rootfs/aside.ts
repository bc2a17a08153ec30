/** A moment in a mount namespace of this thread's own: what is mounted there is seen by nobody, and goes with it. */
import { AT, CLONE, MS, O } from '../../../syscalls/abi/constants.js';
import { scratch } from '../../../syscalls/arena.js';
import { close, openat } from '../../../syscalls/fs.js';
import { syscall } from '../../../syscalls/libc.js';

/**
 * Calls `work` in a private copy of this thread's mount namespace. Only for threads with an fs_struct of their own
 * (thread.ts). Descriptors opened before lead to the mounts of the old namespace still.
 */
export function inMountNamespaceAside<T>(work: () => T): T {
  const home = openat(AT.AT_FDCWD, '/proc/thread-self/ns/mnt', O.O_RDONLY);
  const root = openat(AT.AT_FDCWD, '/', O.O_PATH | O.O_DIRECTORY);
  const directory = openat(AT.AT_FDCWD, '.', O.O_PATH | O.O_DIRECTORY);
  try {
    syscall('unshare', CLONE.CLONE_NEWNS);
    try {
      // Where systemd made every mount shared, one made here would appear on the host.
      syscall('mount', 0, scratch().cstring('/'), 0, MS.MS_REC | MS.MS_PRIVATE, 0);
      return work();
    } finally {
      syscall('setns', home, CLONE.CLONE_NEWNS);
      // setns(2) leaves a thread at the root of the namespace: not where it was, if that was in a chroot.
      syscall('fchdir', root);
      syscall('chroot', scratch().cstring('.'));
      syscall('fchdir', directory);
    }
  } finally {
    for (const fd of [home, root, directory]) close(fd);
  }
}
