/** Processes by descriptor: signals, ends, limits. */
import { CLD, IOCTL, P_PIDFD, POLLIN, PR, WAIT } from './abi/constants.js';
import { scratch } from './arena.js';
import { readFile } from './fs.js';
import { SyscallError, trySyscall } from './libc.js';

export interface RawExit {
  readonly code: 'exited' | 'killed' | 'dumped';
  /** Exit code, or the signal that ended it. */
  readonly status: number;
}

/**
 * Reaps the process behind `pidfd`. Undefined while it lives; 'not-a-child' when somebody else reaped it or it was
 * never ours (then `exitInfo` can still tell its end).
 */
export function reap(pidfd: number): RawExit | 'not-a-child' | undefined {
  const arena = scratch();
  const info = arena.alloc(128);
  const result = trySyscall('waitid', P_PIDFD, pidfd, info, WAIT.WEXITED | WAIT.WNOHANG | WAIT.__WALL, 0);
  if (result === -10) return 'not-a-child';
  if (result < 0) throw new SyscallError('waitid', -result, `pidfd ${pidfd}`);
  // struct siginfo: si_code at 8, then (aligned to 16) si_pid, si_uid, si_status.
  if (arena.getI32(info + 16) === 0) return undefined;
  const cause = arena.getI32(info + 8);
  const code = cause === CLD.exited ? 'exited' : cause === CLD.dumped ? 'dumped' : 'killed';
  return { code, status: arena.getI32(info + 24) };
}

/** Which process a pidfd of ours is of; -1 when that has been reaped. */
export function pidOf(pidfd: number): number {
  return Number(/^Pid:\s*(-?\d+)/m.exec(readFile(`/proc/self/fdinfo/${pidfd}`))?.[1] ?? -1);
}

/** True for a child of this process that has not been reaped. */
export function isOwnChild(pidfd: number): boolean {
  const info = scratch().alloc(128);
  return trySyscall('waitid', P_PIDFD, pidfd, info, WAIT.WEXITED | WAIT.WNOHANG | WAIT.WNOWAIT | WAIT.__WALL, 0) >= 0;
}

const PIDFD_INFO_EXIT = 1 << 3;

/** A wait status as wait(2) returns it. */
function decodeStatus(status: number): RawExit {
  const signal = status & 0x7f;
  if (signal === 0) return { code: 'exited', status: (status >> 8) & 0xff };
  return { code: (status & 0x80) === 0 ? 'killed' : 'dumped', status: signal };
}

/**
 * The end of a process that is not our child and not yet reaped, from the last field of /proc/<pid>/stat (Linux 5.17):
 * what its parent will be told, a reboot(2) included. Undefined when it is gone already.
 */
export function zombieExit(pid: number, pidfd: number): RawExit | undefined {
  let stat: string;
  try {
    stat = readFile(`/proc/${pid}/stat`);
  } catch (error) {
    if (error instanceof SyscallError && ['ENOENT', 'ESRCH'].includes(error.errno)) return undefined;
    throw error;
  }
  // Signal 0 still finds a zombie: what was read before was this process, not one that got its number.
  return sendSignal(pidfd, 0) ? endInStat(stat, pid) : undefined;
}

/** The end that the keeper has written down: the wait status, or a text of /proc/<pid>/stat. */
export function recordedEnd(text: string, pid: number): RawExit | undefined {
  const status = /^status (\d+) (\d+)\n/.exec(text);
  if (status === null) return endInStat(text, pid);
  return Number(status[1]) === pid ? decodeStatus(Number(status[2])) : undefined;
}

/** The end that a text of /proc/<pid>/stat tells of; undefined while that process lives, or when it is another's. */
function endInStat(stat: string, pid: number): RawExit | undefined {
  const [line = ''] = stat.split('\n');
  const fields = line.slice(line.lastIndexOf(')') + 2).split(' ');
  if (!line.startsWith(`${pid} (`) || !['Z', 'X'].includes(fields[0] ?? '')) return undefined;
  return decodeStatus(Number(fields.at(-1)));
}

