/** Errors for a person: what, where, and what to do. */
import process from 'node:process';
import { CaissonError } from '../spec/errors.js';
import { exitCodeOfError, OWN_FAILURE } from './exit-code.js';

/** Prints an error; returns the exit code. Standard error may be closed or full: that is its reader's loss. */
export function printError(error: unknown): number {
  process.stderr.once('error', () => undefined);
  process.stderr.write(describe(error));
  return CaissonError.is(error) ? exitCodeOfError(error.code) : OWN_FAILURE;
}

function describe(error: unknown): string {
  if (CaissonError.is(error)) return describeOwn(error);
  const errno = errnoOf(error);
  if (errno !== undefined) return describeSystem((error as Error).message, errno);
  const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
  return `caisson: ${text}\n  hint: this is a defect of Caisson; please report it\n`;
}

function describeOwn(error: CaissonError): string {
  const { message, code, field, step, hint = needsRoot(), cleanupErrors = [] } = error;
  const lines = [`caisson: ${message} [${code}]`];
  if (field !== undefined && field !== '') lines.push(`  field: ${field}`);
  if (step !== undefined) lines.push(`  step: ${step.id} (${step.executor}): ${step.operands}`);
  if (hint !== undefined) lines.push(`  hint: ${hint}`);
  for (const cleanup of cleanupErrors) lines.push(`  cleanup: ${cleanup.message}`);
  return `${lines.join('\n')}\n`;
}

/** Node's own, or of our system-call layer: its text says which call and which path, and no stack says more. */
function errnoOf(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined;
  const { syscall, code, errno } = error as { syscall?: unknown; code?: unknown; errno?: unknown };
  if (typeof syscall === 'string' && typeof code === 'string') return code;
  return error.name === 'SyscallError' && typeof errno === 'string' ? errno : undefined;
}

function describeSystem(message: string, errno: string): string {
  const hint = needsRoot();
  return `caisson: ${message.replace(`${errno}: `, '')} [${errno}]\n${hint === undefined ? '' : `  hint: ${hint}\n`}`;
}

/** The likely cause of whatever else has failed. */
function needsRoot(): string | undefined {
  return process.geteuid?.() === 0 ? undefined : 'Caisson needs root to run containers';
}
