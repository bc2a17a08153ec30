/** LIF-42, LIF-43: restart policies, by tables, by properties, and under a clock that the test moves. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { createActor, SimulatedClock } from 'xstate';
import { type RestartPort, restartMachine } from '#src/machines/restart.js';
import {
  decideRestart,
  delayOf,
  isSpent,
  type LifeEnd,
  NO_RESTARTS,
  type RestartDecision,
  remembered,
} from '#src/machines/restart-policy.js';
import { RESTART_POLICIES, type RestartRules, resolveRestart } from '#src/spec/schema/restart.js';

const rulesOf = (policy: RestartRules['policy'], more: Parameters<typeof resolveRestart>[0] = {}): RestartRules =>
  resolveRestart({ policy, ...more });
const end = (more: Partial<LifeEnd> = {}): LifeEnd => ({
  by: 'itself',
  failed: true,
  text: 'PID 1 exited with status 3',
  ranMs: 5,
  ...more,
});
const CLEAN = end({ failed: false, text: 'PID 1 exited with status 0' });

describe('which end is answered with a restart', () => {
  test.each([
    ['no', end(), 'stay', 'policy'],
    ['no', CLEAN, 'stay', 'policy'],
    ['on-failure', end(), 'restart', 'failed'],
    ['on-failure', CLEAN, 'stay', 'policy'],
    ['on-failure', end({ by: 'start-failed' }), 'restart', 'start-failed'],
    ['on-failure', end({ by: 'unhealthy', failed: false }), 'restart', 'unhealthy'],
    ['always', end(), 'restart', 'failed'],
    ['always', CLEAN, 'restart', 'ended'],
    ['unless-stopped', CLEAN, 'restart', 'ended'],
    ['unless-stopped', end({ by: 'unhealthy', failed: false }), 'restart', 'unhealthy'],
    ['always', end({ by: 'limit' }), 'give-up', 'limit'],
    ...RESTART_POLICIES.map(policy => [policy, end({ by: 'asked' }), 'stay', 'asked'] as const),
  ] as const)('%s, %o: %s for %s', (policy, ended, action, cause) => {
    const { decision } = decideRestart(rulesOf(policy), NO_RESTARTS, ended, 0, 0.5);
    expect(decision).toMatchObject({ action, cause, text: ended.text });
  });
});

describe('back-off', () => {
  const plain = rulesOf('always', { backoff: { jitter: 0 } });

  test('grows by its factor up to its cap', () => {
    expect([1, 2, 3, 4, 10, 11, 1000].map(attempt => delayOf(plain, attempt, 0.5))).toEqual([
      100, 200, 400, 800, 51_200, 60_000, 60_000,
    ]);
    expect(delayOf(rulesOf('always', { backoff: { initial: 0 } }), 5000, 0.9)).toBe(0);
  });

  test('jitter stays within its part, and below the cap', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 2000 }),
        fc.double({ min: 0, max: 1, noNaN: true }),
        fc.double({ min: 0, max: 1, noNaN: true }),
        fc.double({ min: 1, max: 100, noNaN: true }),
        (attempt, chance, jitter, factor) => {
          const delay = delayOf(rulesOf('always', { backoff: { jitter, factor } }), attempt, chance);
          const middle = Math.min(60_000, 100 * factor ** (attempt - 1));
          expect(delay).toBeGreaterThanOrEqual(Math.floor(middle * (1 - jitter)));
          expect(delay).toBeLessThanOrEqual(Math.min(60_000, Math.ceil(middle * (1 + jitter))));
        },
      ),
    );
  });

  test('begins anew after a life that was long enough, and not after one that never ran or was unhealthy', () => {
    const memory = { attempt: 4, times: [] };
    const attemptAfter = (ended: LifeEnd): unknown =>
      (decideRestart(plain, memory, ended, 0, 0.5).decision as { attempt?: number }).attempt;
    expect(attemptAfter(end({ ranMs: 9_999 }))).toBe(5);
    expect(attemptAfter(end({ ranMs: 10_000 }))).toBe(1);
    expect(attemptAfter(end({ ranMs: 10_000, by: 'unhealthy' }))).toBe(5);
    expect(attemptAfter(end({ ranMs: 10_000, by: 'start-failed' }))).toBe(5);
  });
});

test('LIF-42: never more restarts than the limit in any period, whatever happens', () => {
  const ends = fc.array(
    fc.record({
      after: fc.integer({ min: 0, max: 900 }),
      failed: fc.boolean(),
      reboot: fc.boolean(),
      ranMs: fc.integer({ min: 0, max: 20_000 }),
    }),
    { minLength: 1, maxLength: 60 },
  );
  fc.assert(
    fc.property(ends, fc.integer({ min: 0, max: 6 }), fc.integer({ min: 1, max: 3000 }), (list, count, period) => {
      const rules = rulesOf('always', { limit: { count, period } });
      let memory = NO_RESTARTS;
      let now = 0;
      const times: number[] = [];
      for (const one of list) {
        now += one.after;
        if (one.reboot) {
          if (isSpent(rules, memory, now)) continue;
          memory = remembered(rules, memory, now);
          times.push(now);
          continue;
        }
        const result = decideRestart(rules, memory, end(one), now, 0);
        memory = result.memory;
        if (result.decision.action === 'restart') times.push(now);
        else expect(times.filter(time => now - time < period).length).toBeGreaterThanOrEqual(count);
        expect(memory.times.length).toBeLessThanOrEqual(Math.max(count, 1));
      }
      for (const time of times) {
        expect(times.filter(other => other >= time && other - time < period).length).toBeLessThanOrEqual(count);
      }
    }),
  );
});

class Rig implements RestartPort {
  readonly clock = new SimulatedClock();
  readonly told: RestartDecision[] = [];
  starts = 0;
  readonly actor;

  constructor(rules: RestartRules) {
    this.actor = createActor(restartMachine, { input: { rules, port: this }, clock: this.clock }).start();
    this.actor.on('decided', ({ decision }) => this.told.push(decision));
    this.actor.on('again', () => {
      this.starts++;
      this.actor.send({ type: 'STARTED', fresh: false });
    });
  }
  now = (): number => this.clock.now();
  chance = (): number => 0.5;
  ends(more: Partial<LifeEnd> = {}): void {
    this.actor.send({ type: 'ENDED', end: end(more) });
  }
  get state(): unknown {
    return this.actor.getSnapshot().value;
  }
}

describe('the machine', () => {
  test('waits out each delay, no longer and no shorter, and tells each decision', () => {
    const rig = new Rig(rulesOf('on-failure'));
    for (const [index, delay] of [100, 200, 400].entries()) {
      rig.ends();
      rig.clock.increment(delay - 1);
      expect(rig.starts).toBe(index);
      rig.clock.increment(1);
      expect(rig.starts).toBe(index + 1);
    }
    expect(rig.told).toMatchObject([100, 200, 400].map((delayMs, index) => ({ delayMs, attempt: index + 1 })));
    rig.ends({ failed: false });
    rig.clock.increment(1_000_000);
    expect(rig.starts).toBe(3);
    expect(rig.told.at(-1)).toMatchObject({ action: 'stay', cause: 'policy' });
  });

  test('a deliberate stop during the wait is not undone', () => {
    const rig = new Rig(rulesOf('always'));
    rig.ends();
    rig.actor.send({ type: 'CANCEL' });
    rig.clock.increment(1_000_000);
    expect(rig.starts).toBe(0);
    expect(rig.told.at(-1)).toMatchObject({ action: 'stay', cause: 'asked' });
  });

  test('a start by hand takes the place of the one that is due, and begins the count anew', () => {
    const rig = new Rig(rulesOf('always', { limit: { count: 2, period: 1000 } }));
    rig.ends();
    rig.actor.send({ type: 'STARTED', fresh: true });
    rig.clock.increment(1_000);
    expect(rig.starts).toBe(0);
    rig.ends();
    expect(rig.told.at(-1)).toMatchObject({ attempt: 1, delayMs: 100 });
  });

  test('LIF-42: the eleventh within 60 s is given up; later it would be allowed', () => {
    const rig = new Rig(rulesOf('always', { backoff: { initial: 0 } }));
    for (let count = 0; count < 10; count++) {
      rig.ends();
      rig.clock.increment(1);
    }
    expect(rig.starts).toBe(10);
    rig.ends();
    expect(rig.told.at(-1)).toMatchObject({ action: 'give-up', cause: 'limit' });
    rig.clock.increment(60_000);
    expect(rig.starts).toBe(10);
    rig.ends();
    rig.clock.increment(0);
    expect(rig.starts).toBe(11);
  });

  test('LIF-43: reboots count against the same limit', () => {
    const rig = new Rig(rulesOf('always', { limit: { count: 3, period: 60_000 } }));
    for (let count = 0; count < 3; count++) rig.actor.send({ type: 'REBOOTED' });
    rig.ends();
    expect(rig.told.at(-1)).toMatchObject({ action: 'give-up', cause: 'limit' });
  });
});
