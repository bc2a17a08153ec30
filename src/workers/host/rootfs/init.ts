/** The program that is to become PID 1 (ENV-05, ENV-06): looked for inside the tree, as the kernel will at its exec. */
import { O, S_IFLNK, S_IFMT, S_IFREG } from '../../../syscalls/abi/constants.js';
import { modeInside } from './inside.js';
import { findDetour } from './program.js';
import { refuse } from './refuse.js';

/** True when some part of `path` is a symlink that leads nowhere inside the tree. */
function hasDanglingLink(dir: number, path: string): boolean {
  const parts = path.split('/').filter(part => part !== '');
  for (let length = 1; length <= parts.length; length++) {
    const prefix = parts.slice(0, length).join('/');
    if (modeInside(dir, prefix, 0) !== undefined) continue;
    const unfollowed = modeInside(dir, prefix, O.O_NOFOLLOW);
    return unfollowed !== undefined && (unfollowed & S_IFMT) === S_IFLNK;
  }
  return false;
}

export function checkInit(dir: number, rootfs: string, init: string): void {
  const detour = findDetour(dir, init);
  if (detour !== undefined) {
    const { program, to } = detour;
    const what = program === init ? init : `${program}, which runs ${init},`;
    refuse(
      'ROOTFS_INIT_DANGLING',
      `${what} in rootfs ${rootfs} leads to ${to}, which is not the image's own by the time it is executed`,
      'an init and its interpreters must be files of the image outside /dev, /proc and /sys',
    );
  }
  const mode = modeInside(dir, init, 0);
  if (mode === undefined) {
    if (hasDanglingLink(dir, init)) {
      refuse(
        'ROOTFS_INIT_DANGLING',
        `${init} in rootfs ${rootfs} is a symlink that leads nowhere inside it`,
        'symlinks are resolved inside the rootfs: what they point to must be there',
      );
    }
    refuse(
      'ROOTFS_INIT_MISSING',
      `rootfs ${rootfs} has no ${init}`,
      'install an init system in the image, or set init to a program it has',
    );
  }
  if ((mode & S_IFMT) !== S_IFREG)
    refuse('ROOTFS_INIT_NOT_FILE', `${init} in rootfs ${rootfs} is not a regular file`, 'set init to a program');
  if ((mode & 0o111) === 0)
    refuse(
      'ROOTFS_INIT_NOT_EXECUTABLE',
      `${init} in rootfs ${rootfs} has no execute permission`,
      `chmod +x it in the image`,
    );
}
