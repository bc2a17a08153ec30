/** Mounting the device of an image. */
import type { ImageAction } from '../../../plan/actions/image.js';
import { flagsOf, MOUNT_ATTR } from '../../../syscalls/abi/constants.js';
import { SyscallError } from '../../../syscalls/libc.js';
import { newMount } from '../../../syscalls/mount.js';
import { refuseImage } from './refuse.js';

type Mount = Extract<ImageAction, { op: 'image.mount' }>;

/** What an ext4 superblock may say instead is to crash the host at the first error in the image (ext4(5), errors=). */
const OPTIONS: Readonly<Record<string, Readonly<Record<string, string>>>> = { ext4: { errors: 'remount-ro' } };

/** A detached mount. @throws CaissonError ROOTFS_IMAGE_UNSUPPORTED, ROOTFS_IMAGE_REFUSED */
export function mountImage(device: string, type: string, action: Mount): number {
  const { path, writable, attributes } = action;
  const options = { source: device, ...(writable ? {} : { ro: '' }), ...OPTIONS[type] };
  try {
    return newMount(type, options, flagsOf(MOUNT_ATTR, attributes));
  } catch (error) {
    if (!(error instanceof SyscallError)) throw error;
    if (error.call === 'fsopen' && error.errno === 'ENODEV') {
      refuseImage(
        'ROOTFS_IMAGE_UNSUPPORTED',
        `image ${path} holds ${type}, which this kernel cannot read`,
        `load its module (modprobe ${type}), or make the image with another file system`,
        error,
      );
    }
    if (error.call === 'fsconfig') {
      refuseImage(
        'ROOTFS_IMAGE_REFUSED',
        `the kernel refuses to mount image ${path} as ${type}: ${error.message}`,
        type === 'ext4'
          ? 'e2fsck repairs it; after a crash of the host that, or one start that may write it, replays its journal'
          : 'it is damaged, cut short, or uses what this kernel was built without: make it anew',
        error,
      );
    }
    throw error;
  }
}
