/** The child's first report: it has a descriptor table of its own, and stands at the first gate. */
import { CaissonError } from '../../spec/errors.js';
import { poll } from '../../syscalls/process.js';
import type { StepContext } from '../context.js';

const READY_TIMEOUT_MS = 10_000;

/** Waits for it. @throws CaissonError CHILD_DIED, TIMEOUT */
export function waitReady(context: StepContext): void {
  const { program } = context.program;
  if (program.ready) return;
  const [, dead] = poll([context.get('fd:gate'), context.get('fd:pidfd')], READY_TIMEOUT_MS);
  if (program.ready) return;
  if (dead !== 0) throw new CaissonError('CHILD_DIED', 'the child died before it reached the first gate');
  throw new CaissonError('TIMEOUT', `the child did not reach the first gate within ${READY_TIMEOUT_MS} ms`);
}
