/** What the process says at its end, in the manner of shells and container tools. */
import { constants } from 'node:os';
import type { ExitStatus } from '../machines/exit.js';
import type { ErrorCode } from '../spec/errors.js';

/** Caisson itself failed: bad options, a refused spec, a failed start. */
export const OWN_FAILURE = 125;
const CANNOT_EXECUTE = 126;
const NOT_FOUND = 127;
/** By which a manager that runs as a unit asks systemd for a restart: no payload may say that for it (HST-59). */
const RESTART = 133;
const SIGKILL = 9;
const SIGSYS = 31;

export function exitCodeOf(exit: ExitStatus | null): number {
  const code = plainCodeOf(exit);
  return code === RESTART ? 1 : code;
}

function plainCodeOf(exit: ExitStatus | null): number {
  switch (exit?.kind) {
    case undefined:
    case 'lost':
      return OWN_FAILURE;
    case 'halt':
    case 'reboot':
      return 0;
    case 'exit':
      return exit.status;
    case 'killed':
    case 'oom':
      return 128 + SIGKILL;
    case 'seccomp':
      return 128 + SIGSYS;
    case 'signal':
      return 128 + exit.number;
  }
}

/** A run that was told to end before its container ran: what a program without a handler for the signal shows. */
export function exitCodeOfSignal(signal: NodeJS.Signals): number {
  return 128 + constants.signals[signal];
}

const CANNOT_BE_EXECUTED: ReadonlySet<ErrorCode> = new Set([
  'EXEC_FAILED',
  'ROOTFS_INIT_NOT_FILE',
  'ROOTFS_INIT_NOT_EXECUTABLE',
  'ROOTFS_INIT_INTERPRETER',
  'ROOTFS_INIT_ARCH',
]);

export function exitCodeOfError(code: ErrorCode): number {
  if (code === 'ROOTFS_INIT_MISSING' || code === 'ROOTFS_INIT_DANGLING') return NOT_FOUND;
  return CANNOT_BE_EXECUTED.has(code) ? CANNOT_EXECUTE : OWN_FAILURE;
}
