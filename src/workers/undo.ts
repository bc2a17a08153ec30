/** Rolling back: what was done is undone, newest first, and every descriptor is closed. */
import { type HostAction, isDescriptor } from '../plan/step.js';
import { asCaissonError, type ErrorJSON } from '../spec/errors.js';
import { close } from '../syscalls/fs.js';
import type { StepContext } from './context.js';
import { errnoOf } from './failure.js';
import { runHostAction } from './host/actions.js';
import { now, type StepRecord } from './record.js';

/** A step that was done and can be undone. */
export interface UndoEntry {
  readonly id: string;
  readonly action: HostAction;
}

/** Goes on after an error: one thing that cannot be undone must not keep the others. */
export function rollBack(
  entries: readonly UndoEntry[],
  context: StepContext,
): { records: StepRecord[]; errors: ErrorJSON[] } {
  const records: StepRecord[] = [];
  const errors: ErrorJSON[] = [];
  for (const { id, action } of [...entries].reverse()) {
    const start = now();
    try {
      runHostAction(action, context);
      records.push({ id, start, end: now(), outcome: 'undone' });
    } catch (error) {
      // Two steps may make and rename the same thing: what is gone needs no undoing.
      if (errnoOf(error) === 'ENOENT') continue;
      errors.push(asCaissonError(error, 'CLEANUP_FAILED').toJSON());
      records.push({ id, start, end: now(), outcome: 'failed' });
    }
  }
  for (const [register, fd] of Object.entries(context.registers)) {
    context.clear(register);
    if (!isDescriptor(register)) continue;
    try {
      close(fd);
    } catch (error) {
      errors.push(asCaissonError(error, 'CLEANUP_FAILED').toJSON());
    }
  }
  return { records, errors };
}
