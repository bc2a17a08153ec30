/** From whatever a step threw to an error that names the step. */
import { explainAction } from '../plan/explain.js';
import type { Step } from '../plan/step.js';
import { ERRNO, type ErrnoName } from '../spec/errno.js';
import { CaissonError, type StepRef } from '../spec/errors.js';
import { SyscallError } from '../syscalls/libc.js';

export function errnoOf(error: unknown): ErrnoName | undefined {
  if (error instanceof SyscallError) return error.errno;
  const code = (error as NodeJS.ErrnoException | undefined)?.code;
  return code !== undefined && code in ERRNO ? (code as ErrnoName) : undefined;
}

function stepRef(step: Step): StepRef {
  return {
    id: step.id,
    phase: step.phase,
    label: step.label,
    executor: step.executor,
    operands: explainAction(step.action),
  };
}

export function failureOf(step: Step, error: unknown): CaissonError {
  const errno = errnoOf(error);
  if (CaissonError.is(error)) {
    const { code, message, field, hint, cause, cleanupErrors } = error;
    return new CaissonError(code, message, {
      field,
      hint,
      cause,
      cleanupErrors,
      errno: error.errno ?? errno,
      step: stepRef(step),
    });
  }
  if (step.action.op === 'root.check' && errno === 'EXDEV') {
    return new CaissonError('ROOTFS_OVERMOUNTED', "something is mounted over the container's root file system", {
      step: stepRef(step),
      errno,
      hint: 'a mount, or a hook that mounts, has / as its target: give it another',
      cause: error,
    });
  }
  const reason = error instanceof Error ? error.message : String(error);
  const code = step.action.op === 'execve' ? 'EXEC_FAILED' : 'STEP_FAILED';
  return new CaissonError(code, `${step.phase}: ${step.label}: ${reason}`, {
    step: stepRef(step),
    errno,
    cause: error,
  });
}
