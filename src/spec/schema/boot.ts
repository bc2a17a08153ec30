/** `boot`: what the host's own start and end mean to a container (LIF-44 to LIF-46, NET-35). */
import * as v from 'valibot';
import { CaissonError } from '../errors.js';
import { flag, object, whole } from './values.js';

const PRIORITY = 1_000_000;
const priority = whole(-PRIORITY, PRIORITY);
const duration = whole(0, 86_400_000);

export const boot = object({
  /** Whether autostart() starts it; `last-state`: if it ran last. */
  autostart: v.optional(v.union([v.boolean(), v.literal('last-state')], 'must be true, false or last-state')),
  /** Higher is started earlier, but after all that have neither priority nor delay. */
  priority: v.optional(priority),
  /** Milliseconds to wait after it has been started, before the next is. */
  delay: v.optional(duration),
  /** Start it again at once when it ends and nobody has asked for that (LIF-42). */
  autorestart: v.optional(flag),
  /** Higher is stopped earlier. */
  stopPriority: v.optional(priority),
  /** Milliseconds it is given to end when the host shuts down. */
  hostShutdownTimeout: v.optional(duration),
  hostShutdownAction: v.optional(
    v.picklist(['stop', 'force-stop', 'stateful-stop'], 'must be stop, force-stop or stateful-stop'),
  ),
});
export type BootInput = v.InferOutput<typeof boot>;

export interface BootSpec {
  readonly autostart: boolean | 'last-state';
  readonly priority: number | null;
  readonly delay: number;
  readonly autorestart: boolean;
  readonly stopPriority: number;
  readonly hostShutdownTimeout: number;
  readonly hostShutdownAction: 'stop' | 'force-stop';
}

/** @throws CaissonError UNSUPPORTED */
export function resolveBoot(input: BootInput = {}): BootSpec {
  const action = input.hostShutdownAction ?? 'stop';
  if (action === 'stateful-stop') {
    throw new CaissonError('UNSUPPORTED', 'boot.hostShutdownAction: the state of processes cannot be kept yet', {
      field: 'boot.hostShutdownAction',
      hint: 'use stop or force-stop',
    });
  }
  return {
    autostart: input.autostart ?? 'last-state',
    priority: input.priority ?? null,
    delay: input.delay ?? 0,
    autorestart: input.autorestart ?? false,
    stopPriority: input.stopPriority ?? 0,
    hostShutdownTimeout: input.hostShutdownTimeout ?? 30_000,
    hostShutdownAction: action,
  };
}
