/** The supervisor's one mount on the host: shared, so that what is mounted below it reaches the containers. */
import { AT, MS, O, UMOUNT } from '../../syscalls/abi/constants.js';
import { close, isEmptyDirectory, isMountRoot, openat } from '../../syscalls/fs.js';
import { SyscallError } from '../../syscalls/libc.js';
import { mount, umount } from '../../syscalls/mount.js';

function isMount(path: string): boolean {
  const fd = openat(AT.AT_FDCWD, path, O.O_PATH | O.O_DIRECTORY | O.O_NOFOLLOW);
  try {
    return isMountRoot(fd);
  } finally {
    close(fd);
  }
}

export function share(path: string): void {
  // An earlier supervisor of this directory may have left its own, with containers on it.
  if (!isMount(path)) mount(path, path, MS.MS_BIND);
  mount(null, path, MS.MS_SHARED);
}

export function unshare(path: string): void {
  if (!isMount(path)) return;
  const fd = openat(AT.AT_FDCWD, path, O.O_RDONLY | O.O_DIRECTORY | O.O_NOFOLLOW);
  try {
    if (!isEmptyDirectory(fd)) throw new SyscallError('umount2', 39, path);
  } finally {
    close(fd);
  }
  umount(path, UMOUNT.MNT_DETACH | UMOUNT.UMOUNT_NOFOLLOW);
}
