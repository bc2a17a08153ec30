/** Events of supervision: what comes back, and why. */
import type { RestartCause } from '../machines/restart-policy.js';

export type TreeEventBody =
  /** A container has ended, or its start has failed: what its restart policy makes of that. */
  | {
      readonly type: 'restart-decided';
      readonly decision: 'restart' | 'stay' | 'give-up';
      readonly cause: RestartCause;
      /** What had happened: `PID 1 exited with status 3`. */
      readonly message: string;
    }
  /** It is started again after `delay` milliseconds. */
  | { readonly type: 'restart-scheduled'; readonly attempt: number; readonly delay: number };
