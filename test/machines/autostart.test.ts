/** LIF-44 to LIF-46, NET-35: what starts with the host and what stops with it, in which order and when. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { SimulatedClock } from 'xstate';
import {
  type AutostartPort,
  type BootItem,
  planAutostart,
  planShutdown,
  runAutostart,
  sideBySide,
  startsAtBoot,
} from '#src/machines/autostart.js';
import { flush } from './rig.js';

const item = (name: string, boot: Partial<BootItem['boot']> = {}, more: Partial<BootItem> = {}): BootItem => ({
  name,
  boot: { autostart: 'last-state', priority: null, delay: 0, stopPriority: 0, ...boot },
  policy: 'no',
  power: undefined,
  ...more,
});
const RUNNING = { power: 'running', bootId: 'before' } as const;
const STOPPED = { power: 'stopped', bootId: 'before' } as const;
const STOPPED_NOW = { power: 'stopped', bootId: 'now' } as const;

describe('LIF-44: what starts at boot', () => {
  test.each([
    ['last-state', 'no', undefined, false],
    ['last-state', 'no', RUNNING, true],
    ['last-state', 'unless-stopped', RUNNING, true],
    ['last-state', 'unless-stopped', STOPPED, false],
    ['last-state', 'always', STOPPED, true],
    ['last-state', 'always', STOPPED_NOW, false],
    [true, 'no', undefined, true],
    [true, 'no', STOPPED, true],
    [true, 'no', STOPPED_NOW, false],
    [true, 'no', RUNNING, true],
    [false, 'always', RUNNING, false],
    [false, 'always', undefined, false],
  ] as const)('autostart %s, policy %s, last %o: %s', (autostart, policy, power, starts) => {
    expect(startsAtBoot(item('x', { autostart }, { policy, power }), 'now')).toBe(starts);
  });
});

const boots = fc.uniqueArray(
  fc.record({
    name: fc.stringMatching(/^[a-z]{1,3}$/),
    priority: fc.option(fc.integer({ min: -3, max: 3 })),
    delay: fc.constantFrom(0, 0, 100, 2000),
    stopPriority: fc.integer({ min: -2, max: 2 }),
  }),
  { selector: ({ name }) => name, maxLength: 12 },
);

test('LIF-45: the order is one of all names, free ones first, then by falling priority and by name', () => {
  fc.assert(
    fc.property(boots, list => {
      const items = list.map(({ name, ...boot }) => item(name, boot));
      const { together, inTurn } = planAutostart(items);
      expect([...together, ...inTurn.map(({ name }) => name)].sort()).toEqual(list.map(({ name }) => name).sort());
      const find = (name: string) => list.find(one => one.name === name)!;
      for (const name of together) expect(find(name)).toMatchObject({ priority: null, delay: 0 });
      const keys = inTurn.map(({ name }) => ({ name, priority: find(name).priority ?? 0 }));
      for (const [index, key] of keys.entries()) {
        const next = keys[index + 1];
        if (next === undefined) continue;
        expect(key.priority > next.priority || (key.priority === next.priority && key.name < next.name)).toBe(true);
      }
    }),
  );
});

test('LIF-46: batches by falling priority, each name once', () => {
  fc.assert(
    fc.property(boots, list => {
      const batches = planShutdown(list);
      expect(batches.flat().sort()).toEqual(list.map(({ name }) => name).sort());
      const priorities = batches.map(batch => batch.map(name => list.find(one => one.name === name)?.stopPriority));
      for (const batch of priorities) expect(new Set(batch).size).toBe(1);
      expect(priorities.map(([one]) => one)).toEqual(priorities.map(([one]) => one).sort((a, b) => b! - a!));
    }),
  );
});

test('LIF-45: never more than so many at a time', async () => {
  let running = 0;
  let most = 0;
  const names = Array.from({ length: 20 }, (_, index) => `c${index}`);
  const results = await sideBySide(names, 3, async name => {
    most = Math.max(most, ++running);
    await new Promise(resolve => setImmediate(resolve));
    running--;
    return name;
  });
  expect([most, results]).toEqual([3, names]);
});

/** Starts take no time; `fails` says how often each does before it runs. */
class Rig implements AutostartPort {
  readonly clock = new SimulatedClock();
  readonly log: string[] = [];
  over = false;
  readonly width = 2;
  constructor(private readonly fails: Record<string, number> = {}) {}
  isOver = (): boolean => this.over;
  sleep = (ms: number): Promise<void> => new Promise(resolve => this.clock.setTimeout(() => resolve(), ms));
  async start(name: string): Promise<boolean> {
    const left = this.fails[name] ?? 0;
    this.log.push(`${this.clock.now()} ${name}`);
    if (left > 0) {
      this.fails[name] = left - 1;
      throw new Error('broken');
    }
    return left === 0;
  }
  failed(name: string): void {
    this.log.push(`${this.clock.now()} ${name} failed`);
  }
  async pass(ms: number): Promise<void> {
    for (let done = 0; done < ms; done += 1000) {
      await flush();
      this.clock.increment(1000);
    }
    await flush();
  }
}

test('LIF-45: one by one with its delay after each, three tries 5 s apart', async () => {
  const rig = new Rig({ twice: 2, never: 9 });
  const items = [
    item('later', { priority: 1 }),
    item('twice', { priority: 5, delay: 2000 }),
    item('never', { priority: 3 }),
    item('free'),
    item('delayed', { delay: 1000 }),
  ];
  const done = runAutostart(planAutostart(items), rig);
  await rig.pass(60_000);
  expect(rig.log).toEqual([
    '0 free',
    '0 twice',
    '5000 twice',
    '10000 twice',
    '12000 never',
    '17000 never',
    '22000 never',
    '22000 never failed',
    '22000 later',
    '22000 delayed',
  ]);
  expect((await done).filter(({ started }) => !started).map(({ name }) => name)).toEqual(['never']);
});

test('what supervisors have ended with comes last and alone, and after three of them not at all', async () => {
  const rig = new Rig();
  const ended = (unfinished: number): Partial<BootItem> => ({ power: { ...RUNNING, unfinished } });
  const items = [
    item('a', {}, ended(1)),
    item('b', { priority: 9 }, ended(2)),
    item('c', { priority: 9 }, ended(3)),
    item('d'),
    item('e', { priority: -1 }),
  ];
  const plan = planAutostart(items);
  expect(plan).toMatchObject({ givenUp: ['c'], together: ['d'] });
  expect(plan.inTurn.map(({ name }) => name)).toEqual(['e', 'b', 'a']);
  const outcomes = await runAutostart(plan, rig);
  expect(rig.log).toEqual(['0 c failed', '0 d', '0 e', '0 b', '0 a']);
  expect(outcomes.filter(({ started }) => !started)).toEqual([{ name: 'c', started: false }]);
});

test('a shutdown in the middle lets nothing more be started', async () => {
  const rig = new Rig();
  const done = runAutostart(planAutostart([item('a', { delay: 5000 }), item('b', { priority: -1 })]), rig);
  await flush();
  rig.over = true;
  await rig.pass(10_000);
  expect(rig.log).toEqual(['0 a']);
  expect(await done).toEqual([
    { name: 'a', started: true },
    { name: 'b', started: false },
  ]);
});
