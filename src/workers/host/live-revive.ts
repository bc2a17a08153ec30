/**
 * Mounts of a file server in a running container, when that server has died or a new one has come (ENV-49). All of it is
 * done by a child in the container's mount namespace (errand-inside.ts).
 */
import type { LiveAction } from '../../plan/actions/live.js';
import { AT, MOVE_MOUNT_F_EMPTY_PATH, O, UMOUNT } from '../../syscalls/abi/constants.js';
import type { Arena } from '../../syscalls/arena.js';
import { runErrandNow } from '../../syscalls/launcher/errand.js';
import type { Entry } from '../../syscalls/launcher/program.js';
import { NR, SyscallError } from '../../syscalls/libc.js';
import type { StepContext } from '../context.js';
import { END, enterContainer, late, openStrictly } from './errand-inside.js';

type Replace = Extract<LiveAction, { op: 'live.revive' }>;

const ANY_ERRNO = Array.from({ length: 127 }, (_, index) => index + 1);
const STATX_SIZE = 256;
/** Without a wish for any of it the server is not asked. */
const STATX_BASIC_STATS = 0x7ff;
const STATX_ATTR_MOUNT_ROOT = 0x2000;
const ENOTCONN = 107;
const ECONNABORTED = 103;

/** What is on a target: a mount whose server has died, nothing but what the kernel shows there, or something else. */
type Found = 'dead' | 'bare' | 'other';

function look(pidfd: number, targets: readonly string[], timeoutMs: number): Found[] | undefined {
  let entered = 0;
  let buffers: number[] = [];
  const write = (arena: Arena): Entry[] => {
    const flags = AT.AT_SYMLINK_NOFOLLOW | AT.AT_STATX_FORCE_SYNC;
    buffers = targets.map(() => arena.alloc(STATX_SIZE));
    const enter = enterContainer(pidfd, []);
    entered = enter.length;
    return [
      ...enter,
      ...targets.map((target, index) => ({
        nr: NR.statx,
        args: [AT.AT_FDCWD, arena.cstring(target), flags, STATX_BASIC_STATS, buffers[index] ?? 0],
        tolerated: { errnos: ANY_ERRNO, next: entered + index + 1 },
      })),
      END,
    ];
  };
  return runErrandNow(write, timeoutMs, ({ arena, result }) => {
    const refused = result(entered - 1) ?? 0;
    if (refused < 0) throw new SyscallError('setns', -refused, 'mount namespace of the container');
    return targets.map((_, index) => {
      const value = result(entered + index) ?? -1;
      if (value === -ENOTCONN || value === -ECONNABORTED) return 'dead';
      if (value < 0) return 'other';
      return (arena.getI64((buffers[index] ?? 0) + 8) & STATX_ATTR_MOUNT_ROOT) === 0 ? 'bare' : 'other';
    });
  });
}

interface Change {
  readonly target: string;
  readonly detach: boolean;
  readonly mount: number | undefined;
}

/** One directory after the other: what is in it is named from there, so that no symlink leads elsewhere. */
function change(pidfd: number, changes: readonly Change[], timeoutMs: number): number | undefined {
  const directoryOf = ({ target }: Change): string => target.slice(0, target.lastIndexOf('/'));
  const directories = [...new Set(changes.map(directoryOf))];
  const attached: number[] = [];
  const write = (arena: Arena): Entry[] => {
    const mounts = changes.flatMap(({ mount }) => (mount === undefined ? [] : [mount]));
    const entries = enterContainer(pidfd, mounts);
    for (const directory of directories) {
      const here = changes.filter(one => directoryOf(one) === directory);
      const past =
        entries.length + 3 + here.reduce((sum, { detach, mount }) => sum + +detach + +(mount !== undefined), 0);
      const elsewhere = { errnos: ANY_ERRNO, next: past };
      const opened = { entry: entries.length + 2, argument: 0 };
      entries.push(
        // What is resolved in a root begins at the working directory, also with a slash in front.
        { nr: NR.chdir, args: [arena.cstring('/')] },
        {
          ...openStrictly(arena, directory === '' ? '/' : directory, O.O_DIRECTORY),
          dest: opened,
          tolerated: elsewhere,
        },
        { nr: NR.fchdir, args: [0], tolerated: elsewhere },
      );
      for (const { target, detach, mount } of here) {
        const name = arena.cstring(target.slice(directory.length + 1));
        const goOn = () => ({ errnos: ANY_ERRNO, next: entries.length + 1 });
        if (detach) {
          entries.push({
            nr: NR.umount2,
            args: [name, UMOUNT.MNT_DETACH | UMOUNT.UMOUNT_NOFOLLOW],
            tolerated: goOn(),
          });
        }
        if (mount === undefined) continue;
        attached.push(entries.length);
        entries.push({
          nr: NR.move_mount,
          args: [mount, arena.cstring(''), AT.AT_FDCWD, name, MOVE_MOUNT_F_EMPTY_PATH],
          tolerated: goOn(),
        });
      }
    }
    return [...entries, END];
  };
  return runErrandNow(write, timeoutMs, ({ result }) => attached.filter(entry => result(entry) === 0).length);
}

export function replaceDead(action: Replace, context: StepContext): void {
  const pidfd = context.get(action.pidfd);
  const targets = action.mounts.map(({ target }) => target);
  const found = look(pidfd, targets, action.timeoutMs);
  if (found === undefined) throw late('what LXCFS shows inside', action.timeoutMs);
  const changes = action.mounts.flatMap(({ mount, target }, index): Change[] => {
    const state = found[index];
    const made = context.has(mount) ? context.get(mount) : undefined;
    if (state === 'dead') return [{ target, detach: true, mount: made }];
    return state === 'bare' && made !== undefined ? [{ target, detach: false, mount: made }] : [];
  });
  if (changes.length === 0) return;
  const attached = change(pidfd, changes, action.timeoutMs);
  if (attached === undefined) throw late('what LXCFS shows inside', action.timeoutMs);
  if (attached > 0) {
    const message = `LXCFS answers: ${attached} of its files and directories are mounted in the running container`;
    context.notices.push({ code: 'lxcfs-bound', outcome: 'done', message });
  } else if (changes.some(({ detach }) => detach)) {
    const message = 'LXCFS has ended: files as /proc/meminfo tell of the host until it runs again';
    context.notices.push({ code: 'lxcfs-lost', message });
  }
}
