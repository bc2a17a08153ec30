/** Opening the directory of a root file system (ENV-01). */
import { AT, O } from '../../../syscalls/abi/constants.js';
import { close, isNoexec, openat } from '../../../syscalls/fs.js';
import { SyscallError } from '../../../syscalls/libc.js';
import { refuse } from './refuse.js';

const HINT = 'give the path of a directory with a root file system';

function openDirectory(path: string): number {
  try {
    return openat(AT.AT_FDCWD, path, O.O_PATH | O.O_DIRECTORY);
  } catch (error) {
    if (!(error instanceof SyscallError)) throw error;
    if (error.errno === 'ENOENT') refuse('ROOTFS_MISSING', `rootfs ${path} does not exist`, HINT, error);
    if (error.errno === 'ENOTDIR') refuse('ROOTFS_NOT_DIR', `rootfs ${path} is not a directory`, HINT, error);
    throw error;
  }
}

export function openRootfs(path: string): number {
  const fd = openDirectory(path);
  // Also where an overlay, a mount of its own, would allow what its lower layer does not.
  if (!isNoexec(fd)) return fd;
  close(fd);
  refuse('ROOTFS_NOEXEC', `rootfs ${path} is on a file system mounted noexec`, 'move it to one that allows execution');
}