/**
 * The end of a process that somebody else reaped (ioctl_pidfd(2), Linux 6.15): kept as long as some pidfd to it was
 * open all the time. Undefined where the kernel cannot tell. It does not know of reboot(2) in a pid namespace: such an
 * end shows as SIGKILL, or as exit 0 when PID 1 itself made the call.
 */
export function exitInfo(pidfd: number): RawExit | undefined {
  const arena = scratch();
  const info = arena.alloc(64);
  arena.setU64(info, PIDFD_INFO_EXIT);
  if (trySyscall('ioctl', pidfd, IOCTL.PIDFD_GET_INFO, info) < 0) return undefined;
  if ((arena.getU32(info) & PIDFD_INFO_EXIT) === 0) return undefined;
  return decodeStatus(arena.getI32(info + 60));
}

/** Sends a signal to exactly this process: a recycled pid is never hit (LIF-27). False when it is already gone. */
export function sendSignal(pidfd: number, signal: number): boolean {
  const result = trySyscall('pidfd_send_signal', pidfd, signal, 0, 0);
  if (result === -3) return false;
  if (result < 0) throw new SyscallError('pidfd_send_signal', -result, `signal ${signal}`);
  return true;
}

export function openPidfd(pid: number): number {
  const fd = trySyscall('pidfd_open', pid, 0);
  if (fd < 0) throw new SyscallError('pidfd_open', -fd, `pid ${pid}`);
  return fd;
}

/** Waits until one of `fds` is readable or hung up. Returns the revents of each; all 0 after `timeoutMs`. */
export function poll(fds: readonly number[], timeoutMs: number): number[] {
  const arena = scratch();
  const table = arena.alloc(8 * fds.length);
  fds.forEach((fd, index) => {
    arena.setU32(table + 8 * index, fd);
    arena.setU32(table + 8 * index + 4, POLLIN);
  });
  const timeout = arena.alloc(16);
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    const left = Math.max(0, deadline - Date.now());
    arena.setU64(timeout, Math.floor(left / 1000));
    arena.setU64(timeout + 8, (left % 1000) * 1_000_000);
    const result = trySyscall('ppoll', table, fds.length, timeout, 0, 8);
    if (result === -4) continue;
    if (result < 0) throw new SyscallError('ppoll', -result);
    return fds.map((_, index) => arena.getU32(table + 8 * index + 4) >>> 16);
  }
}

/** prlimit(2); null is RLIM_INFINITY. */
export function setRlimit(pid: number, resource: number, soft: number | null, hard: number | null): void {
  const arena = scratch();
  const limit = arena.alloc(16);
  arena.setU64(limit, soft ?? -1n);
  arena.setU64(limit + 8, hard ?? -1n);
  const result = trySyscall('prlimit64', pid, resource, limit, 0);
  if (result < 0) throw new SyscallError('prlimit', -result, `resource ${resource}: ${soft}:${hard}`);
}

export function getRlimit(pid: number, resource: number): { soft: number | null; hard: number | null } {
  const arena = scratch();
  const limit = arena.alloc(16);
  const result = trySyscall('prlimit64', pid, resource, 0, limit);
  if (result < 0) throw new SyscallError('prlimit', -result, `resource ${resource}`);
  const value = (address: number): number | null => {
    const word = arena.getI64(address);
    return word === -1 ? null : word;
  };
  return { soft: value(limit), hard: value(limit + 8) };
}

export function setDumpable(value: number): void {
  const result = trySyscall('prctl', PR.PR_SET_DUMPABLE, value);
  if (result < 0) throw new SyscallError('prctl', -result, `PR_SET_DUMPABLE ${value}`);
}

export function getDumpable(): number {
  return trySyscall('prctl', PR.PR_GET_DUMPABLE);
}
