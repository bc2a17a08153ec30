/** Root file system actions (ENV-01 to ENV-06): everything by descriptor, nothing resolved outside the tree. */
import type { PlanNotice } from '../../plan/step.js';
import { CaissonError, type ErrorCode } from '../../spec/errors.js';
import { AT, O, RESOLVE, S_IFLNK, S_IFMT, S_IFREG } from '../../syscalls/abi/constants.js';
import {
  chmodat,
  chownat,
  close,
  isEmptyDirectory,
  isNoexec,
  mkdirat,
  openat,
  openat2,
  statFd,
} from '../../syscalls/fs.js';
import { SyscallError } from '../../syscalls/libc.js';
import { setIdmap } from '../../syscalls/mount.js';
import { findDetour } from './program.js';

const INSIDE = RESOLVE.RESOLVE_IN_ROOT | RESOLVE.RESOLVE_NO_MAGICLINKS;

function refuse(code: ErrorCode, message: string, hint: string, cause?: unknown): never {
  throw new CaissonError(code, message, { field: 'rootfs', hint, cause });
}

export function openRootfs(path: string): number {
  try {
    return openat(AT.AT_FDCWD, path, O.O_PATH | O.O_DIRECTORY);
  } catch (error) {
    if (error instanceof SyscallError) {
      if (error.errno === 'ENOENT')
        refuse(
          'ROOTFS_MISSING',
          `rootfs ${path} does not exist`,
          'give the path of a directory with a root file system',
          error,
        );
      if (error.errno === 'ENOTDIR')
        refuse(
          'ROOTFS_NOT_DIR',
          `rootfs ${path} is not a directory`,
          'give the path of a directory with a root file system',
          error,
        );
    }
    throw error;
  }
}

/** Opens `path` inside the tree and returns its type bits and mode; undefined when it does not exist. */
function modeInside(dir: number, path: string, flags: number): number | undefined {
  let fd: number;
  try {
    fd = openat2(dir, path, O.O_PATH | flags, INSIDE);
  } catch (error) {
    if (error instanceof SyscallError && ['ENOENT', 'ELOOP', 'ENOTDIR'].includes(error.errno)) return undefined;
    throw error;
  }
  try {
    return statFd(fd).mode;
  } finally {
    close(fd);
  }
}

/** Whether the directory `name` of the tree is empty; undefined when there is none of that name. */
function isEmptyInside(dir: number, name: string): boolean | undefined {
  let fd: number;
  try {
    fd = openat2(dir, name, O.O_RDONLY | O.O_DIRECTORY | O.O_NOFOLLOW, INSIDE);
  } catch (error) {
    if (error instanceof SyscallError && ['ENOENT', 'ELOOP', 'ENOTDIR'].includes(error.errno)) return undefined;
    throw error;
  }
  try {
    return isEmptyDirectory(fd);
  } finally {
    close(fd);
  }
}

type MountPoint = 'dev' | 'proc' | 'sys';
interface CheckOptions {
  readonly path: string;
  readonly init: string;
  readonly createMissing: boolean;
  /** Host id that the tree must belong to, where owners cannot be mapped. */
  readonly owner: number | null;
}

function makeMountPoint(dir: number, name: MountPoint, owner: number | null): void {
  mkdirat(dir, name, 0o755);
  // The umask bends what mkdir is told.
  chmodat(dir, name, 0o755);
  if (owner !== null) chownat(dir, name, owner, owner);
}

function checkMountPoint(dir: number, name: MountPoint, options: CheckOptions): PlanNotice[] {
  const { path: rootfs, createMissing, owner } = options;
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
      makeMountPoint(dir, name, owner);
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

function checkInit(dir: number, rootfs: string, init: string): void {
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

export function checkRootfs(dir: number, options: CheckOptions): PlanNotice[] {
  const { path, init, owner } = options;
  if (isNoexec(dir))
    refuse(
      'ROOTFS_NOEXEC',
      `rootfs ${path} is on a file system mounted noexec`,
      'move it to one that allows execution',
    );
  const notices = (['dev', 'proc', 'sys'] as const).flatMap(name => checkMountPoint(dir, name, options));
  checkInit(dir, path, init);
  if (owner !== null && statFd(dir).uid !== owner) {
    refuse(
      'SHIFT_UNSUPPORTED',
      `this kernel has no idmapped mounts, and rootfs ${path} does not belong to the container's root (host id ${owner})`,
      `chown the tree to the container's id range, or run it privileged`,
    );
  }
  return notices;
}

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
