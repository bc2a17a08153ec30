/** Looking at what is in a tree that is not ours: links resolve inside it, and nothing is opened but by its path. */
import { O, RESOLVE } from '../../../syscalls/abi/constants.js';
import { close, isEmptyDirectory, openat2, statFd } from '../../../syscalls/fs.js';
import { SyscallError } from '../../../syscalls/libc.js';

const INSIDE = RESOLVE.RESOLVE_IN_ROOT | RESOLVE.RESOLVE_NO_MAGICLINKS;

function openInside(dir: number, path: string, flags: number): number | undefined {
  try {
    return openat2(dir, path, flags, INSIDE);
  } catch (error) {
    if (error instanceof SyscallError && ['ENOENT', 'ELOOP', 'ENOTDIR'].includes(error.errno)) return undefined;
    throw error;
  }
}

/** The type bits and mode of what is at `path`; undefined when there is nothing. */
export function modeInside(dir: number, path: string, flags: number): number | undefined {
  const fd = openInside(dir, path, O.O_PATH | flags);
  if (fd === undefined) return undefined;
  try {
    return statFd(fd).mode;
  } finally {
    close(fd);
  }
}

/** Whether the directory `name` of the tree is empty; undefined when there is none of that name. */
export function isEmptyInside(dir: number, name: string): boolean | undefined {
  const fd = openInside(dir, name, O.O_RDONLY | O.O_DIRECTORY | O.O_NOFOLLOW);
  if (fd === undefined) return undefined;
  try {
    return isEmptyDirectory(fd);
  } finally {
    close(fd);
  }
}
