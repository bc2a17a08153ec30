/** Showing the owners of a tree as the container's (NET-33). */
import { SyscallError } from '../../../syscalls/libc.js';
import { setIdmap } from '../../../syscalls/mount.js';
import { refuse } from './refuse.js';

/** @throws CaissonError SHIFT_UNSUPPORTED where the file system cannot map owners. */
export function mapOwners(mount: number, userns: number): void {
  try {
    setIdmap(mount, userns);
  } catch (error) {
    if (!(error instanceof SyscallError && error.errno === 'EINVAL')) throw error;
    refuse(
      'SHIFT_UNSUPPORTED',
      'the file system of the rootfs has no id-mapped mounts',
      "put the rootfs on ext4, xfs, btrfs or tmpfs, or chown it to the container's id range",
    );
  }
}
