/** Turns init steps into launcher entries. One step becomes one or more raw system calls. */
import type { InitAction, InitStep, Text } from '../../plan/step.js';
import { usedDescriptors } from '../../plan/step.js';
import { CAPABILITIES } from '../../spec/capabilities.js';
import { ERRNO } from '../../spec/errno.js';
import { RLIMIT_NAMES } from '../../spec/rlimits.js';
import { CLONE, flagsOf, IOCTL, MS, O, PR, RESOLVE, UMOUNT } from '../../syscalls/abi/constants.js';
import { ARENA, PSEUDO } from '../../syscalls/abi/launch.js';
import type { Arena } from '../../syscalls/arena.js';
import { type Entry, faultEntry } from '../../syscalls/launcher/program.js';
import { NR } from '../../syscalls/libc.js';

const AT_FDCWD = -100;
const MOVE_MOUNT_F_EMPTY_PATH = 4;
const AF_INET = 2;
const SOCK_DGRAM_CLOEXEC = 2 | 0o2000000;
const IFF_UP_RUNNING = 0x41;
const SIG_SETMASK = 2;
const CLOSE_RANGE_CLOEXEC = 4;
const CAPABILITY_VERSION_3 = 0x20080522;
const KEYCTL_JOIN_SESSION_KEYRING = 1;
const SECCOMP_SET_MODE_FILTER = 1;
/**
 * Before Linux 5.16 a filter would switch speculative store bypass off for all that runs below it. That is for programs
 * that sandbox code in their own memory; a payload can still ask for it, and one without a filter does not have it either.
 */
const SECCOMP_FILTER_FLAG_SPEC_ALLOW = 4;
/** Errnos of execve(2) after which the next directory of PATH is tried, as execvp(3) does. */
const NOT_THERE = [ERRNO.ENOENT, ERRNO.ENOTDIR, ERRNO.EACCES];
/** Bytes of struct sock_filter. */
const FILTER_INSTRUCTION = 8;

export interface Batch {
  readonly entries: readonly Entry[];
  /** Registers to send through the gate, in this order. */
  readonly descriptors: readonly string[];
  /** First entry of each step, and after the last one the number of entries. */
  readonly bounds: readonly number[];
}

/** `tolerated.next` counts from the action's first entry; what the step tolerates leads to the next step. */
type Draft = Entry;

/**
 * @param slot address where the i-th sent descriptor will be in the child's memory.
 * @param faults errno number by step id: the step fails with it instead of calling the kernel.
 * @param textOf what a text is by now.
 */
export function encodeBatch(
  steps: readonly InitStep[],
  arena: Arena,
  slot: (index: number) => number,
  faults: Readonly<Record<string, number>>,
  textOf: (text: Text) => string,
): Batch {
  const descriptors = [...new Set(steps.flatMap(step => usedDescriptors(step.action)))];
  const drafts: Draft[][] = steps.map(step => {
    const fault = faults[step.id];
    if (fault !== undefined) return [faultEntry(fault)];
    const load = (register: string, argument: number): Draft => ({
      nr: PSEUDO.loadI32,
      args: [slot(descriptors.indexOf(register))],
      dest: { entry: 1, argument },
    });
    return encodeAction(step.action, { arena, load, textOf });
  });
  const bounds = [0];
  for (const draft of drafts) bounds.push((bounds.at(-1) ?? 0) + draft.length);
  const entries = drafts.flatMap((draft, index): Entry[] => {
    const first = bounds[index] ?? 0;
    const next = bounds[index + 1] ?? 0;
    const errnos = (steps[index]?.tolerate ?? []).map(({ errno }) => ERRNO[errno]);
    return draft.map(entry => {
      const { dest, tolerated } = entry;
      return {
        ...entry,
        ...(dest !== undefined && 'entry' in dest ? { dest: { ...dest, entry: first + dest.entry } } : {}),
        ...(tolerated !== undefined ? { tolerated: { ...tolerated, next: first + tolerated.next } } : {}),
        ...(tolerated === undefined && errnos.length > 0 ? { tolerated: { errnos, next } } : {}),
      };
    });
  });
  return { entries, descriptors, bounds };
}

