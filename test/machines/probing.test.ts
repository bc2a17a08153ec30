/** Probes under a clock that the test moves: when a look is due, and what it makes of the container. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { createActor, SimulatedClock } from 'xstate';
import { judge, type ProbeResult, type ProbingRules, probingMachine } from '#src/machines/probing.js';
import { flush } from './rig.js';

const RULES: ProbingRules = { interval: 1000, retries: 3, startPeriod: 0 };

class Rig {
  readonly clock = new SimulatedClock();
  readonly log: string[] = [];
  looks = 0;
  answer: ProbeResult | Error = { ok: true, why: '' };
  readonly actor;

  constructor(rules: Partial<ProbingRules> = {}, first?: ProbeResult) {
    if (first !== undefined) this.answer = first;
    const look = async (): Promise<ProbeResult> => {
      this.looks++;
      if (this.answer instanceof Error) throw this.answer;
      return this.answer;
    };
    const port = { now: () => this.clock.now(), look };
    this.actor = createActor(probingMachine, { input: { rules: { ...RULES, ...rules }, port }, clock: this.clock });
    this.actor.on('health', ({ health, why }) => this.log.push(`${this.clock.now()} ${health} ${why}`.trim()));
    this.actor.start();
  }
  async pass(ms: number): Promise<void> {
    await flush();
    for (let done = 0; done < ms; done += 500) {
      this.clock.increment(500);
      await flush();
    }
  }
}

test('looks at once, then at each interval; tells only what changes; a rejection is a look that failed', async () => {
  const rig = new Rig();
  await rig.pass(2000);
  expect([rig.looks, rig.log]).toEqual([3, ['0 healthy']]);
  rig.answer = new Error('refused');
  await rig.pass(2000);
  expect(rig.log).toEqual(['0 healthy']);
  await rig.pass(3000);
  expect(rig.log).toEqual(['0 healthy', '5000 unhealthy refused']);
  rig.answer = { ok: true, why: '' };
  await rig.pass(1000);
  expect(rig.log.at(-1)).toBe('8000 healthy');
  rig.actor.stop();
  await rig.pass(5000);
  expect(rig.looks).toBe(9);
});

test('within the start period failures do not count, until one look has gone well', async () => {
  const rig = new Rig({ startPeriod: 10_000, retries: 1 }, { ok: false, why: 'not yet' });
  await rig.pass(9_500);
  expect(rig.log).toEqual([]);
  await rig.pass(1_000);
  expect(rig.log).toEqual(['10000 unhealthy not yet']);
  const other = new Rig({ startPeriod: 10_000, retries: 1 });
  await other.pass(1_000);
  other.answer = { ok: false, why: 'gone' };
  await other.pass(1_000);
  expect(other.log).toEqual(['0 healthy', '2000 unhealthy gone']);
});

test('unhealthy exactly when so many looks in a row that count have failed', () => {
  fc.assert(
    fc.property(fc.array(fc.boolean(), { maxLength: 40 }), fc.integer({ min: 1, max: 5 }), (looks, retries) => {
      let state = { health: 'starting' as const, failures: 0 } as ReturnType<typeof judge>;
      for (const [index, ok] of looks.entries()) {
        state = judge({ ...RULES, retries }, state, ok, index);
        const row = looks.slice(0, index + 1);
        const failed = row.length - 1 - row.lastIndexOf(true);
        if (ok) expect(state.health).toBe('healthy');
        else if (failed >= retries) expect(state.health).toBe('unhealthy');
        else expect(state.health).toBe(row.includes(true) ? 'healthy' : 'starting');
      }
    }),
  );
});
