/**
 * What a child does in our place, in a container's mount namespace as a rule: on the way to any path there the payload may
 * serve files itself (FUSE), and never answer, and only a child can be given up. It stays in the host's pid namespace, so
 * nobody inside sees it.
 */
import { ERRNO } from '../../spec/errno.js';
import { CaissonError } from '../../spec/errors.js';
import { AT, CLONE, O, RESOLVE } from '../../syscalls/abi/constants.js';
import { PSEUDO } from '../../syscalls/abi/launch.js';
import type { Arena } from '../../syscalls/arena.js';
import { close } from '../../syscalls/fs.js';
import { type Findings, runErrandNow } from '../../syscalls/launcher/errand.js';
import type { Entry } from '../../syscalls/launcher/program.js';
import { NR, SyscallError } from '../../syscalls/libc.js';
import { descriptorAt, MSG_NOSIGNAL, receiveDescriptors, rightsMessage, socketpair } from '../../syscalls/socket.js';

const CLOSE_RANGE_UNSHARE = 2;
const LAST_FD = 0xffffffff;
const OPEN_HOW_SIZE = 24;

/** A symlink is the payload's, and leads where it likes (HST-35). */
const STRICT = RESOLVE.RESOLVE_IN_ROOT | RESOLVE.RESOLVE_NO_SYMLINKS;

/** How long a step may wait for a file server. */
const INSIDE_MS = 2000;

/** The last entry: the child ends. */
export const END: Entry = { nr: PSEUDO.immediate, args: [0] };

/** A descriptor table of its own with only `used` in it: what a child has that never ends, stays open. */
function keepOnly(used: readonly number[]): Entry[] {
  const kept = [...new Set(used)].sort((one, other) => one - other);
  const gaps = kept.flatMap((fd, index): Entry[] => {
    const from = (kept[index - 1] ?? -1) + 1;
    return from < fd ? [{ nr: NR.close_range, args: [from, fd - 1, 0] }] : [];
  });
  return [{ nr: NR.close_range, args: [(kept.at(-1) ?? -1) + 1, LAST_FD, CLOSE_RANGE_UNSHARE] }, ...gaps];
}

/** Enters the container, at its root, with no other descriptors than these. */
export function enterContainer(pidfd: number, used: readonly number[]): Entry[] {
  return [...keepOnly([pidfd, ...used]), { nr: NR.setns, args: [pidfd, CLONE.CLONE_NEWNS] }];
}

/** Opens `path`, which begins at the working directory, without following a symlink (O_PATH). */
export function openStrictly(arena: Arena, path: string, flags = 0): Entry {
  const how = arena.alloc(OPEN_HOW_SIZE);
  arena.setU64(how, O.O_PATH | O.O_CLOEXEC | flags);
  arena.setU64(how + 16, STRICT);
  return { nr: NR.openat2, args: [AT.AT_FDCWD, arena.cstring(path), how, OPEN_HOW_SIZE] };
}

export function late(what: string, timeoutMs: number): CaissonError {
  return new CaissonError('TIMEOUT', `${what} did not answer within ${timeoutMs} ms`, {
    hint: 'a file server on the way hangs: one of the host, or the payload, which may serve files itself by FUSE',
  });
}

export interface Errand {
  /** The container whose mount namespace it enters; null: it stays on the host. */
  readonly pidfd: number | null;
  /** Descriptors that its entries name. */
  readonly used: readonly number[];
  /** For messages. */
  readonly what: string;
}

/** Adds the child's entries. */
type Write = (arena: Arena, entries: Entry[]) => void;

/**
 * Has a child walk the entries that `write` adds to those of the entry, and waits.
 * @param read is called when it is through, for what it has stored in the arena.
 * @returns undefined, or which entry failed and how. @throws CaissonError TIMEOUT
 */
export function tryInside(
  { pidfd, used, what }: Errand,
  write: Write,
  read: (arena: Arena) => void = () => undefined,
): Findings['failure'] {
  const failed = runErrandNow<Findings['failure'] | null>(
    arena => {
      const entries = pidfd === null ? keepOnly(used) : enterContainer(pidfd, used);
      write(arena, entries);
      return [...entries, END];
    },
    INSIDE_MS,
    ({ arena, failure }) => {
      if (failure === undefined) read(arena);
      return failure ?? null;
    },
  );
  if (failed === undefined) throw late(what, INSIDE_MS);
  return failed ?? undefined;
}

/** The same. @throws SyscallError with the errno of the entry that failed, CaissonError TIMEOUT */
export function runInside(errand: Errand, write: Write, read?: (arena: Arena) => void): void {
  const failed = tryInside(errand, write, read);
  if (failed !== undefined) throw new SyscallError('errand', failed.errno, errand.what);
}

/**
 * A descriptor that the child opens, by an entry of `write` that stores it in `opened`; it is the caller's to close.
 * @throws as runInside
 */
export function openInside(
  errand: Errand,
  write: (arena: Arena, entries: Entry[], opened: { readonly address: number }) => void,
  read?: (arena: Arena) => void,
): number {
  const [ours, theirs] = socketpair();
  try {
    const writeAndSend: Write = (arena, entries) => {
      const message = rightsMessage(arena, [0]);
      write(arena, entries, { address: descriptorAt(arena, message) });
      entries.push({ nr: NR.sendmsg, args: [theirs, message, MSG_NOSIGNAL] });
    };
    runInside({ ...errand, used: [...errand.used, theirs] }, writeAndSend, read);
    const [fd] = receiveDescriptors(ours, 1);
    // EMFILE: the kernel leaves out what there is no number for.
    if (fd === undefined) throw new SyscallError('recvmsg', ERRNO.EMFILE, errand.what);
    return fd;
  } finally {
    close(ours);
    close(theirs);
  }
}
