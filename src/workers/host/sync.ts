import type { HostAction } from '../../plan/step.js';
import { close } from '../../syscalls/fs.js';
import type { StepContext } from '../context.js';
import { waitReady } from '../init/ready.js';

/** Closes our copy of the child's end; not before the child has its own, since until then the table is shared. */
export function closeSync(action: Extract<HostAction, { op: 'sync.close' }>, context: StepContext): void {
  waitReady(context);
  const sync = context.get(action.sync);
  context.clear(action.sync);
  close(sync);
}
