/** Whether a container that has ended comes back, when, and why: the pure rules (LIF-42, LIF-43). */
import type { RestartRules } from '../spec/schema/restart.js';

/** A life, or an attempt to begin one, that is over. */
export interface LifeEnd {
  /**
   * `asked`: a caller had asked it to end, or not to begin. `start-failed`: it never ran. `unhealthy`: it was killed for
   * what its health check said. `limit`: the container is failed because the limit is reached.
   */
  readonly by: 'asked' | 'itself' | 'start-failed' | 'unhealthy' | 'limit';
  /** The container is `failed`, not `stopped`. */
  readonly failed: boolean;
  /** For people: `PID 1 exited with status 3`. */
  readonly text: string;
  /** Milliseconds it ran. */
  readonly ranMs: number;
}

/** What is remembered of the restarts so far. */
export interface RestartMemory {
  /** Restarts since the last life that was long enough. */
  readonly attempt: number;
  /** When it was restarted or rebooted by itself, in ms of some clock, oldest first; as many as the limit asks for. */
  readonly times: readonly number[];
}

export const NO_RESTARTS: RestartMemory = { attempt: 0, times: [] };

/** Why it is restarted or not. Closed: a consumer may switch over it. */
export const RESTART_CAUSES = [
  /** It failed, or ended by itself under a policy that takes any end. */
  'failed',
  'ended',
  'unhealthy',
  'start-failed',
  /** Not restarted: a deliberate stop is never undone. */
  'asked',
  /** Not restarted: no policy asks for it, or not for an end without failure. */
  'policy',
  'limit',
] as const;
export type RestartCause = (typeof RESTART_CAUSES)[number];

export type RestartDecision =
  | {
      readonly action: 'restart';
      readonly cause: RestartCause;
      readonly text: string;
      /** 1 for the first since a healthy life. */
      readonly attempt: number;
      readonly delayMs: number;
    }
  | { readonly action: 'stay' | 'give-up'; readonly cause: RestartCause; readonly text: string };

/** Whether the policy answers such an end with a restart, the limit aside. */
export function asksForRestart(rules: RestartRules, failed: boolean): boolean {
  switch (rules.policy) {
    case 'no':
      return false;
    case 'on-failure':
      return failed;
    case 'always':
    case 'unless-stopped':
      return true;
  }
}

function recent(rules: RestartRules, memory: RestartMemory, now: number): readonly number[] {
  return memory.times.filter(time => now - time < rules.limit.period);
}

/** One more restart at `now` would be one too many. */
export function isSpent(rules: RestartRules, memory: RestartMemory, now: number): boolean {
  return recent(rules, memory, now).length >= rules.limit.count;
}

/** The memory after a restart, or a reboot of the guest's own, at `now`. */
export function remembered(rules: RestartRules, memory: RestartMemory, now: number): RestartMemory {
  return { ...memory, times: [...recent(rules, memory, now), now].slice(-Math.max(rules.limit.count, 1)) };
}

/** @param chance 0 to 1, of even distribution. */
export function delayOf(rules: RestartRules, attempt: number, chance: number): number {
  const { initial, factor, max, jitter } = rules.backoff;
  // An exponent too large makes Infinity, which the cap makes good; 0 times that would be NaN.
  const plain = initial === 0 ? 0 : Math.min(max, initial * factor ** (attempt - 1));
  return Math.round(Math.min(max, plain * (1 + jitter * (2 * chance - 1))));
}

function causeOf(end: LifeEnd): RestartCause {
  if (end.by === 'unhealthy' || end.by === 'start-failed') return end.by;
  return end.failed ? 'failed' : 'ended';
}

/** @param now ms of the clock that `memory` was made by. */
export function decideRestart(
  rules: RestartRules,
  memory: RestartMemory,
  end: LifeEnd,
  now: number,
  chance: number,
): { readonly decision: RestartDecision; readonly memory: RestartMemory } {
  const { text } = end;
  if (end.by === 'asked') return { decision: { action: 'stay', cause: 'asked', text }, memory: NO_RESTARTS };
  if (end.by === 'limit') return { decision: { action: 'give-up', cause: 'limit', text }, memory };
  const failed = end.failed || end.by === 'unhealthy';
  if (!asksForRestart(rules, failed)) return { decision: { action: 'stay', cause: 'policy', text }, memory };
  if (isSpent(rules, memory, now)) return { decision: { action: 'give-up', cause: 'limit', text }, memory };
  const healthy = end.by !== 'start-failed' && end.by !== 'unhealthy' && end.ranMs >= rules.backoff.resetAfter;
  const attempt = healthy ? 1 : memory.attempt + 1;
  const delayMs = delayOf(rules, attempt, chance);
  return {
    decision: { action: 'restart', cause: causeOf(end), text, attempt, delayMs },
    memory: remembered(rules, { ...memory, attempt }, now),
  };
}