interface Encoding {
  readonly arena: Arena;
  readonly load: (register: string, argument: number) => Draft;
  readonly textOf: (text: Text) => string;
}

/** Entries of one action; `dest.entry` counts from the action's first entry. */
function encodeAction(action: InitAction, { arena, load, textOf }: Encoding): Draft[] {
  const text = (value: string | null): number => (value === null ? 0 : arena.cstring(value));
  switch (action.op) {
    case 'write': {
      const bytes = Buffer.from(textOf(action.text));
      return [load(action.fd, 0), { nr: NR.write, args: [0, arena.copy(bytes), bytes.length] }];
    }
    case 'file.write': {
      const bytes = Buffer.from(action.text);
      const flags = O.O_WRONLY + O.O_CLOEXEC + O.O_NOFOLLOW;
      return [
        { nr: NR.openat, args: [AT_FDCWD, text(action.path), flags], dest: { entry: 1, argument: 0 } },
        { nr: NR.write, args: [0, arena.copy(bytes), bytes.length] },
      ];
    }
    case 'unshare':
      return [{ nr: NR.unshare, args: [flagsOf(CLONE, action.flags)] }];
    case 'mount':
      return [
        {
          nr: NR.mount,
          args: [
            text(action.source),
            text(action.target),
            text(action.fstype),
            flagsOf(MS, action.flags),
            text(action.data ?? null),
          ],
        },
      ];
    case 'move_mount':
      return [
        load(action.mount, 0),
        { nr: NR.move_mount, args: [0, text(''), AT_FDCWD, text(textOf(action.target)), MOVE_MOUNT_F_EMPTY_PATH] },
      ];
    case 'root.check':
      return [{ nr: NR.openat2, args: [AT_FDCWD, text('/..'), howNotToCross(arena), OPEN_HOW_SIZE] }];
    case 'umount':
      return [{ nr: NR.umount2, args: [text(action.target), flagsOf(UMOUNT, action.flags)] }];
    case 'fchdir':
      return [load(action.fd, 0), { nr: NR.fchdir, args: [0] }];
    case 'chdir':
      return [{ nr: NR.chdir, args: [text(action.path)] }];
    case 'pivot_root':
      return [{ nr: NR.pivot_root, args: [text(action.newRoot), text(action.putOld)] }];
    case 'mkdir':
      return [{ nr: NR.mkdirat, args: [AT_FDCWD, text(action.path), action.mode] }];
    case 'symlink':
      return [{ nr: NR.symlinkat, args: [text(action.target), AT_FDCWD, text(action.path)] }];
    case 'link.up':
      return [
        { nr: NR.socket, args: [AF_INET, SOCK_DGRAM_CLOEXEC, 0], dest: { entry: 1, argument: 0 } },
        { nr: NR.ioctl, args: [0, IOCTL.SIOCSIFFLAGS, interfaceRequest(arena, action.name)] },
      ];
    case 'sethostname':
      return [{ nr: NR.sethostname, args: [text(action.name), Buffer.byteLength(action.name)] }];
    case 'setdomainname':
      return [{ nr: NR.setdomainname, args: [text(action.name), Buffer.byteLength(action.name)] }];
    case 'setsid':
      return [{ nr: NR.setsid, args: [] }];
    case 'dup':
      return [load(action.fd, 0), { nr: NR.dup3, args: [0, action.to, 0] }];
    case 'controlling_tty':
      return [load(action.fd, 0), { nr: NR.ioctl, args: [0, IOCTL.TIOCSCTTY, 0] }];
    case 'capabilities':
      return capabilityEntries(arena, action.keep, action.drop);
    case 'session_keyring':
      return [{ nr: NR.keyctl, args: [KEYCTL_JOIN_SESSION_KEYRING, 0] }];
    case 'seccomp':
      return [
        { nr: NR.seccomp, args: [SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_SPEC_ALLOW, filter(arena, action)] },
      ];
    case 'identity':
      return [
        { nr: NR.setgroups, args: [0, 0] },
        { nr: NR.setresgid, args: [action.gid, action.gid, action.gid] },
        { nr: NR.setresuid, args: [action.uid, action.uid, action.uid] },
      ];
    case 'umask':
      return [{ nr: NR.umask, args: [action.mask] }];
    case 'default_signals': {
      const defaultAction = arena.alloc(32);
      return action.signals.map(signal => ({ nr: NR.rt_sigaction, args: [Number(signal), defaultAction, 0, 8] }));
    }
    case 'unblock_signals':
      return [{ nr: NR.rt_sigprocmask, args: [SIG_SETMASK, arena.alloc(8), 0, 8] }];
    case 'close_on_exec':
      return [{ nr: NR.close_range, args: [action.from, 0xffffffff, CLOSE_RANGE_CLOEXEC] }];
    case 'controlling_stdin':
      return [{ nr: NR.ioctl, args: [0, IOCTL.TIOCSCTTY, 0] }];
    case 'close_from':
      return [{ nr: NR.close_range, args: [action.from, 0xffffffff, 0] }];
    case 'limits':
      return limitEntries(arena, action.limits);
    case 'setns':
      return [load(action.fd, 0), { nr: NR.setns, args: [0, flagsOf(CLONE, action.namespaces)] }];
    case 'fork':
      return forkEntries(arena, action.child, action.cgroup === null ? null : load(action.cgroup, 0));
    case 'user':
      return userEntries(arena, action);
    case 'read':
      return readEntries(arena, action.path);
    case 'exit':
      return [{ nr: NR.exit_group, args: [0] }];
    case 'undumpable':
      return [{ nr: NR.prctl, args: [PR.PR_SET_DUMPABLE, 0] }];
    case 'execve': {
      const argv = pointers(arena, action.argv.map(textOf));
      const env = pointers(
        arena,
        action.env.map(variable => (typeof variable === 'string' ? variable : `${variable.name}=${textOf(variable)}`)),
      );
      const paths = [textOf(action.path), ...(action.others ?? [])];
      return paths.map((path, index) => ({
        nr: NR.execve,
        args: [text(path), argv, env],
        ...(index + 1 < paths.length ? { tolerated: { errnos: NOT_THERE, next: index + 1 } } : {}),
      }));
    }
  }
}

