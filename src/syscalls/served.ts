/**
 * Files that a server serves (FUSE), which may not answer, or never again. A child looks for us, with a descriptor
 * table of its own: when it is killed, or has to be left to itself, nothing that it opened stays open.
 */
import { errnoName } from '../spec/errno.js';
import { AT, O } from './abi/constants.js';
import type { Arena } from './arena.js';
import { close, duplicate } from './fs.js';
import { type Findings, runErrand, type Write } from './launcher/errand.js';
import type { Entry } from './launcher/program.js';
import { NR } from './libc.js';
import { MSG_NOSIGNAL, receiveDescriptors, rightsMessage, socketpair } from './socket.js';

const CLOSE_RANGE_UNSHARE = 2;
const LAST_FD = 0xffffffff;
const LIST_SIZE = 8192;
const STATX_SIZE = 256;
const DIRENT_NAME = 19;
/** A child copies our descriptor table up to a gate's number: what is kept stays out of its way (launcher/program.ts). */
const KEPT_FROM = 512;

export interface Listing {
  /** Of the file system: `major:minor`, as mountinfo has it. */
  readonly device: string;
  readonly names: readonly string[];
}

/** `silent`: no answer in time. */
export type Answered<T> = T | { readonly errno: string } | 'silent';

/** `major:minor` in a struct statx. */
export function deviceOf(arena: Arena, statx: number): string {
  return `${arena.getU32(statx + 136)}:${arena.getU32(statx + 140)}`;
}

/** What a child still waits for that could not be killed: no second one is sent after it. */
const waitedFor = new Set<string>();

async function ask<T>(
  what: string,
  write: Write,
  timeoutMs: number,
  read: (findings: Findings) => T,
): Promise<T | 'silent'> {
  if (waitedFor.has(what)) return 'silent';
  const stuck = (still: boolean): void => {
    if (still) waitedFor.add(what);
    else waitedFor.delete(what);
  };
  return (await runErrand(write, timeoutMs, read, stuck)) ?? 'silent';
}

function namesOf(entries: Buffer): string[] {
  const names: string[] = [];
  for (let at = 0; at < entries.length; at += entries.readUInt16LE(at + 16)) {
    const end = entries.indexOf(0, at + DIRENT_NAME);
    const name = entries.toString('utf8', at + DIRENT_NAME, end);
    if (name !== '.' && name !== '..') names.push(name);
  }
  return names;
}

/** The first few hundred entries of a directory. */
export async function listDirectory(path: string, timeoutMs: number): Promise<Answered<Listing>> {
  let statx = 0;
  let list = 0;
  const write = (arena: Arena): Entry[] => {
    statx = arena.alloc(STATX_SIZE);
    list = arena.alloc(LIST_SIZE);
    return [
      { nr: NR.close_range, args: [0, LAST_FD, CLOSE_RANGE_UNSHARE] },
      // The table is empty: it gets number 0.
      { nr: NR.openat, args: [AT.AT_FDCWD, arena.cstring(path), O.O_RDONLY | O.O_DIRECTORY | O.O_CLOEXEC, 0] },
      { nr: NR.statx, args: [0, arena.cstring(''), AT.AT_EMPTY_PATH, 0, statx] },
      { nr: NR.getdents64, args: [0, list, LIST_SIZE] },
    ];
  };
  return await ask(path, write, timeoutMs, ({ arena, result }): Answered<Listing> => {
    for (const entry of [1, 2, 3]) {
      const value = result(entry);
      if (value === undefined || value < 0) return { errno: errnoName(-(value ?? -5)) };
    }
    const names = namesOf(arena.slice(list, result(3) ?? 0));
    return { device: deviceOf(arena, statx), names };
  });
}

/** Descriptors (O_PATH) of all of `paths`, at most 60, which are the caller's to close. */
export async function openPaths(paths: readonly string[], timeoutMs: number): Promise<Answered<number[]>> {
  const [ours, theirs] = socketpair();
  try {
    const write = (arena: Arena): Entry[] => {
      // The lowest number that is free, each: all but that of the socket.
      const numbers = paths.map((_, index) => (index < theirs ? index : index + 1));
      const message = rightsMessage(arena, numbers);
      return [
        { nr: NR.close_range, args: [theirs + 1, LAST_FD, CLOSE_RANGE_UNSHARE] },
        { nr: NR.close_range, args: [0, theirs - 1, 0] },
        ...paths.map(path => ({
          nr: NR.openat,
          args: [AT.AT_FDCWD, arena.cstring(path), O.O_PATH | O.O_NOFOLLOW | O.O_CLOEXEC, 0],
        })),
        { nr: NR.sendmsg, args: [theirs, message, MSG_NOSIGNAL] },
      ];
    };
    const failed = await ask(paths.join(), write, timeoutMs, ({ result }) => {
      const value = paths.map((_, index) => result(index + 2)).find(fd => fd === undefined || fd < 0);
      return value === undefined ? 0 : -value;
    });
    if (failed === 'silent') return failed;
    if (failed !== 0) return { errno: errnoName(failed) };
    return receiveDescriptors(ours, paths.length).map(raise);
  } finally {
    close(ours);
    close(theirs);
  }
}

function raise(fd: number): number {
  try {
    const high = duplicate(fd, KEPT_FROM);
    close(fd);
    return high;
  } catch {
    // The limit on descriptors is lower.
    return fd;
  }
}
