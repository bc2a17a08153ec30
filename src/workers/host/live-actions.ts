/** Executors of changes in a running container's mount namespace. */
import type { LiveAction } from '../../plan/actions/live.js';
import { CaissonError } from '../../spec/errors.js';
import { AT, flagsOf, MOUNT_ATTR, O, RESOLVE, S_IFDIR, S_IFMT, S_IFREG, UMOUNT } from '../../syscalls/abi/constants.js';
import { close, isMountRoot, mkdirat, mknodat, openat, openat2, statFd } from '../../syscalls/fs.js';
import { SyscallError, syscall } from '../../syscalls/libc.js';
import { moveMount, setAttributes, umount } from '../../syscalls/mount.js';
import { sendSignal } from '../../syscalls/process.js';
import type { Executors } from './executors.js';
import { replaceDatagram } from './live-datagram.js';
import { replaceDead } from './live-revive.js';
import { asOwner, inMountNamespace } from './mount-namespace.js';

/** A symlink at the target is the payload's: it could lead to /run/host, or over a mask (HST-35). */
const STRICT = RESOLVE.RESOLVE_IN_ROOT | RESOLVE.RESOLVE_NO_SYMLINKS;

function refuse(target: string, error: unknown): never {
  if (error instanceof SyscallError && error.errno === 'ELOOP') {
    throw new CaissonError('MOUNT_TARGET_REFUSED', `part of ${target} is a symlink inside the container`, {
      field: 'target',
      hint: 'name the directory that the link leads to',
      cause: error,
    });
  }
  if (error instanceof SyscallError && ['ENOENT', 'ENOTDIR'].includes(error.errno)) {
    throw new CaissonError('MOUNT_TARGET_REFUSED', `${target} is not there, or not of the kind of what is mounted`, {
      field: 'target',
      cause: error,
    });
  }
  throw error;
}

function partsOf(target: string): string[] {
  return target.split('/').filter(part => part !== '' && part !== '.');
}

/** Opens `target`, making what is missing: directories, and at the end an empty file for a file. */
function openTarget(root: number, target: string, isDirectory: boolean, owner: number): number {
  const parts = partsOf(target);
  let current = openat2(root, '.', O.O_PATH | O.O_DIRECTORY, STRICT);
  for (const [index, part] of parts.entries()) {
    const last = index === parts.length - 1;
    const flags = O.O_PATH | (last && !isDirectory ? 0 : O.O_DIRECTORY);
    try {
      const make = (): void =>
        last && !isDirectory ? mknodat(current, part, S_IFREG | 0o644, 0) : mkdirat(current, part, 0o755);
      let next: number;
      try {
        next = openat2(current, part, flags, STRICT);
      } catch (error) {
        if (!(error instanceof SyscallError && error.errno === 'ENOENT')) throw error;
        asOwner(owner, make);
        next = openat2(current, part, flags, STRICT);
      }
      close(current);
      current = next;
    } catch (error) {
      close(current);
      refuse(target, error);
    }
  }
  return current;
}

function detach(root: number, target: string): void {
  const parts = partsOf(target);
  const name = parts.pop() ?? '.';
  let parent: number;
  try {
    parent = openat2(root, parts.join('/') || '.', O.O_PATH | O.O_DIRECTORY, STRICT);
  } catch (error) {
    refuse(target, error);
  }
  try {
    const mounted = openat2(
      parent,
      name,
      O.O_PATH | O.O_NOFOLLOW,
      RESOLVE.RESOLVE_IN_ROOT | RESOLVE.RESOLVE_NO_MAGICLINKS,
    );
    const isMount = isMountRoot(mounted);
    close(mounted);
    if (!isMount) {
      throw new CaissonError('MOUNT_TARGET_REFUSED', `nothing is mounted on ${target}`, { field: 'target' });
    }
    // By name in a directory that is held: umount2(2) knows no descriptors, and the container's /proc not this thread.
    syscall('fchdir', parent);
    umount(name, UMOUNT.MNT_DETACH | UMOUNT.UMOUNT_NOFOLLOW);
  } catch (error) {
    refuse(target, error);
  } finally {
    close(parent);
  }
}

/** Puts `mount`, if there is one, in the place of what is mounted on `target`. */
function replaceMount(root: number, target: string, mount: number | null): void {
  const parts = partsOf(target);
  const name = parts.pop() ?? '.';
  const opened: number[] = [];
  const open = (dir: number, path: string): number => {
    const fd = openat2(dir, path, O.O_PATH | O.O_DIRECTORY, STRICT);
    opened.push(fd);
    return fd;
  };
  try {
    const parent = open(root, parts.join('/') || '.');
    const place = open(parent, name);
    if (!isMountRoot(place)) {
      if (mount !== null) moveMount(mount, place);
      return;
    }
    syscall('fchdir', parent);
    umount(name, UMOUNT.MNT_DETACH | UMOUNT.UMOUNT_NOFOLLOW);
    if (mount !== null) moveMount(mount, open(parent, name));
  } catch (error) {
    refuse(target, error);
  } finally {
    for (const fd of opened) close(fd);
  }
}

export const LIVE_ACTIONS: Executors<LiveAction> = {
  'mount.attributes': (action, context) =>
    setAttributes(context.get(action.mount), flagsOf(MOUNT_ATTR, action.attributes)),
  'userns.of': (action, context) => {
    const fd = openat(AT.AT_FDCWD, `/proc/${context.get(action.pid)}/ns/user`, O.O_RDONLY);
    context.set(action.save, fd);
    // Still there: so the number was its own when the file was opened.
    if (!sendSignal(context.get(action.pidfd), 0)) throw new SyscallError('pidfd_send_signal', 3, 'PID 1 has ended');
  },
  'live.mount': (action, context) => {
    const mount = context.get(action.mount);
    const isDirectory = (statFd(mount).mode & S_IFMT) === S_IFDIR;
    inMountNamespace(context.get(action.pidfd), root => {
      const target = openTarget(root, action.target, isDirectory, action.owner);
      try {
        moveMount(mount, target);
      } finally {
        close(target);
      }
    });
  },
  'live.replace': (action, context) => {
    const mount = action.mount === null ? null : context.get(action.mount);
    inMountNamespace(context.get(action.pidfd), root => replaceMount(root, action.target, mount));
  },
  'live.datagram': (action, context) =>
    context.set(
      action.save,
      inMountNamespace(context.get(action.pidfd), root => replaceDatagram(root, action)),
    ),
  'live.umount': (action, context) => inMountNamespace(context.get(action.pidfd), root => detach(root, action.target)),
  'live.revive': (action, context) => replaceDead(action, context),
};
