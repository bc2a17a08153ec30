/** The program that is to become PID 1 (ENV-05, ENV-06): looked for inside the tree, as the kernel will at its exec. */
import { O, S_IFLNK, S_IFMT, S_IFREG } from '../../../syscalls/abi/constants.js';
import { modeInside } from './inside.js';
import { findObstacle, type Obstacle } from './program.js';
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

function refuseObstacle(obstacle: Obstacle, rootfs: string, init: string): never {
  const { kind, program } = obstacle;
  const what = program === init ? init : `${program}, which runs ${init},`;
  switch (kind) {
    case 'detour':
      return refuse(
        'ROOTFS_INIT_DANGLING',
        `${what} in rootfs ${rootfs} leads to ${obstacle.to}, which is not the image's own by the time it is executed`,
        'an init and its interpreters must be files of the image outside /dev, /proc and /sys',
      );
    case 'missing':
      return refuse(
        'ROOTFS_INIT_INTERPRETER',
        `${obstacle.by} in rootfs ${rootfs} is run by ${program}, which is not there`,
        'install in the image what its #! line names, or the loader and libraries it is linked to, or link it statically',
      );
    case 'foreign':
      return refuse(
        'ROOTFS_INIT_ARCH',
        `${what} in rootfs ${rootfs} is a program for ${obstacle.machine}, not for this machine`,
        'take an image for this machine, or register an emulator with binfmt_misc (Debian: qemu-user-binfmt)',
      );
  }
}

export function checkInit(dir: number, rootfs: string, init: string): void {
  const obstacle = findObstacle(dir, init);
  if (obstacle?.kind === 'detour') refuseObstacle(obstacle, rootfs, init);
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
  if (obstacle !== undefined) refuseObstacle(obstacle, rootfs, init);
}
