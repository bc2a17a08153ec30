/** Choosing and sending the signal that asks PID 1 to halt or to reboot (LIF-21 to LIF-24, LIF-49). */
import { readlinkSync } from 'node:fs';
import { detectInit, INIT_PROFILES, type InitName, isDeafTo, SYSTEMD_HALT } from '../spec/inits.js';
import { readFile } from '../syscalls/fs.js';
import { NR, SyscallError } from '../syscalls/libc.js';
import { sendSignal } from '../syscalls/process.js';

export interface SignalChoice {
  /** False when PID 1 neither catches nor blocks the signal: the kernel drops it, and waiting would be futile. */
  readonly sent: boolean;
  readonly signal: number;
  /** Not sent for now: systemd is on its way up, and will take its signals once it blocks them (LIF-25). */
  readonly early: boolean;
  /** Not sent: the init's own command is known to do it, or may do what the signal cannot (LIF-48). */
  readonly command: boolean;
}

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

/** The program PID 1 runs now: an init may be a script that executes the real one. */
function runningInit(pid: number, blocksHalt: boolean): InitName {
  try {
    return detectInit(readlinkSync(`/proc/${pid}/exe`), readFile(`/proc/${pid}/comm`).trim(), blocksHalt);
  } catch {
    // It has just ended, or may not be looked at: its masks say what is left to say.
    return blocksHalt ? 'systemd' : 'unknown';
  }
}

const has = (mask: bigint, signal: number): boolean => ((mask >> BigInt(signal - 1)) & 1n) === 1n;

export interface SignalRequest {
  readonly pid: number;
  readonly pidfd: number;
  readonly purpose: 'halt' | 'reboot';
  readonly configured: number | null;
  readonly profile: InitName | 'auto';
  /** Also a signal that is not known to do anything. */
  readonly insist: boolean;
}

export function signalInit(request: SignalRequest): SignalChoice {
  const { pid, pidfd, purpose, configured, profile, insist } = request;
  let state: ReturnType<typeof masks>;
  try {
    state = masks(pid);
  } catch (error) {
    // PID 1 has just ended: the watcher reports that.
    if (error instanceof SyscallError && (error.errno === 'ENOENT' || error.errno === 'ESRCH'))
      return { sent: false, signal: 0, early: false, command: false };
    throw error;
  }
  const { caught, blocked } = state;
  // systemd blocks its signals and reads them from a signalfd; by that it is recognised under any name.
  const blocksHalt = has(blocked, SYSTEMD_HALT);
  const init = profile === 'auto' ? runningInit(pid, blocksHalt) : profile;
  const signal = configured ?? INIT_PROFILES[init][purpose];
  const unsent = { sent: false, signal, early: false, command: false };
  if (configured === null && init === 'systemd' && !blocksHalt) return { ...unsent, early: true };
  if (configured === null && !insist && isDeafTo(init, purpose)) return { ...unsent, command: true };
  // PID 1 of a namespace is shielded from signals it has no handler for (LIF-16); only SIGKILL and SIGSTOP bite.
  const effective =
    has(caught, signal) || has(blocked, signal) || signal === 9 || signal === 19 || waitsForSignals(pid);
  // A program that is no init has no use for the commands of one.
  if (!effective) return { ...unsent, command: !insist && init !== 'unknown' };
  return { ...unsent, sent: sendSignal(pidfd, signal) };
}
