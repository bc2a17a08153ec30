/**
 * What a child does in a container's mount namespace. The payload may serve files itself (FUSE) on the way to any path
 * there, and never answer: only a child can be given up. It stays in the host's pid namespace, so nobody inside sees it.
 */
import { CaissonError } from '../../spec/errors.js';
import { AT, CLONE, O, RESOLVE } from '../../syscalls/abi/constants.js';
import { PSEUDO } from '../../syscalls/abi/launch.js';
import type { Arena } from '../../syscalls/arena.js';
import { type Findings, runErrandNow } from '../../syscalls/launcher/errand.js';
import type { Entry } from '../../syscalls/launcher/program.js';
import { NR, SyscallError } from '../../syscalls/libc.js';

const CLOSE_RANGE_UNSHARE = 2;
const OPEN_HOW_SIZE = 24;

/** A symlink is the payload's, and leads where it likes (HST-35). */
const STRICT = RESOLVE.RESOLVE_IN_ROOT | RESOLVE.RESOLVE_NO_SYMLINKS;

/** How long a step may wait for what a payload serves. */
export const INSIDE_MS = 2000;

/** The last entry: the child ends. */
export const END: Entry = { nr: PSEUDO.immediate, args: [0] };

/** Enters the container, at its root, with a copy of our descriptors up to `highest`. */
export function enterContainer(pidfd: number, highest: number): Entry[] {
  return [
    { nr: NR.close_range, args: [highest + 1, 0xffffffff, CLOSE_RANGE_UNSHARE] },
    { nr: NR.setns, args: [pidfd, CLONE.CLONE_NEWNS] },
  ];
}

/** Opens `path`, which begins at the working directory, without following a symlink (O_PATH). */
export function openStrictly(arena: Arena, path: string, flags = 0): Entry {
  const how = arena.alloc(OPEN_HOW_SIZE);
  arena.setU64(how, O.O_PATH | O.O_CLOEXEC | flags);
  arena.setU64(how + 16, STRICT);
  return { nr: NR.openat2, args: [AT.AT_FDCWD, arena.cstring(path), how, OPEN_HOW_SIZE] };
}

export function late(timeoutMs: number): CaissonError {
  return new CaissonError('TIMEOUT', `the container's paths did not answer within ${timeoutMs} ms`, {
    hint: 'the payload may serve files itself on the way, by FUSE, or LXCFS hangs',
  });
}

/**
 * Has a child walk the entries that `write` adds to those of the entry, and waits.
 * @throws SyscallError with the errno of the one that failed, CaissonError TIMEOUT
 */
export function runInside(
  { pidfd, used, what }: { readonly pidfd: number; readonly used: readonly number[]; readonly what: string },
  write: (arena: Arena, entries: Entry[]) => void,
): void {
  const failed = runErrandNow<Findings['failure'] | null>(
    arena => {
      const entries = enterContainer(pidfd, Math.max(pidfd, ...used));
      write(arena, entries);
      return [...entries, END];
    },
    INSIDE_MS,
    ({ failure }) => failure ?? null,
  );
  if (failed === undefined) throw late(INSIDE_MS);
  if (failed !== null) throw new SyscallError('errand', failed.errno, what);
}
