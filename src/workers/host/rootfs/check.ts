/** What a container needs of its root file system before it can be started (ENV-02 to ENV-06). */
import type { RootfsAction } from '../../../plan/actions/rootfs.js';
import type { PlanNotice } from '../../../plan/step.js';
import { O, S_IFLNK, S_IFMT } from '../../../syscalls/abi/constants.js';
import { chownat, mkdirat, statFd } from '../../../syscalls/fs.js';
import { chosenInit } from './find-init.js';
import { checkInit } from './init.js';
import { isEmptyInside, modeInside } from './inside.js';
import { refuse } from './refuse.js';

type MountPoint = 'dev' | 'proc' | 'sys';
type CheckOptions = Extract<RootfsAction, { op: 'rootfs.check' }>;

function makeMountPoint(dir: number, name: MountPoint, giveTo: number | null): void {
  mkdirat(dir, name, 0o755);
  if (giveTo !== null) chownat(dir, name, giveTo, giveTo);
}

function checkMountPoint(dir: number, name: MountPoint, options: CheckOptions): PlanNotice[] {
  const { path: rootfs, createMissing, giveTo } = options;
  const empty = isEmptyInside(dir, name);
  if (empty === true) return [];
  if (empty === false) {
    return [
      {
        code: 'rootfs-not-empty',
        message: `/${name} in rootfs ${rootfs} is not empty: the mount on it hides what is there`,
      },
    ];
  }
  const upper = name.toUpperCase() as 'DEV' | 'PROC' | 'SYS';
  const mode = modeInside(dir, name, O.O_NOFOLLOW);
  if (mode === undefined) {
    if (createMissing) {
      makeMountPoint(dir, name, giveTo);
      return [];
    }
    refuse(
      `ROOTFS_${upper}_MISSING`,
      `rootfs ${rootfs} has no /${name}`,
      `make the directory, or set rootfs.createMissing`,
    );
  }
  // A symlink would be followed by the mount, to wherever the image's author wants.
  refuse(
    `ROOTFS_${upper}_NOT_DIR`,
    `/${name} in rootfs ${rootfs} is a ${(mode & S_IFMT) === S_IFLNK ? 'symlink' : 'file'}, not a directory`,
    'replace it by an empty directory',
  );
}

export function checkRootfs(dir: number, options: CheckOptions): PlanNotice[] {
  const { path, init, owner } = options;
  const notices = (['dev', 'proc', 'sys'] as const).flatMap(name => checkMountPoint(dir, name, options));
  checkInit(dir, path, chosenInit(dir, init));
  if (owner !== null && statFd(dir).uid !== owner) {
    refuse(
      'SHIFT_UNSUPPORTED',
      `this kernel has no idmapped mounts, and rootfs ${path} does not belong to the container's root (host id ${owner})`,
      `chown the tree to the container's id range, or run it privileged`,
    );
  }
  return notices;
}
