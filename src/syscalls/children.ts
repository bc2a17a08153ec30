/**
 * Children that outlive the supervisor that made them, while its process goes on: whoever supervises them next may be in
 * another process, and only we can reap them.
 */
import { WAIT } from './abi/constants.js';
import { scratch } from './arena.js';
import { trySyscall } from './libc.js';

const P_PID = 1;
const INTERVAL_MS = 1000;

/** By pid, which no other process can have before it is reaped: whether it was found dead. */
const left = new Map<number, boolean>();
let timer: NodeJS.Timeout | undefined;

export function leaveChild(pid: number): void {
  left.set(pid, false);
  timer ??= setInterval(look, INTERVAL_MS).unref();
}

/** It is supervised here again. */
export function takeChildBack(pid: number): void {
  left.delete(pid);
}

/** One that is dead is left a while: how it ended is read from its zombie, by the keeper and by the next supervisor. */
function look(): void {
  for (const [pid, wasDead] of left) {
    const arena = scratch();
    const info = arena.alloc(128);
    // struct siginfo: si_pid at 16, 0 while it lives; it is not touched where there is nothing to tell.
    arena.setU32(info + 16, 0);
    const options = WAIT.WEXITED | WAIT.WNOHANG | WAIT.__WALL | (wasDead ? 0 : WAIT.WNOWAIT);
    const result = trySyscall('waitid', P_PID, pid, info, options, 0);
    if (wasDead || result < 0) left.delete(pid);
    else if (arena.getI32(info + 16) !== 0) left.set(pid, true);
  }
  if (left.size > 0) return;
  clearInterval(timer);
  timer = undefined;
}