const CLONE_ARGS = { parentTid: 24, cgroup: 80, size: 88 } as const;

/**
 * clone3(2), whose parent is the grandparent: so we reap it ourselves. The caller ends, and the child, in which the call
 * returns 0, goes on after that. The kernel writes its id where the memory begins before it runs.
 */
function forkEntries(arena: Arena, child: number, cgroup: Draft | null): Draft[] {
  const args = arena.alloc(CLONE_ARGS.size);
  const into = cgroup === null ? 0 : CLONE.CLONE_INTO_CGROUP;
  arena.setU64(args, CLONE.CLONE_PARENT + CLONE.CLONE_PARENT_SETTID + into);
  arena.setU64(args + CLONE_ARGS.parentTid, arena.address + ARENA.pids + 8 * child);
  const loads = cgroup === null ? [] : [{ ...cgroup, dest: { address: args + CLONE_ARGS.cgroup } }];
  return [
    ...loads,
    {
      nr: NR.clone3,
      args: [args, CLONE_ARGS.size],
      min: 1,
      tolerated: { errnos: [0], next: loads.length + 2 },
    },
    { nr: NR.exit_group, args: [0] },
  ];
}

/** Bytes of a file that `read` reads: a chunk with each call, since a file system may give less than is asked for. */
const CHUNK = 64 * 1024;
const CHUNKS = 4;
export const READ_LIMIT = CHUNK * CHUNKS;

/**
 * The path is the payload's, links and all, and so is what is found there: none of it leads out of its root, and a FIFO or
 * a terminal is not waited for.
 */
function readEntries(arena: Arena, path: string): Draft[] {
  const how = arena.alloc(OPEN_HOW_SIZE);
  arena.setU64(how, O.O_RDONLY + O.O_CLOEXEC + O.O_NONBLOCK + O.O_NOCTTY);
  arena.setU64(how + 16, RESOLVE.RESOLVE_IN_ROOT + RESOLVE.RESOLVE_NO_MAGICLINKS);
  const opened = arena.alloc(8);
  const buffer = arena.alloc(READ_LIMIT);
  const drafts: Draft[] = [
    { nr: NR.openat2, args: [AT_FDCWD, arena.cstring(path), how, OPEN_HOW_SIZE], dest: { address: opened } },
  ];
  for (let chunk = 0; chunk < CHUNKS; chunk++) {
    const load = { nr: PSEUDO.loadI64, args: [opened], dest: { entry: drafts.length + 1, argument: 0 } };
    drafts.push(load, { nr: NR.pread64, args: [0, buffer + chunk * CHUNK, CHUNK, chunk * CHUNK] });
  }
  return drafts;
}

