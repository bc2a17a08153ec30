/** Events and memory of the container machine, and the pure rules of which request may follow which. */
import type { CaissonError } from '../spec/errors.js';
import { type ExitStatus, isFailure } from './exit.js';
import type { ContainerPort, TeardownTarget } from './port.js';
import type { Initiator, Reason, StateName } from './states.js';

export interface Command {
  /** Who asks; default `api`. */
  readonly initiator?: 'api' | 'host';
}

/** A request that PID 1 end. */
export type Request =
  /** `force` or a `timeoutMs` of 0 kills at once. */
  | (Command & { readonly type: 'STOP'; readonly timeoutMs: number; readonly force?: boolean })
  /** `force` allows a kill, and a start after it, once `timeoutMs` has passed in vain. */
  | (Command & { readonly type: 'REBOOT'; readonly timeoutMs: number; readonly force?: boolean })
  | (Command & { readonly type: 'KILL' });

export type ContainerEvent =
  | Request
  /** `again`: on account of a restart policy or group, which counts as a restart. */
  | (Command & { readonly type: 'START'; readonly again?: boolean })
  | (Command & { readonly type: 'FREEZE' })
  | (Command & { readonly type: 'UNFREEZE' })
  /** PID 1 was reaped. */
  | { readonly type: 'EXIT'; readonly exit: ExitStatus };

/**
 * One per top-level move, in order; the `from` of one is the `to` of the one before (LIF-03). It is emitted in the
 * middle of the transition, so a listener finds the actor's snapshot as it was before: all it needs is in the event.
 */
export interface MovedEvent {
  readonly type: 'moved';
  readonly from: StateName;
  readonly to: StateName;
  readonly reason: Reason;
  readonly initiator: Initiator;
  readonly error?: CaissonError;
  readonly exit?: ExitStatus;
  /** On the move to `stopped`: a requested reboot ended without the guest rebooting; start it again. */
  readonly restartWanted?: true;
  /** A stop or kill had been asked for, by `initiator`, when the life ended or the start was given up. */
  readonly stopAsked?: true;
}

/** A waiting request has come to nothing, the container lives on: reject its caller with `error`. */
export interface TimeoutEvent {
  readonly type: 'timeout';
  readonly operation: 'reboot';
  readonly error: CaissonError;
}

export type ContainerEmitted = MovedEvent | TimeoutEvent;

export interface ContainerInput {
  readonly port: ContainerPort;
  readonly restartCount?: number;
}

/** Kept flat and small: there is one per container, also while nothing happens. */
export interface ContainerContext {
  readonly port: ContainerPort;
  /** The top-level state last announced: the `from` of the next move. */
  readonly at: StateName;
  /** Why the last move happened, or the one about to be announced. */
  readonly reason: Reason;
  readonly initiator: Initiator;
  /** The request under way. */
  readonly intent: 'stop' | 'kill' | 'reboot' | undefined;
  readonly timeoutMs: number;
  readonly force: boolean;
  /** Processes were killed to end this life (LIF-28): the `killRequested` of `decodeExit`. */
  readonly forced: boolean;
  /** What PID 1 was last asked to end by. */
  readonly asked: 'signal' | 'command';
  /** PID 1 was sent a signal that it handles. */
  readonly heard: boolean;
  /** How PID 1 ended, from its reaping until the next start. */
  readonly exit: ExitStatus | undefined;
  /** What went wrong in the last move. */
  readonly error: CaissonError | undefined;
  /** How often the container came back by a reboot (LIF-41). */
  readonly restartCount: number;
  readonly restartWanted: boolean;
  /** The life has ended by itself, and must not come back: it has been restarted as often as it may (LIF-42, LIF-43). */
  readonly limited: boolean;
  /** What the teardown under way, or the last one, was told comes next. */
  readonly target: TeardownTarget | undefined;
}

export function initialContext(input: ContainerInput, at: StateName = 'stopped'): ContainerContext {
  return {
    port: input.port,
    at,
    reason: 'start',
    initiator: 'api',
    intent: undefined,
    timeoutMs: 0,
    force: false,
    forced: false,
    asked: 'signal',
    heard: false,
    exit: undefined,
    error: undefined,
    restartCount: input.restartCount ?? 0,
    restartWanted: false,
    limited: false,
    target: undefined,
  };
}

export function isRequest(event: { readonly type: string }): event is Request {
  return event.type === 'STOP' || event.type === 'REBOOT' || event.type === 'KILL';
}

const INTENT_OF = { STOP: 'stop', REBOOT: 'reboot', KILL: 'kill' } as const;

/** What the machine remembers of a request. */
export function intentOf(request: Request): Pick<ContainerContext, 'intent' | 'timeoutMs' | 'force' | 'initiator'> {
  const intent = INTENT_OF[request.type];
  const initiator = request.initiator ?? 'api';
  if (request.type === 'KILL') return { intent, timeoutMs: 0, force: true, initiator };
  const timeoutMs = Math.max(request.timeoutMs, 0);
  const force = request.force === true;
  // A forced stop does not wait; a forced reboot does, and only then kills (LIF-31).
  return { intent, timeoutMs: request.type === 'STOP' && force ? 0 : timeoutMs, force, initiator };
}

type Wish = Pick<ContainerContext, 'intent' | 'timeoutMs' | 'force'>;

/** No signal, no waiting. A reboot that may not force never kills, however short its time-out. */
export function killsAtOnce(wish: Wish): boolean {
  if (wish.intent === undefined || wish.timeoutMs > 0) return false;
  return wish.intent !== 'reboot' || wish.force;
}

function rank(wish: Wish): number {
  if (wish.intent === undefined) return 0;
  return (wish.intent === 'reboot' ? 1 : 3) + (killsAtOnce(wish) ? 1 : 0);
}

/** Whether the container starts again when the life under way has been cleaned up. */
export function comesBack(context: ContainerContext): boolean {
  if (context.exit === undefined || context.limited || stopWanted(context)) return false;
  return context.exit.kind === 'reboot' || (context.intent === 'reboot' && !endedBadly(context));
}

/** An end that nobody has asked for is the one too many. */
export function isOneTooMany(context: ContainerContext, exit: ExitStatus): boolean {
  return context.intent === undefined && context.port.isSpent?.(exit) === true;
}

export function stopWanted(context: ContainerContext): boolean {
  return context.intent === 'stop' || context.intent === 'kill';
}

/** The verdict on the life that ended. A reboot excuses a non-zero code as much as a stop does: both ask PID 1 to end. */
export function endedBadly(context: ContainerContext): boolean {
  return context.exit !== undefined && isFailure(context.exit, context.intent !== undefined);
}

/**
 * A request is taken when it asks for more than the one under way: reboot < reboot by force < stop < kill. An equal
 * or lesser one has nothing to add and is refused, so the caller can join the one under way or report BUSY.
 */
export function outranks(request: Request, context: ContainerContext): boolean {
  if (rank(intentOf(request)) <= rank(context)) return false;
  // PID 1 is gone by itself: that stays the guest's doing (LIF-32). All that can be prevented is a new start.
  return context.exit === undefined || (request.type !== 'REBOOT' && comesBack(context));
}
