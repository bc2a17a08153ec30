/** Children of this very process, launched by the stub as the library does it: CLONE_VM, a pidfd, no exit signal. */
import { Arena } from '#src/syscalls/arena.js';
import { launcher } from '#src/syscalls/launcher/stub.js';
import { syscall, trySyscall } from '#src/syscalls/libc.js';
import { CLONE, Program } from './program.ts';

const SIG_SETMASK = 2;
const SIGSET_SIZE = 8;
const P_PIDFD = 3;
const WEXITED = 4;
const WALL = 0x4000_0000;
const SIGKILL = 9;
const POLLIN = 1;
const O_CLOEXEC = 0o2000000;
const PATIENCE_SECONDS = 10;

const own = Arena.map(4096);
const allSignals = own.alloc(SIGSET_SIZE);
own.setU64(allSignals, -1);
const oldSignals = own.alloc(SIGSET_SIZE);
const patience = own.alloc(16);
own.setU64(patience, PATIENCE_SECONDS);
const pollfd = own.alloc(8);
const siginfo = own.alloc(128);
const pipeEnds = own.alloc(8);

const SIGINFO = { code: 8, status: 24 } as const;
export const CLD = { EXITED: 1, KILLED: 2 } as const;

export interface Child {
  pid: number;
  pidfd: number;
}

const alive = new Set<Child>();

/** A program in `arena` for `launch`. */
export function program(arena: Arena, flags = 0): { program: Program; pidfdAddress: number } {
  const pidfdAddress = arena.alloc(8);
  const made = new Program(arena).cloneArgs(CLONE.VM + CLONE.PIDFD + CLONE.CLEAR_SIGHAND + flags, pidfdAddress);
  return { program: made, pidfdAddress };
}

/** Calls the stub with every signal of this thread blocked; returns its pid or -errno. */
export function call(programAddress: number): number {
  const launch = launcher();
  syscall('rt_sigprocmask', SIG_SETMASK, allSignals, oldSignals, SIGSET_SIZE);
  try {
    return launch(programAddress);
  } finally {
    syscall('rt_sigprocmask', SIG_SETMASK, oldSignals, 0, SIGSET_SIZE);
  }
}

export function launch(arena: Arena, made: { program: Program; pidfdAddress: number }): Child {
  const pid = call(made.program.address);
  if (pid <= 0) throw new Error(`clone3: ${pid}`);
  const child = { pid, pidfd: arena.getI32(made.pidfdAddress) };
  alive.add(child);
  return child;
}

/** Waits for the child's end, but not for ever. */
export function reap(child: Child): { code: number; status: number } {
  own.setU32(pollfd, child.pidfd);
  own.setU32(pollfd + 4, POLLIN);
  const ended = trySyscall('ppoll', pollfd, 1, patience, 0, 0) === 1;
  if (!ended) syscall('pidfd_send_signal', child.pidfd, SIGKILL, 0, 0);
  syscall('waitid', P_PIDFD, child.pidfd, siginfo, WEXITED | WALL, 0);
  syscall('close', child.pidfd);
  alive.delete(child);
  if (!ended) throw new Error(`child ${child.pid} did not end`);
  return { code: own.getI32(siginfo + SIGINFO.code), status: own.getI32(siginfo + SIGINFO.status) };
}

/** Ends what a failed test left: a child must not outlive the memory it runs on. */
export function killLeftovers(): void {
  for (const child of [...alive]) {
    trySyscall('pidfd_send_signal', child.pidfd, SIGKILL, 0, 0);
    reap(child);
  }
}

/** [read end, write end], close-on-exec. */
export function pipe(): [number, number] {
  syscall('pipe2', pipeEnds, O_CLOEXEC);
  return [own.getI32(pipeEnds), own.getI32(pipeEnds + 4)];
}

/** What can be read from `fd` up to its end or `size` bytes. */
export function readAll(arena: Arena, fd: number, size = 4096): Buffer {
  const buffer = arena.alloc(size);
  let length = 0;
  for (;;) {
    const count = syscall('read', fd, buffer + length, size - length);
    if (count === 0) return Buffer.from(arena.slice(buffer, length));
    length += count;
  }
}
