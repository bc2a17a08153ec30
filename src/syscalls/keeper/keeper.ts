/**
 * The keeper (keeper.c), seen from the supervisor: a process that holds descriptors for whoever supervises next. It is
 * told what to hold over a socket pair, and asked nothing: the next supervisor takes what is held out of it.
 */
import { gunzipSync } from 'node:zlib';
import { AT, O } from '../abi/constants.js';
import { Arena, scratch } from '../arena.js';
import { close, duplicate, writeAll } from '../fs.js';
import { type Entry, Program } from '../launcher/program.js';
import { ARCH, NR, SyscallError, trySyscall } from '../libc.js';
import { getRlimit } from '../process.js';
import { MSG_NOSIGNAL, rightsSpace, socketpair } from '../socket.js';
import { KEEPER_PROGRAM } from './binary.js';

/** Layout of keeper.c. */
const BASE = 64;
/** Descriptors of one container. */
export const SLOT_SIZE = 32;
/** Places in a slot, whose other ones are only held: a pidfd at 0, and these. */
export const PIDFD_PLACE = 0;
export const STAT_PLACE = 30;
export const END_PLACE = 31;
/** Containers that one keeper can hold something of. */
export const SLOTS = 16384;
const STORE = 1;
const DROP = 2;
const PING = 3;
const ORPHAN = 4;
const REQUEST_SIZE = 12 + SLOT_SIZE;

const SOCKET_FD = 3;
const PROGRAM_FD = 4;
/** Beyond what the child's table needs to be put in order with. */
const ASIDE_FROM = 16;

const CLOSE_RANGE_UNSHARE = 2;
const MFD_CLOEXEC = 1;
/** Wanted where the machine has vm.memfd_noexec=1 (Linux 6.3); older kernels do not know it. */
const MFD_EXEC = 0x10;
const EINVAL = -22;
const SIG_SETMASK = 2;
const RLIMIT_NOFILE = 7;

export interface KeeperProcess {
  readonly pid: number;
  readonly pidfd: number;
  /** Our end of its socket. */
  readonly socket: number;
}

function programFile(): number {
  const name = scratch().cstring('caisson-keeper');
  let fd = trySyscall('memfd_create', name, MFD_CLOEXEC | MFD_EXEC);
  if (fd === EINVAL) fd = trySyscall('memfd_create', name, MFD_CLOEXEC);
  if (fd < 0) throw new SyscallError('memfd_create', -fd, 'caisson-keeper');
  try {
    writeAll(fd, gunzipSync(Buffer.from(KEEPER_PROGRAM[ARCH], 'base64')), 'the keeper');
    return fd;
  } catch (error) {
    close(fd);
    throw error;
  }
}

/** What the child does before it is the keeper. It begins with our own descriptor table, so the first call copies it. */
function entries(arena: Arena, socket: number, program: number): Entry[] {
  const { hard } = getRlimit(0, RLIMIT_NOFILE);
  const limit = arena.alloc(16);
  arena.setU64(limit, hard ?? -1n);
  arena.setU64(limit + 8, hard ?? -1n);
  const noSignals = arena.alloc(8);
  const argv = arena.alloc(16);
  arena.setU64(argv, arena.cstring('caisson-keeper'));
  const environment = arena.alloc(8);
  const root = arena.cstring('/');
  const nothing = arena.cstring('/dev/null');
  const openNothing: Entry = { nr: NR.openat, args: [AT.AT_FDCWD, nothing, O.O_RDWR, 0] };
  return [
    { nr: NR.close_range, args: [0xfffffff0, 0xffffffff, CLOSE_RANGE_UNSHARE] },
    { nr: NR.dup3, args: [socket, SOCKET_FD, 0] },
    { nr: NR.dup3, args: [program, PROGRAM_FD, O.O_CLOEXEC] },
    { nr: NR.close_range, args: [PROGRAM_FD + 1, 0xffffffff, 0] },
    // Whoever reads what the supervisor prints must not wait for the keeper's end.
    { nr: NR.close_range, args: [0, 2, 0] },
    openNothing,
    openNothing,
    openNothing,
    // A ^C that ends the supervisor must not end the keeper.
    { nr: NR.setsid, args: [] },
    { nr: NR.chdir, args: [root] },
    { nr: NR.prlimit64, args: [0, RLIMIT_NOFILE, limit, 0] },
    { nr: NR.rt_sigprocmask, args: [SIG_SETMASK, noSignals, 0, 8] },
    { nr: NR.execveat, args: [PROGRAM_FD, arena.cstring(''), argv, environment, AT.AT_EMPTY_PATH] },
  ];
}

let memory: Arena | undefined;

