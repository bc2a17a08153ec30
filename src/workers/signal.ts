/** Choosing and sending the signal that asks PID 1 to halt or to reboot (LIF-21 to LIF-24, LIF-49). */
import { readFile } from '../syscalls/fs.js';
import { NR, SyscallError } from '../syscalls/libc.js';
import { sendSignal } from '../syscalls/process.js';

export interface SignalChoice {
  /** False when PID 1 neither catches nor blocks the signal: the kernel drops it, and waiting would be futile. */
  readonly sent: boolean;
  readonly signal: number;
}

const SIGINT = 2;
const SIGPWR = 30;
/** SIGRTMIN+3 of glibc: systemd's halt.target. */
const SYSTEMD_HALT = 37;

function masks(pid: number): { caught: bigint; blocked: bigint } {
  const status = readFile(`/proc/${pid}/status`);
  const mask = (name: string): bigint => BigInt(`0x${new RegExp(`^${name}:\\s*(\\S+)`, 'm').exec(status)?.[1] ?? '0'}`);
  return { caught: mask('SigCgt'), blocked: mask('SigBlk') };
}

/**
 * True in sigtimedwait(2), as busybox' init is when idle: the kernel then shows the signals waited for as unblocked
 * (it keeps the real mask to itself), though they are not ignored.
 */
function waitsForSignals(pid: number): boolean {
  return readFile(`/proc/${pid}/syscall`).startsWith(`${NR.rt_sigtimedwait} `);
}

const has = (mask: bigint, signal: number): boolean => ((mask >> BigInt(signal - 1)) & 1n) === 1n;

export function signalInit(request: {
  pid: number;
  pidfd: number;
  purpose: 'halt' | 'reboot';
  configured: number | null;
}): SignalChoice {
  const { pid, pidfd, purpose, configured } = request;
  let state: ReturnType<typeof masks>;
  try {
    state = masks(pid);
  } catch (error) {
    // PID 1 has just ended: the watcher reports that.
    if (error instanceof SyscallError && (error.errno === 'ENOENT' || error.errno === 'ESRCH'))
      return { sent: false, signal: 0 };
    throw error;
  }
  const { caught, blocked } = state;
  // systemd blocks its signals and reads them from a signalfd; that it blocks 37 is how it is recognised.
  const halt = has(blocked, SYSTEMD_HALT) ? SYSTEMD_HALT : SIGPWR;
  const signal = configured ?? (purpose === 'halt' ? halt : SIGINT);
  // PID 1 of a namespace is shielded from signals it has no handler for (LIF-16); only SIGKILL and SIGSTOP bite.
  const effective =
    has(caught, signal) || has(blocked, signal) || signal === 9 || signal === 19 || waitsForSignals(pid);
  if (!effective) return { sent: false, signal };
  return { sent: sendSignal(pidfd, signal), signal };
}
