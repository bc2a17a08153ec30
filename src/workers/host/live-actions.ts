/** Executors of changes in a running container's mount namespace. */
import type { LiveAction } from '../../plan/actions/live.js';
import { ERRNO } from '../../spec/errno.js';
import { CaissonError } from '../../spec/errors.js';
import {
  AT,
  flagsOf,
  MOUNT_ATTR,
  MOVE_MOUNT_F_EMPTY_PATH,
  MOVE_MOUNT_T_EMPTY_PATH,
  O,
  OPEN_TREE,
  S_IFDIR,
  S_IFREG,
  UMOUNT,
} from '../../syscalls/abi/constants.js';
import { PSEUDO } from '../../syscalls/abi/launch.js';
import type { Arena } from '../../syscalls/arena.js';
import { fileType, openat } from '../../syscalls/fs.js';
import type { Entry } from '../../syscalls/launcher/program.js';
import { NR, SyscallError } from '../../syscalls/libc.js';
import { setAttributes } from '../../syscalls/mount.js';
import { sendSignal } from '../../syscalls/process.js';
import { holdUndumpable, releaseDumpable } from '../dumpable.js';
import { openInside, openStrictly, runInside } from './errand-inside.js';
import type { Executors } from './executors.js';
import { replaceDatagram } from './live-datagram.js';
import { replaceDead } from './live-revive.js';

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

const JUMP_ERRNO = 1;

/** Attaches `mount` at `target`, making what is missing: directories, and at the end an empty file for a file. */
function attachAt(pidfd: number, mount: number, { target, owner }: Extract<LiveAction, { op: 'live.mount' }>): void {
  const isDirectory = fileType(mount) === S_IFDIR;
  const parts = partsOf(target);
  // A change of the file-system uid in the child, which shares our memory, makes us non-dumpable, too.
  if (owner !== 0) holdUndumpable();
  try {
    runInside({ pidfd, used: [mount], what: target }, (arena, entries) => {
      const empty = arena.cstring('');
      for (const [index, part] of parts.entries()) {
        const last = index === parts.length - 1;
        const file = last && !isDirectory;
        const name = arena.cstring(part);
        // On an id-mapped mount nobody but the container's own ids can make any.
        const become = [
          { nr: NR.setfsgid, args: [owner] },
          { nr: NR.setfsuid, args: [owner] },
        ];
        const make = file
          ? { nr: NR.mknodat, args: [AT.AT_FDCWD, name, S_IFREG | 0o644, 0] }
          : { nr: NR.mkdirat, args: [AT.AT_FDCWD, name, 0o755] };
        const back = [
          { nr: NR.setfsuid, args: [0] },
          { nr: NR.setfsgid, args: [0] },
        ];
        const making = owner === 0 ? [make] : [...become, make, ...back];
        const begin = entries.length;
        const use = begin + 2 + making.length + 1;
        const open = (): Entry => ({
          ...openStrictly(arena, part, file ? 0 : O.O_DIRECTORY),
          dest: { entry: use, argument: last ? 2 : 0 },
        });
        entries.push(
          { ...open(), tolerated: { errnos: [ERRNO.ENOENT], next: begin + 2 } },
          { nr: PSEUDO.immediate, args: [-JUMP_ERRNO], tolerated: { errnos: [JUMP_ERRNO], next: use } },
          ...making,
          open(),
          last
            ? { nr: NR.move_mount, args: [mount, empty, 0, empty, MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH] }
            : { nr: NR.fchdir, args: [0] },
        );
      }
    });
  } catch (error) {
    refuse(target, error);
  } finally {
    if (owner !== 0) releaseDumpable();
  }
}

/** Goes to the directory of `target`; what is in it is named from there. Returns that name. */
function enterParent(arena: Arena, entries: Entry[], target: string): string {
  const parts = partsOf(target);
  const name = parts.pop() ?? '.';
  entries.push(
    {
      ...openStrictly(arena, parts.join('/') || '.', O.O_DIRECTORY),
      dest: { entry: entries.length + 1, argument: 0 },
    },
    { nr: NR.fchdir, args: [0] },
  );
  return name;
}

function detachEntry(arena: Arena, name: string): Entry {
  return { nr: NR.umount2, args: [arena.cstring(name), UMOUNT.MNT_DETACH | UMOUNT.UMOUNT_NOFOLLOW] };
}

function detach(pidfd: number, target: string): void {
  try {
    runInside({ pidfd, used: [], what: target }, (arena, entries) => {
      const name = enterParent(arena, entries, target);
      entries.push(detachEntry(arena, name));
    });
  } catch (error) {
    if (error instanceof SyscallError && error.errno === 'EINVAL') {
      throw new CaissonError('MOUNT_TARGET_REFUSED', `nothing is mounted on ${target}`, {
        field: 'target',
        cause: error,
      });
    }
    refuse(target, error);
  }
}

/** Puts `mount`, if there is one, in the place of what is mounted on `target`, a directory. */
function replaceMount(pidfd: number, target: string, mount: number | null): void {
  try {
    runInside({ pidfd, used: mount === null ? [] : [mount], what: target }, (arena, entries) => {
      const name = enterParent(arena, entries, target);
      entries.push(openStrictly(arena, name, O.O_DIRECTORY), {
        ...detachEntry(arena, name),
        tolerated: { errnos: [ERRNO.EINVAL], next: entries.length + 2 },
      });
      if (mount === null) return;
      const empty = arena.cstring('');
      entries.push(
        { ...openStrictly(arena, name, O.O_DIRECTORY), dest: { entry: entries.length + 1, argument: 2 } },
        { nr: NR.move_mount, args: [mount, empty, 0, empty, MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH] },
      );
    });
  } catch (error) {
    refuse(target, error);
  }
}

function openSource(path: string): number {
  return openInside({ pidfd: null, used: [], what: path }, (arena, entries, opened) => {
    const flags = OPEN_TREE.OPEN_TREE_CLONE | OPEN_TREE.OPEN_TREE_CLOEXEC;
    entries.push({ nr: NR.open_tree, args: [AT.AT_FDCWD, arena.cstring(path), flags], dest: opened });
  });
}

export const LIVE_ACTIONS: Executors<LiveAction> = {
  'live.source': (action, context) => context.set(action.save, openSource(action.path)),
  'mount.attributes': (action, context) =>
    setAttributes(context.get(action.mount), flagsOf(MOUNT_ATTR, action.attributes)),
  'userns.of': (action, context) => {
    const fd = openat(AT.AT_FDCWD, `/proc/${context.get(action.pid)}/ns/user`, O.O_RDONLY);
    context.set(action.save, fd);
    // Still there: so the number was its own when the file was opened.
    if (!sendSignal(context.get(action.pidfd), 0)) throw new SyscallError('pidfd_send_signal', 3, 'PID 1 has ended');
  },
  'live.mount': (action, context) => attachAt(context.get(action.pidfd), context.get(action.mount), action),
  'live.replace': (action, context) =>
    replaceMount(context.get(action.pidfd), action.target, action.mount === null ? null : context.get(action.mount)),
  'live.datagram': (action, context) => context.set(action.save, replaceDatagram(context.get(action.pidfd), action)),
  'live.umount': (action, context) => detach(context.get(action.pidfd), action.target),
  'live.revive': (action, context) => replaceDead(action, context),
};
