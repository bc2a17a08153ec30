/** Events of supervision: what comes back, and why. */
import type { GroupReason, GroupState } from '../machines/group.js';
import type { GroupCause } from '../machines/group-policy.js';
import type { Health } from '../machines/probing.js';
import type { RestartCause } from '../machines/restart-policy.js';
import type { ErrorJSON } from '../spec/errors.js';

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
  | { readonly type: 'restart-scheduled'; readonly attempt: number; readonly delay: number }
  /** What its health check has found; `message` says why it is not healthy. */
  | { readonly type: 'health'; readonly health: Health; readonly message: string }
  | { readonly type: 'group-created'; readonly group: string }
  | { readonly type: 'group-removed'; readonly group: string }
  | {
      readonly type: 'group-state';
      readonly group: string;
      readonly from: GroupState;
      readonly to: GroupState;
      readonly reason: GroupReason;
      readonly error?: ErrorJSON;
    }
  /** A child of a group has ended: what the group makes of that. */
  | {
      readonly type: 'group-decided';
      readonly group: string;
      readonly child: string;
      readonly decision: 'restart' | 'stay' | 'give-up';
      readonly cause: GroupCause;
      readonly message: string;
      /** All that are started again on its account, in their order. */
      readonly affected: readonly string[];
    };
