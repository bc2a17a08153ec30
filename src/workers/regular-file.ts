/** Opening a file by a path that a user gave. */
import { AT, O, S_IFMT, S_IFREG } from '../syscalls/abi/constants.js';
import { close, openat, statFd } from '../syscalls/fs.js';
import { SyscallError } from '../syscalls/libc.js';

/** What there is instead of a regular file. */
export type NoFile = { readonly kind: 'missing'; readonly cause: SyscallError } | { readonly kind: 'other' };

/** By O_PATH first: opening a device or a FIFO may do something, or wait. */
export function openRegularFile(path: string, flags: number): number | NoFile {
  let found: number;
  try {
    found = openat(AT.AT_FDCWD, path, O.O_PATH);
  } catch (error) {
    if (error instanceof SyscallError && (error.errno === 'ENOENT' || error.errno === 'ENOTDIR'))
      return { kind: 'missing', cause: error };
    throw error;
  }
  try {
    if ((statFd(found).mode & S_IFMT) !== S_IFREG) return { kind: 'other' };
    return openat(AT.AT_FDCWD, `/proc/self/fd/${found}`, flags);
  } finally {
    close(found);
  }
}
