/** Launching the joiner (joiner.ts): a child that executes it on the host, with a gate to us and the memory of its table. */
import { AT, CLONE } from '../abi/constants.js';
import { ARENA } from '../abi/launch.js';
import { Arena } from '../arena.js';
import { close, writeAll } from '../fs.js';
import { NR, SyscallError, syscall, trySyscall } from '../libc.js';
import { poll, reap, sendSignal } from '../process.js';
import { joinerExecutable } from './joiner.js';
import { type Entry, Program, SYNC_FD } from './program.js';

const MFD_CLOEXEC = 1;
const MFD_ALLOW_SEALING = 2;
const MFD_EXEC = 0x10;
const EINVAL = -22;
const F_ADD_SEALS = 1033;
/** No more seals, no shrinking, no growing, no writing. */
const ALL_SEALS = 0xf;
const PROT_READ_WRITE = 3;
const MAP_SHARED_FIXED = 0x11;
const MAP_PRIVATE_ANONYMOUS_FIXED = 0x32;
const F_DUPFD = 0;
const O_CLOEXEC = 0o2000000;
const CLOSE_RANGE_UNSHARE = 2;
const EXECUTABLE_FD = 5;
/** Descriptors that the child puts in their places must not lie where others are to go. */
const BESIDE = 16;

const REAP_TIMEOUT_MS = 10_000;
const SIGKILL = 9;
const NAME = 'caisson';

let memory: Arena | undefined;

/** What the child that becomes the joiner uses: it has left it when the launch returns. */
function own(): Arena {
  memory ??= Arena.map(8192);
  memory.reset();
  return memory;
}

/** A file in memory that can be executed. It is sealed: who meets it as /proc/<pid>/exe cannot write to it. */
function executable(): number {
  const name = own().cstring(NAME);
  const flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
  let fd = trySyscall('memfd_create', name, flags | MFD_EXEC);
  // Before Linux 6.3 there is no such flag, and every such file can be executed.
  if (fd === EINVAL) fd = trySyscall('memfd_create', name, flags);
  if (fd < 0) throw new SyscallError('memfd_create', -fd, 'the joiner');
  try {
    writeAll(fd, joinerExecutable(), 'the joiner');
    syscall('fcntl', fd, F_ADD_SEALS, ALL_SEALS);
    return fd;
  } catch (error) {
    close(fd);
    throw error;
  }
}

/** Puts memory that another process can map in the place of `arena`'s. Returns its descriptor. */
function share(arena: Arena): number {
  const fd = syscall('memfd_create', own().cstring(NAME), MFD_CLOEXEC);
  try {
    syscall('ftruncate', fd, arena.size);
    syscall('mmap', arena.address, arena.size, PROT_READ_WRITE, MAP_SHARED_FIXED, fd, 0);
    return fd;
  } catch (error) {
    close(fd);
    throw error;
  }
}

/** Puts memory of our own in its place again: whatever still has the old one shares nothing with us any more. */
export function unshare(arena: Arena): void {
  syscall('mmap', arena.address, arena.size, PROT_READ_WRITE, MAP_PRIVATE_ANONYMOUS_FIXED, -1, 0);
}

export interface Joiner {
  readonly program: Program;
  readonly pid: number;
  readonly pidfd: number;
}

/**
 * Launches it, parked at its gate, whose other end `sync` leads to. The calling thread waits until it has executed its
 * program: up to there it shares our memory, and the kernel keeps a child in vfork(2) from being chosen when memory runs
 * out. @param arena is used by both until the joiner has ended, and then given back by `unshare`.
 */
export function launchJoiner(arena: Arena, sync: number): Joiner {
  const fds: number[] = [];
  try {
    const shared = share(arena);
    fds.push(shared);
    const program = Program.joiner(arena);
    const file = executable();
    fds.push(file);
    const { program: child } = Program.ready(own(), arena => executing(arena, { sync, shared, file }));
    const launched = child.launch(CLONE.CLONE_VFORK, null);
    if ('errno' in launched) throw new SyscallError('clone3', launched.errno, 'the joiner');
    const failed = child.failure;
    if (failed === undefined) return { program, ...launched };
    endProcess(launched.pidfd);
    throw new SyscallError('execveat', failed, 'the joiner');
  } catch (error) {
    unshare(arena);
    throw error;
  } finally {
    for (const fd of fds) close(fd);
  }
}

/**
 * The child starts with our descriptor table, and takes a copy of its lower end; of that it keeps what the joiner needs,
 * where the joiner expects it.
 */
function executing(texts: Arena, fds: { sync: number; shared: number; file: number }): Entry[] {
  const highest = Math.max(...Object.values(fds));
  const aside = (fd: number, entry: number): Entry => ({
    nr: NR.fcntl,
    args: [fd, F_DUPFD, BESIDE],
    dest: { entry, argument: 0 },
  });
  const argv = texts.alloc(16);
  texts.setU64(argv, texts.cstring(NAME));
  const env = texts.alloc(8);
  return [
    { nr: NR.close_range, args: [highest + 1, 0xffffffff, CLOSE_RANGE_UNSHARE] },
    aside(fds.sync, 4),
    aside(fds.shared, 5),
    aside(fds.file, 6),
    { nr: NR.dup3, args: [0, SYNC_FD, 0] },
    { nr: NR.dup3, args: [0, ARENA.fd, 0] },
    { nr: NR.dup3, args: [0, EXECUTABLE_FD, O_CLOEXEC] },
    { nr: NR.close_range, args: [EXECUTABLE_FD + 1, 0xffffffff, 0] },
    { nr: NR.execveat, args: [EXECUTABLE_FD, texts.cstring(''), argv, env, AT.AT_EMPTY_PATH] },
  ];
}

/** Kills and reaps a child of ours, and closes its descriptor. False when it is still alive after a while. */
export function endProcess(pidfd: number): boolean {
  sendSignal(pidfd, SIGKILL);
  poll([pidfd], REAP_TIMEOUT_MS);
  const ended = reap(pidfd) !== undefined;
  close(pidfd);
  return ended;
}