/** Indexes in its entries of the calls that read. */
export const READ_CALLS: readonly number[] = Array.from({ length: CHUNKS }, (_, chunk) => 2 + 2 * chunk);

function limitEntries(arena: Arena, limits: Extract<InitAction, { op: 'limits' }>['limits']): Draft[] {
  return Object.entries(limits).map(([name, [soft, hard]]) => {
    const limit = arena.alloc(16);
    arena.setU64(limit, soft ?? -1n);
    arena.setU64(limit + 8, hard ?? -1n);
    return { nr: NR.prlimit64, args: [0, (RLIMIT_NAMES as readonly string[]).indexOf(name), limit, 0] };
  });
}

function userEntries(
  arena: Arena,
  { uid, gid, groups }: { readonly uid: number; readonly gid: number; readonly groups: readonly number[] },
): Draft[] {
  const list = arena.alloc(4 * groups.length);
  groups.forEach((group, index) => {
    arena.setU32(list + 4 * index, group);
  });
  return [
    { nr: NR.setgroups, args: [groups.length, list] },
    { nr: NR.setresgid, args: [gid, gid, gid] },
    { nr: NR.setresuid, args: [uid, uid, uid] },
  ];
}

const OPEN_HOW_SIZE = 24;

/**
 * struct open_how for the parent of the root, which is the root itself. `/` is where the process stands, whatever is
 * mounted on top of it; from there `..` leads to the topmost mount, and RESOLVE_NO_XDEV forbids to go to another one.
 */
function howNotToCross(arena: Arena): number {
  const how = arena.alloc(OPEN_HOW_SIZE);
  arena.setU64(how, O.O_PATH | O.O_DIRECTORY | O.O_CLOEXEC);
  arena.setU64(how + 16, RESOLVE.RESOLVE_NO_XDEV);
  return how;
}

/** struct ifreq (netdevice(7)) asking for an interface that is up. */
function interfaceRequest(arena: Arena, name: string): number {
  const request = arena.alloc(40);
  arena.slice(request, 15).write(name);
  arena.setU32(request + 16, IFF_UP_RUNNING);
  return request;
}

function capabilityEntries(arena: Arena, keep: readonly string[], drop: readonly string[]): Draft[] {
  const numbers = (names: readonly string[]): number[] =>
    names.map(name => (CAPABILITIES as readonly string[]).indexOf(name));
  const mask = numbers(keep).reduce((bits, number) => bits | (1n << BigInt(number)), 0n);
  const header = arena.alloc(8);
  arena.setU32(header, CAPABILITY_VERSION_3);
  const data = arena.alloc(24);
  for (const [half, word] of [mask & 0xffffffffn, mask >> 32n].entries()) {
    arena.setU32(data + 12 * half, Number(word));
    arena.setU32(data + 12 * half + 4, Number(word));
  }
  return [
    ...numbers(drop).map(number => ({ nr: NR.prctl, args: [PR.PR_CAPBSET_DROP, number] })),
    { nr: NR.capset, args: [header, data] },
  ];
}

/** struct sock_fprog (linux/filter.h): the number of instructions, and where they are. */
function filter(arena: Arena, { program }: { readonly program: readonly number[] }): number {
  const code = arena.copy(Uint8Array.from(program));
  const header = arena.alloc(16);
  arena.setU32(header, program.length / FILTER_INSTRUCTION);
  arena.setU64(header + 8, code);
  return header;
}

/** A NULL-terminated array of strings. */
function pointers(arena: Arena, strings: readonly string[]): number {
  const addresses = strings.map(value => arena.cstring(value));
  const table = arena.alloc(8 * (addresses.length + 1));
  addresses.forEach((address, index) => {
    arena.setU64(table + 8 * index, address);
  });
  return table;
}
