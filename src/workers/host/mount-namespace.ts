/**
 * A worker thread in a container's mount namespace. It stays in the host's pid namespace, so nobody inside can see it
 * or its memory; but every path it resolves there is the payload's, so nothing may be loaded while it is inside: only
 * system calls by descriptor.
 */
import process from 'node:process';
import { AT, CLONE, O } from '../../syscalls/abi/constants.js';
import { scratch } from '../../syscalls/arena.js';
import { close, openat } from '../../syscalls/fs.js';
import { SyscallError, syscall, trySyscall } from '../../syscalls/libc.js';
import { holdUndumpable, releaseDumpable } from '../dumpable.js';

/** Calls `act` with a descriptor of the container's root directory. */
export function inMountNamespace<T>(pidfd: number, act: (root: number) => T): T {
  const opened: number[] = [];
  const keep = (path: string, flags: number): number => {
    const fd = openat(AT.AT_FDCWD, path, flags);
    opened.push(fd);
    return fd;
  };
  try {
    const own = keep('/proc/thread-self/ns/mnt', O.O_RDONLY);
    const root = keep('/', O.O_PATH | O.O_DIRECTORY);
    const cwd = keep('.', O.O_PATH | O.O_DIRECTORY);
    const entered = trySyscall('setns', pidfd, CLONE.CLONE_NEWNS);
    if (entered < 0) throw new SyscallError('setns', -entered, 'mount namespace of the container');
    try {
      return act(keep('/', O.O_PATH | O.O_DIRECTORY));
    } finally {
      goBack(own, root, cwd);
    }
  } finally {
    for (const fd of opened) close(fd);
  }
}

/** setns(2) also moves root and working directory, to the root of the namespace. */
function goBack(own: number, root: number, cwd: number): void {
  try {
    syscall('setns', own, CLONE.CLONE_NEWNS);
    syscall('fchdir', root);
    syscall('chroot', scratch().cstring('.'));
    syscall('fchdir', cwd);
  } catch {
    // A thread that resolves the payload's paths must not do another task.
    process.abort();
  }
}

/** Files made by `act` belong to host id `owner`: on an id-mapped mount nobody else can make any. */
export function asOwner<T>(owner: number, act: () => T): T {
  if (owner === 0) return act();
  // A change of the file-system uid makes the whole process non-dumpable, too.
  holdUndumpable();
  trySyscall('setfsgid', owner);
  trySyscall('setfsuid', owner);
  try {
    return act();
  } finally {
    trySyscall('setfsuid', 0);
    trySyscall('setfsgid', 0);
    releaseDumpable();
  }
}
