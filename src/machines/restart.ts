/** Whether and when a container comes back, as a machine: it waits out the delay that restart-policy.ts decides. */
import { assign, emit, setup } from 'xstate';
import type { RestartRules } from '../spec/schema/restart.js';
import {
  decideRestart,
  type LifeEnd,
  NO_RESTARTS,
  type RestartDecision,
  type RestartMemory,
  remembered,
} from './restart-policy.js';

/** What the machine cannot know by itself. Neither may throw. */
export interface RestartPort {
  /** Milliseconds of a clock that only goes forward. */
  now(): number;
  /** 0 to 1. */
  chance(): number;
}

export type RestartEmitted =
  | { readonly type: 'decided'; readonly decision: RestartDecision }
  /** The delay is over: start it. */
  | { readonly type: 'again' };

export type RestartEvent =
  | { readonly type: 'ENDED'; readonly end: LifeEnd }
  /** The guest has rebooted: it counts against the limit. */
  | { readonly type: 'REBOOTED' }
  /** Somebody has started it. `fresh`: not on account of a decision made here. */
  | { readonly type: 'STARTED'; readonly fresh: boolean }
  /** It is to stay as it is after all. */
  | { readonly type: 'CANCEL' };

interface RestartContext {
  readonly rules: RestartRules;
  readonly port: RestartPort;
  readonly memory: RestartMemory;
  readonly decision: RestartDecision | undefined;
}

const types = {
  context: {} as RestartContext,
  events: {} as RestartEvent,
  emitted: {} as RestartEmitted,
  input: {} as { readonly rules: RestartRules; readonly port: RestartPort },
};

export const restartMachine = setup({
  types,
  delays: {
    backoff: ({ context }) => (context.decision?.action === 'restart' ? context.decision.delayMs : 0),
  },
  guards: {
    comesBack: ({ context }) => context.decision?.action === 'restart',
    fresh: ({ event }) => event.type === 'STARTED' && event.fresh,
  },
  actions: {
    decide: assign(({ context, event }) => {
      if (event.type !== 'ENDED') return {};
      const { rules, memory, port } = context;
      return decideRestart(rules, memory, event.end, port.now(), port.chance());
    }),
    // Only entered with a decision made.
    tell: emit(({ context }) => ({ type: 'decided' as const, decision: context.decision! })),
    startAgain: emit({ type: 'again' as const }),
    count: assign(({ context }) => ({ memory: remembered(context.rules, context.memory, context.port.now()) })),
    /** Whoever starts it by hand knows what has been: it begins anew. */
    forget: assign({ memory: NO_RESTARTS, decision: undefined }),
    leave: assign(({ context }) => ({
      memory: NO_RESTARTS,
      decision: { action: 'stay' as const, cause: 'asked' as const, text: context.decision?.text ?? '' },
    })),
  },
}).createMachine({
  id: 'restart',
  context: ({ input }) => ({ ...input, memory: NO_RESTARTS, decision: undefined }),
  initial: 'idle',
  on: {
    ENDED: { target: '.deciding', actions: 'decide' },
    REBOOTED: { actions: 'count' },
    STARTED: [{ guard: 'fresh', target: '.idle', actions: 'forget' }, { target: '.idle' }],
  },
  states: {
    idle: {},
    deciding: {
      entry: 'tell',
      always: [{ guard: 'comesBack', target: 'waiting' }, { target: 'idle' }],
    },
    waiting: {
      on: { CANCEL: { target: 'idle', actions: ['leave', 'tell'] } },
      after: { backoff: { target: 'idle', actions: 'startAgain' } },
    },
  },
});
export type RestartMachine = typeof restartMachine;
