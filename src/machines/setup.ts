/** The vocabulary of the container machine: its named actors, actions, guards and delays. */
import { assign, fromPromise, setup } from 'xstate';
import { asCaissonError, CaissonError } from '../spec/errors.js';
import type { ExitStatus } from './exit.js';
import {
  type ContainerContext,
  type ContainerEmitted,
  type ContainerEvent,
  type ContainerInput,
  comesBack,
  endedBadly,
  intentOf,
  isOneTooMany,
  isRequest,
  killsAtOnce,
  outranks,
  stopWanted,
} from './intent.js';
import type { CommandOutcome, ContainerPort, SignalOutcome, SignalPurpose, TeardownTarget } from './port.js';
import { hasEnded, type Initiator, type Phase, type Reason, type StateName } from './states.js';

export interface PortInput {
  readonly port: ContainerPort;
}

function unprovided(name: string): CaissonError {
  return new CaissonError('INTERNAL', `the container machine was started without its "${name}"`);
}

/** Placeholder of an actor that is only named here. */
function named<TOutput, TInput extends PortInput = PortInput>(name: string) {
  return fromPromise<TOutput, TInput>(() => Promise.reject(unprovided(name)));
}

/** How long SIGKILL may take to reap PID 1 before it counts as unkillable (LIF-29). */
export const KILL_WAIT_MS = 10_000;
/** What init is given after a thaw before it is signalled (LIF-30). */
export const THAW_GRACE_MS = 3_000;
/** The longest that PID 1 is given to react to a signal it handles before the image's own command is tried (LIF-48). */
export const SIGNAL_PATIENCE_MS = 60_000;
/** Node fires a longer timer at once. */
const MAX_TIMER_MS = 2 ** 31 - 1;

function newLife(context: ContainerContext) {
  return {
    intent: undefined,
    force: false,
    forced: false,
    timeoutMs: 0,
    exit: undefined,
    error: undefined,
    // A start that makes up for a reboot by force counts as the reboot it was asked to be.
    restartCount: context.restartCount + (context.restartWanted ? 1 : 0),
    restartWanted: false,
    limited: false,
    target: undefined,
  };
}

function initiatorOf(event: ContainerEvent): Initiator {
  return ('initiator' in event ? event.initiator : undefined) ?? 'api';
}

export interface Because {
  readonly reason: Reason;
  readonly error?: CaissonError;
}