export interface LaunchedKeeper extends KeeperProcess {
  /** To be called once it has answered a ping: until then it may still be on its way, with our descriptors. */
  settled(): void;
}

/** Starts one, not twice at a time. @throws SyscallError */
export function launchKeeper(): LaunchedKeeper {
  memory ??= Arena.map(8192);
  const opened: number[] = [];
  const keep = (fd: number): number => {
    opened.push(fd);
    return fd;
  };
  const settled = (): void => {
    for (const fd of opened.splice(0)) close(fd);
  };
  const [ours, theirs] = socketpair();
  keep(theirs);
  try {
    const program = keep(duplicate(keep(programFile()), ASIDE_FROM));
    const socket = keep(duplicate(theirs, ASIDE_FROM));
    const prepared = Program.ready(memory, arena => entries(arena, socket, program));
    const launched = prepared.program.launch(0, null);
    if ('errno' in launched) throw new SyscallError('clone3', launched.errno, 'keeper');
    return { ...launched, socket: ours, settled };
  } catch (error) {
    close(ours);
    settled();
    throw error;
  }
}

const SOL_SOCKET = 1;
const SCM_RIGHTS = 1;
const MSG_DONTWAIT = 0x40;

function request(
  socket: number,
  op: number,
  slot: number,
  pid: number,
  places: readonly number[],
  fds: readonly number[],
): void {
  const room = scratch();
  const body = room.alloc(REQUEST_SIZE);
  room.setU32(body, op);
  room.setU32(body + 4, slot);
  room.setU32(body + 8, pid);
  room.slice(body + 12, SLOT_SIZE).set(places);
  const iov = room.alloc(16);
  room.setU64(iov, body);
  room.setU64(iov + 8, REQUEST_SIZE);
  const header = room.alloc(56);
  room.setU64(header + 16, iov);
  room.setU64(header + 24, 1);
  if (fds.length > 0) {
    const control = room.alloc(rightsSpace(fds.length));
    room.setU64(control, 16 + 4 * fds.length);
    room.setU32(control + 8, SOL_SOCKET);
    room.setU32(control + 12, SCM_RIGHTS);
    fds.forEach((fd, index) => {
      room.setU32(control + 16 + 4 * index, fd);
    });
    room.setU64(header + 32, control);
    room.setU64(header + 40, 16 + 4 * fds.length);
  }
  const sent = trySyscall('sendmsg', socket, header, MSG_NOSIGNAL);
  if (sent < 0) throw new SyscallError('sendmsg', -sent, 'to the keeper');
}

/**
 * Has copies of descriptors held, each at its place in the slot.
 * @param orphan the process behind place 0 is no child of ours: its end is to be written down whenever it comes.
 * @throws SyscallError EPIPE or ECONNRESET when the keeper is dead.
 */
export function storeSlot(
  socket: number,
  slot: number,
  pid: number,
  held: ReadonlyMap<number, number>,
  orphan = false,
): void {
  request(socket, orphan ? ORPHAN : STORE, slot, pid, [...held.keys()], [...held.values()]);
}

/** More of a container that is held. @throws SyscallError EPIPE or ECONNRESET when the keeper is dead. */
export function addToSlot(socket: number, slot: number, held: ReadonlyMap<number, number>): void {
  request(socket, STORE, slot, 0, [...held.keys()], [...held.values()]);
}

/** Everything of a slot is closed. */
export function dropSlot(socket: number, slot: number): void {
  request(socket, DROP, slot, 0, [], []);
}

/** Asks for an answer, which tells that all sent before is done. */
export function pingKeeper(socket: number): void {
  request(socket, PING, 0, 0, [], []);
}

/** The answer to a ping: how many descriptors there was no room for; undefined while there is none, null: it is dead. */
export function keeperAnswer(socket: number): number | undefined | null {
  const room = scratch();
  const answer = room.alloc(8);
  const got = trySyscall('recvfrom', socket, answer, 4, MSG_DONTWAIT, 0, 0);
  if (got === -11 || got === -4) return undefined;
  return got === 4 ? room.getU32(answer) : null;
}

/** A copy of what another process' keeper holds there (Linux 5.6); undefined when it holds nothing. */
export function takeHeld(keeper: number, slot: number, place: number): number | undefined {
  const fd = trySyscall('pidfd_getfd', keeper, BASE + slot * SLOT_SIZE + place, 0);
  // EBADF: nothing is there; ESRCH: that process has just ended.
  if (fd === -9 || fd === -3) return undefined;
  if (fd < 0) throw new SyscallError('pidfd_getfd', -fd, `slot ${slot}, place ${place}`);
  return fd;
}
