/** How PID 1 ended: the one place that turns a wait status into a meaning (lifecycle.md §3, LIF-15 to LIF-19). */
import { signalName } from '../spec/signals.js';

/** What `waitid` said, and what else has to be known to read it. */
export interface ExitFacts {
  readonly code: 'exited' | 'killed' | 'dumped';
  /** The exit code when `exited`, else the signal's number. */
  readonly status: number;
  /** The cgroup's `oom_kill` counter has grown. */
  readonly oomKilled: boolean;
  /** We had sent SIGKILL ourselves. */
  readonly killRequested: boolean;
  /** `inferred`: not the raw status but a shell-style code, in which 128 + n stands for signal n (LIF-17). */
  readonly confidence: Confidence;
  /** `X_SYSTEMD_SHUTDOWN=` of the notify stream, if one came (LIF-19). */
  readonly shutdown?: string | undefined;
}

export type Confidence = 'exact' | 'inferred';

interface ExitBase {
  readonly confidence: Confidence;
  readonly shutdown?: string;
}

export type ExitStatus =
  | (ExitBase & { readonly kind: 'reboot' })
  | (ExitBase & { readonly kind: 'halt' })
  | (ExitBase & { readonly kind: 'exit'; readonly status: number })
  | (ExitBase & { readonly kind: 'killed'; readonly requested: true })
  /** It ended while nobody watched, and the kernel cannot tell how (LIF-13). */
  | (ExitBase & { readonly kind: 'lost' })
  | (ExitBase & { readonly kind: 'oom' })
  | (ExitBase & { readonly kind: 'seccomp'; readonly core: boolean })
  | (ExitBase & { readonly kind: 'signal'; readonly number: number; readonly signal: string; readonly core: boolean });
export type ExitKind = ExitStatus['kind'];

const SIGHUP = 1;
const SIGINT = 2;
const SIGKILL = 9;
const SIGSYS = 31;
const LAST_SIGNAL = 64;

export function decodeExit(facts: ExitFacts): ExitStatus {
  const base: ExitBase =
    facts.shutdown === undefined
      ? { confidence: facts.confidence }
      : { confidence: facts.confidence, shutdown: facts.shutdown };
  if (facts.code !== 'exited') return decodeSignal(facts, base, facts.status, facts.code === 'dumped');
  const inferred = facts.status - 128;
  // Only when the raw status was lost: an init may well return 129 itself, and then it is no reboot.
  if (facts.confidence === 'inferred' && inferred >= 1 && inferred <= LAST_SIGNAL) {
    return decodeSignal(facts, base, inferred, false);
  }
  return { ...base, kind: 'exit', status: facts.status };
}

function decodeSignal(facts: ExitFacts, base: ExitBase, number: number, core: boolean): ExitStatus {
  // reboot(2) makes the kernel end the namespace's init as if by these two signals; PID 1 without a handler cannot
  // be killed by the real ones (LIF-16), and reboot(2) never dumps core.
  if (number === SIGHUP && !core) return { ...base, kind: 'reboot' };
  if (number === SIGINT && !core) return { ...base, kind: 'halt' };
  if (number === SIGKILL) {
    // Our kill first: the oom counter also grows for any other process of the container.
    if (facts.killRequested) return { ...base, kind: 'killed', requested: true };
    if (facts.oomKilled) return { ...base, kind: 'oom' };
  }
  if (number === SIGSYS) return { ...base, kind: 'seccomp', core };
  return { ...base, kind: 'signal', number, signal: signalName(number), core };
}

/**
 * Whether this end makes the container `failed` rather than `stopped`. A stop request excuses a non-zero code, as
 * many inits return one when told to end, but never a crash.
 */
export function isFailure(exit: ExitStatus, stopRequested: boolean): boolean {
  switch (exit.kind) {
    case 'reboot':
    case 'halt':
    case 'killed':
    case 'lost':
      return false;
    case 'exit':
      return exit.status !== 0 && !stopRequested;
    case 'oom':
    case 'seccomp':
    case 'signal':
      return true;
  }
}

/** For people: `exited with status 3`, `died of SIGSEGV, core dumped`. */
export function describe(exit: ExitStatus): string {
  const text = describeKind(exit);
  return exit.confidence === 'inferred' ? `${text} (inferred)` : text;
}

function describeKind(exit: ExitStatus): string {
  switch (exit.kind) {
    case 'reboot':
      return exit.shutdown === 'kexec' ? 'rebooted (kexec)' : 'rebooted';
    case 'halt':
      // The wait status cannot tell the two apart; systemd can.
      if (exit.shutdown === 'poweroff') return 'powered off';
      return exit.shutdown === 'halt' ? 'halted' : 'halted or powered off';
    case 'exit':
      return `exited with status ${exit.status}`;
    case 'killed':
      return 'killed on request';
    case 'lost':
      return 'ended while nobody watched';
    case 'oom':
      return 'killed by the kernel: out of memory';
    case 'seccomp':
      return `killed by its seccomp filter${exit.core ? ', core dumped' : ''}`;
    case 'signal':
      return `died of ${exit.signal}${exit.core ? ', core dumped' : ''}`;
  }
}
