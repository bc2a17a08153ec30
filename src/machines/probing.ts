/** Looks at a container at intervals, and says what that means: up, healthy, unhealthy. */
import { assign, emit, fromPromise, setup } from 'xstate';
import type { HealthRules } from '../spec/schema/probe.js';

export interface ProbeResult {
  readonly ok: boolean;
  /** For people: why not. */
  readonly why: string;
}

export const HEALTH = ['starting', 'healthy', 'unhealthy'] as const;
export type Health = (typeof HEALTH)[number];

export interface ProbePort {
  /** Milliseconds of a clock that only goes forward. Must not throw. */
  now(): number;
  /** Settles in bounded time; a rejection is a look that failed. */
  look(): Promise<ProbeResult>;
}

export type ProbingRules = Pick<HealthRules, 'interval' | 'retries' | 'startPeriod'>;

export interface Judgement {
  readonly health: Health;
  /** Looks in a row that failed. */
  readonly failures: number;
}

/** @param age ms since it began. */
export function judge(rules: ProbingRules, before: Judgement, ok: boolean, age: number): Judgement {
  if (ok) return { health: 'healthy', failures: 0 };
  // One that has been up once has no excuse any more.
  if (before.health === 'starting' && age < rules.startPeriod) return before;
  const failures = before.failures + 1;
  return { health: failures >= rules.retries ? 'unhealthy' : before.health, failures };
}

export interface ProbingInput {
  readonly rules: ProbingRules;
  readonly port: ProbePort;
  /** What was known when it was last looked at. */
  readonly known?: Health;
}

interface ProbingContext {
  readonly rules: ProbingRules;
  readonly port: ProbePort;
  readonly begun: number;
  readonly judgement: Judgement;
  readonly told: Health;
  readonly why: string;
}

export const probingMachine = setup({
  types: {
    context: {} as ProbingContext,
    emitted: {} as { readonly type: 'health'; readonly health: Health; readonly why: string },
    input: {} as ProbingInput,
  },
  actors: {
    look: fromPromise<ProbeResult, ProbePort>(async ({ input }) => {
      try {
        return await input.look();
      } catch (error) {
        return { ok: false, why: error instanceof Error ? error.message : String(error) };
      }
    }),
  },
  delays: { interval: ({ context }) => context.rules.interval },
  guards: { hasChanged: ({ context }) => context.judgement.health !== context.told },
  actions: {
    tell: emit(({ context }) => ({ type: 'health' as const, health: context.judgement.health, why: context.why })),
    told: assign(({ context }) => ({ told: context.judgement.health })),
  },
}).createMachine({
  id: 'probing',
  context: ({ input }) => ({
    rules: input.rules,
    port: input.port,
    begun: input.port.now(),
    judgement: { health: input.known ?? 'starting', failures: 0 },
    told: input.known ?? 'starting',
    why: '',
  }),
  initial: 'looking',
  states: {
    looking: {
      invoke: {
        src: 'look',
        input: ({ context }) => context.port,
        onDone: {
          target: 'judging',
          actions: assign(({ context, event }) => ({
            judgement: judge(context.rules, context.judgement, event.output.ok, context.port.now() - context.begun),
            why: event.output.why,
          })),
        },
      },
    },
    judging: { always: [{ guard: 'hasChanged', target: 'waiting', actions: ['tell', 'told'] }, { target: 'waiting' }] },
    waiting: { after: { interval: 'looking' } },
  },
});
export type ProbingMachine = typeof probingMachine;
