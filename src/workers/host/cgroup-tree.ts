/**
 * Going through a cgroup and what a payload has made below it. By descriptors: its paths may be longer than the kernel
 * takes, its names need not be UTF-8, and they may lie deeper than we can have descriptors open.
 */
import { AT, O } from '../../syscalls/abi/constants.js';
import { close, openat, readSmall } from '../../syscalls/fs.js';
import { SyscallError } from '../../syscalls/libc.js';
import { directoriesIn, openChild } from '../../syscalls/tree.js';

const DIRECTORY = O.O_RDONLY | O.O_DIRECTORY;

export interface GroupVisit {
  /** At a group, before those below it. */
  readonly enter?: (group: number) => void;
  /** At the parent of a group, after that and all below it; not called for the first one. */
  readonly leave?: (parent: number, name: Buffer) => void;
}

/** Undefined instead of what a group that goes meanwhile leads to. */
function unlessGone<T>(work: () => T): T | undefined {
  try {
    return work();
  } catch (error) {
    if (error instanceof SyscallError && ['ENOENT', 'ENODEV'].includes(error.errno)) return undefined;
    throw error;
  }
}

/** Nothing to do where there is no group at `path`. */
export function walkGroups(path: string, { enter, leave }: GroupVisit): void {
  const top = unlessGone(() => openat(AT.AT_FDCWD, path, DIRECTORY));
  if (top === undefined) return;
  let here = top;
  const way: Buffer[] = [];
  const waiting: Buffer[][] = [];
  const arrive = (): void => {
    enter?.(here);
    waiting.push(unlessGone(() => [...directoriesIn(here)]) ?? []);
  };
  const move = (fd: number): void => {
    close(here);
    here = fd;
  };
  try {
    arrive();
    for (;;) {
      const name = waiting.at(-1)?.pop();
      if (name !== undefined) {
        const child = unlessGone(() => openChild(here, name, DIRECTORY));
        if (child === undefined) continue;
        move(child);
        way.push(name);
        arrive();
        continue;
      }
      waiting.pop();
      const done = way.pop();
      if (done === undefined) return;
      // A group stays where it was made.
      move(openat(here, '..', DIRECTORY));
      leave?.(here, done);
    }
  } finally {
    close(here);
  }
}

/**
 * Those that are in the group itself, or the first of them where they are many. A threaded group tells of none: its
 * processes are told by the one above it that is not.
 */
export function membersOf(group: number): number[] {
  const text = readSmall(group, 'cgroup.procs') ?? '';
  // A last number that was cut off is that of somebody else.
  return text
    .slice(0, text.lastIndexOf('\n') + 1)
    .split('\n')
    .filter(Boolean)
    .map(Number);
}
