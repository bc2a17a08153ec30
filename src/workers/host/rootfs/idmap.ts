/** Showing the owners of a tree as the container's (NET-33). */

import type { ShiftTarget } from '../../../plan/actions/rootfs.js';
import { fileSystemOf } from '../../../syscalls/fs.js';
import { SyscallError } from '../../../syscalls/libc.js';
import { setIdmap } from '../../../syscalls/mount.js';
import { refuse } from './refuse.js';
import { belongs, isUnfinished, shiftTo } from './shift/shift.js';

/** File systems of images (linux/magic.h): one must be made anew, while a directory can be moved or chowned. */
const IMAGES: Readonly<Record<number, readonly [name: string, since: string]>> = {
  1936814952: ['squashfs', '6.2'],
  3774210530: ['erofs', '5.19'],
  61267: ['ext4', '5.12'],
};

/**
 * @param otherwise changes the owners for good where they cannot be mapped, or that has been begun or done before.
 * @throws CaissonError SHIFT_UNSUPPORTED where the file system cannot map owners, and nothing else may be done
 */
export function mapOwners(mount: number, userns: number, otherwise?: ShiftTarget): void {
  if (otherwise !== undefined && (belongs(mount, otherwise) || isUnfinished(mount, otherwise))) {
    shiftTo(mount, otherwise);
    return;
  }
  try {
    setIdmap(mount, userns);
  } catch (error) {
    if (!(error instanceof SyscallError && error.errno === 'EINVAL')) throw error;
    if (otherwise !== undefined) {
      shiftTo(mount, otherwise);
      return;
    }
    const [name, since] = IMAGES[fileSystemOf(mount)] ?? [];
    refuse(
      'SHIFT_UNSUPPORTED',
      `the file system of the rootfs${name === undefined ? '' : `, ${name},`} has no id-mapped mounts on this kernel`,
      name === undefined || since === '5.12'
        ? "put the rootfs on ext4, xfs, btrfs or tmpfs, or chown it to the container's id range"
        : `${name} has them since Linux ${since}: make an ext4 image here, or run the container privileged`,
    );
  }
}