export const base = setup({
  types: {
    context: {} as ContainerContext,
    events: {} as ContainerEvent,
    emitted: {} as ContainerEmitted,
    input: {} as ContainerInput,
  },
  actors: {
    runPhase: named<void, PortInput & { readonly phase: Phase }>('runPhase'),
    signal: named<SignalOutcome, PortInput & { readonly purpose: SignalPurpose }>('signal'),
    command: named<CommandOutcome, PortInput & { readonly purpose: SignalPurpose }>('command'),
    killAll: named<void>('killAll'),
    teardown: named<void, PortInput & { readonly exit: ExitStatus; readonly target: TeardownTarget }>('teardown'),
    freeze: named<void>('freeze'),
    thaw: named<void>('thaw'),
  },
  delays: {
    stopTimeout: ({ context }) => Math.min(context.timeoutMs, MAX_TIMER_MS),
    signalPatience: ({ context }) => Math.min(context.timeoutMs / 2, SIGNAL_PATIENCE_MS),
    killWait: KILL_WAIT_MS,
    thawGrace: THAW_GRACE_MS,
  },
  guards: {
    outranks: ({ context, event }) => isRequest(event) && outranks(event, context),
    /** The event asks for a kill without any waiting. */
    asksKill: ({ event }) => isRequest(event) && killsAtOnce(intentOf(event)),
    /** The request remembered asks for a kill without any waiting. */
    killsAtOnce: ({ context }) => killsAtOnce(context),
    wanted: ({ context }) => context.intent !== undefined,
    stopWanted: ({ context }) => stopWanted(context),
    heard: ({ context }) => context.heard,
    mayNotForce: ({ context }) => context.intent === 'reboot' && !context.force,
    exited: ({ context }) => context.exit !== undefined,
    exitedToReboot: ({ context }) => context.exit?.kind === 'reboot' && !context.limited,
    asksReboot: ({ context, event }) =>
      event.type === 'EXIT' && event.exit.kind === 'reboot' && !isOneTooMany(context, event.exit),
    limited: ({ context }) => context.limited,
    endedBadly: ({ context }) => endedBadly(context),
    /** A teardown has kept what a reboot keeps, but the reboot has been called off meanwhile. */
    calledOff: ({ context }) => context.target === 'reboot' && !comesBack(context),
    /** A thaw has failed, but `frozen` is no place to go back to: PID 1 is gone, or about to be killed anyway. */
    mustLeaveFrozen: ({ context }) => context.exit !== undefined || killsAtOnce(context),
  },
  actions: {
    cancelStart: () => {
      throw unprovided('cancelStart');
    },
    watchPid1: () => {
      throw unprovided('watchPid1');
    },
    begin: assign(({ context, event }) => ({
      ...newLife(event.type === 'START' && event.again === true ? { ...context, restartWanted: true } : context),
      reason: 'start' as const,
      initiator: initiatorOf(event),
    })),
    /** After a reboot: whoever caused it also caused the new start. */
    beginAgain: assign(({ context }) => ({ ...newLife(context), restartCount: context.restartCount + 1 })),
    startFreeze: assign(({ event }) => ({
      reason: 'freeze' as const,
      error: undefined,
      initiator: initiatorOf(event),
    })),
    startThaw: assign(({ event }) => ({
      reason: 'unfreeze' as const,
      error: undefined,
      initiator: initiatorOf(event),
    })),
    /** Every top-level transition says why, with the error that caused it, if one did. */
    because: assign((_, params: Because) => ({ reason: params.reason, error: params.error })),
    /** The same for a move made on account of a request, or of PID 1's end. */
    becauseWanted: assign(({ context }) => ({
      reason: context.intent ?? (context.exit === undefined ? context.reason : ('exit' as const)),
      error: undefined,
    })),
    request: assign(({ event }) => (isRequest(event) ? intentOf(event) : {})),
    dropIntent: assign({ intent: undefined, force: false, timeoutMs: 0 }),
    recordExit: assign(({ context, event }) =>
      event.type === 'EXIT'
        ? {
            exit: event.exit,
            limited: isOneTooMany(context, event.exit),
            // While stopping without a request a reboot has timed out: its signal was sent, so the end is no guest's whim.
            initiator:
              context.intent === undefined && context.at !== 'stopping' ? ('guest' as const) : context.initiator,
          }
        : {},
    ),
    /** What ends PID 1 from now on is its own doing: our signal has not reached it. */
    leaveToGuest: assign({ initiator: 'guest' }),
    aimTeardown: assign(({ context }) => ({
      target: comesBack(context) ? ('reboot' as const) : ('stop' as const),
    })),
    markForced: assign({ forced: true }),
    beginAsking: assign({ asked: 'signal', heard: false }),
    markHeard: assign({ asked: 'signal', heard: true }),
    markCommand: assign({ asked: 'command' }),
    markSignal: assign({ asked: 'signal' }),
    wantRestart: assign(({ context }) => ({ restartWanted: comesBack(context) })),
    recordError: assign((_, params: { readonly error: unknown }) => ({ error: asCaissonError(params.error) })),
  },
});

/** Announces the entry into a top-level state: an entry action, because a state may be left in the same macrostep. */
export function entered(to: StateName) {
  return base.enqueueActions(({ context, enqueue }) => {
    const { at: from, reason, initiator, error, exit, restartWanted } = context;
    // The initial state is entered too, but not by a move.
    if (from === to) return;
    enqueue.emit({
      type: 'moved',
      from,
      to,
      reason,
      initiator,
      ...(error === undefined ? {} : { error }),
      ...(exit === undefined ? {} : { exit }),
      ...(restartWanted ? { restartWanted } : {}),
      ...(hasEnded(to) && stopWanted(context) ? { stopAsked: true as const } : {}),
    });
    enqueue.assign({ at: to });
  });
}

/** A request that can only be kept in mind for now; also the way a reboot under way is turned into a stop. */
export const remember = { guard: 'outranks', actions: 'request' } as const;

export const becauseReboot = { type: 'because', params: { reason: 'reboot' } } as const;
