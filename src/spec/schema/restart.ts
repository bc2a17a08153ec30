/** `restart`: what happens when a container ends that nobody has asked to end (LIF-43). */
import * as v from 'valibot';
import { object, whole } from './values.js';

export const RESTART_POLICIES = ['no', 'on-failure', 'always', 'unless-stopped'] as const;
export type RestartPolicy = (typeof RESTART_POLICIES)[number];

const DAY_MS = 86_400_000;
const duration = whole(0, DAY_MS);

function between(min: number, max: number) {
  return v.pipe(
    v.number('must be a number'),
    v.finite('must be a finite number'),
    v.minValue(min, `must be at least ${min}`),
    v.maxValue(max, `must be at most ${max}`),
  );
}

export const restart = object({
  policy: v.optional(v.picklist(RESTART_POLICIES, 'must be no, on-failure, always or unless-stopped')),
  /** How long it waits before a restart. */
  backoff: v.optional(
    object({
      /** Milliseconds before the first restart. */
      initial: v.optional(duration),
      /** By how much each wait is longer than the last. */
      factor: v.optional(between(1, 100)),
      /** Milliseconds that no wait exceeds. */
      max: v.optional(duration),
      /** Part of a wait by which it is made longer or shorter at random, so that many do not come back at once. */
      jitter: v.optional(between(0, 1)),
      /** Milliseconds that a life has to last for the next wait to be the first again. */
      resetAfter: v.optional(duration),
    }),
  ),
  /** More restarts than this, the guest's own reboots included, and it is given up (LIF-42). */
  limit: v.optional(
    object({
      count: v.optional(whole(0, 1000)),
      /** Milliseconds. */
      period: v.optional(v.pipe(duration, v.minValue(1, 'must be at least 1'))),
    }),
  ),
});

export interface RestartRules {
  readonly policy: RestartPolicy;
  readonly backoff: {
    readonly initial: number;
    readonly factor: number;
    readonly max: number;
    readonly jitter: number;
    readonly resetAfter: number;
  };
  readonly limit: { readonly count: number; readonly period: number };
}

export const DEFAULT_RESTART: RestartRules = {
  policy: 'no',
  backoff: { initial: 100, factor: 2, max: 60_000, jitter: 0.1, resetAfter: 10_000 },
  // As Incus limits boot.autorestart (LIF-42).
  limit: { count: 10, period: 60_000 },
};

export function resolveRestart(input: v.InferOutput<typeof restart> = {}): RestartRules {
  const { policy, backoff, limit } = DEFAULT_RESTART;
  const asked = input.backoff ?? {};
  return {
    policy: input.policy ?? policy,
    backoff: {
      initial: asked.initial ?? backoff.initial,
      factor: asked.factor ?? backoff.factor,
      max: asked.max ?? backoff.max,
      jitter: asked.jitter ?? backoff.jitter,
      resetAfter: asked.resetAfter ?? backoff.resetAfter,
    },
    limit: { count: input.limit?.count ?? limit.count, period: input.limit?.period ?? limit.period },
  };
}
