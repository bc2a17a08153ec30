/** OTP's rules for groups: by tables, by a machine under a clock that the test moves, and by random walks. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { createActor, SimulatedClock } from 'xstate';
import { foundSnapshot, type GroupEvent, type GroupMoved, groupMachine } from '#src/machines/group.js';
import { type ChildEnd, type Children, type GroupDecision, react } from '#src/machines/group-policy.js';
import { CaissonError } from '#src/spec/errors.js';
import { type GroupInput, type GroupSpec, RESTART_TYPES, resolveGroup, STRATEGIES } from '#src/spec/schema/group.js';
import { flush } from './rig.js';

const groupOf = (input: Partial<GroupInput> = {}): GroupSpec =>
  resolveGroup({ name: 'g', children: ['a', 'b', 'c'], ...input } as GroupInput);
const ALL_UP: Children = { a: 'up', b: 'up', c: 'up' };
const end = (child: string, how: ChildEnd['how'] = 'failed'): ChildEnd => ({ child, how, text: `${child} ${how}` });
const show = (tasks: readonly { do: string; child: string }[]): string =>
  tasks.map(task => `${task.do === 'start' ? '+' : '-'}${task.child}`).join(' ');

describe('who is stopped and started when one ends', () => {
  test.each([
    ['one_for_one', 'b', '+b'],
    ['rest_for_one', 'b', '-c +b +c'],
    ['rest_for_one', 'c', '+c'],
    ['one_for_all', 'b', '-c -a +a +b +c'],
  ] as const)('%s, %s: %s', (strategy, child, tasks) => {
    expect(show(react(groupOf({ strategy }), ALL_UP, [], end(child), 0).tasks)).toBe(tasks);
  });

  test.each([
    ['permanent', 'normal', 'restart', 'ended'],
    ['permanent', 'failed', 'restart', 'failed'],
    ['permanent', 'start-failed', 'restart', 'start-failed'],
    ['transient', 'normal', 'stay', 'type'],
    ['transient', 'failed', 'restart', 'failed'],
    ['transient', 'start-failed', 'restart', 'start-failed'],
    ['temporary', 'normal', 'stay', 'type'],
    ['temporary', 'failed', 'stay', 'type'],
    ...RESTART_TYPES.map(type => [type, 'asked', 'stay', 'asked'] as const),
  ] as const)('%s, %s: %s for %s', (restart, how, action, cause) => {
    const rules = groupOf({ children: ['a', { name: 'b', restart }] });
    expect(react(rules, ALL_UP, [], end('b', how), 0).decision).toMatchObject({ action, cause, child: 'b' });
  });

  test("a temporary sibling is stopped for another's sake and not started again; what a caller has stopped neither", () => {
    const rules = groupOf({
      strategy: 'one_for_all',
      children: ['a', { name: 'b', restart: 'temporary' }, { name: 'c', restart: 'transient' }, 'd'],
    });
    const children: Children = { a: 'up', b: 'up', c: 'done', d: 'held' };
    const { tasks, decision } = react(rules, children, [], end('a'), 0);
    expect(show(tasks)).toBe('-b +a +c');
    expect(decision.affected).toEqual(['a', 'c']);
  });

  test('intensity: as many restarts within the period, and no more', () => {
    const rules = groupOf({ intensity: 2, period: 1000 });
    expect(react(rules, ALL_UP, [0, 500], end('a'), 999).decision).toMatchObject({ action: 'give-up', cause: 'limit' });
    expect(react(rules, ALL_UP, [0, 500], end('a'), 1000)).toMatchObject({
      decision: { action: 'restart' },
      times: [500, 1000],
    });
    expect(react(groupOf({ intensity: 0 }), ALL_UP, [], end('a'), 0).decision.action).toBe('give-up');
  });
});

interface Call {
  readonly text: string;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
  readonly signal: AbortSignal;
}

class Rig {
  readonly clock = new SimulatedClock();
  readonly log: string[] = [];
  readonly moves: GroupMoved[] = [];
  readonly decisions: GroupDecision[] = [];
  pending: Call[] = [];
  readonly errors: unknown[] = [];
  readonly actor;

  constructor(spec: GroupSpec, found?: Children) {
    const call = (text: string, signal: AbortSignal): Promise<void> => {
      this.log.push(text);
      return new Promise((resolve, reject) => {
        const one: Call = { text, signal, resolve, reject };
        this.pending.push(one);
      });
    };
    const input = {
      rules: spec,
      port: {
        now: () => this.clock.now(),
        start: (child: string, again: boolean, signal: AbortSignal) => call(`+${child}${again ? '*' : ''}`, signal),
        stop: (child: string, signal: AbortSignal) => call(`-${child}`, signal),
      },
      ...(found === undefined ? {} : { found }),
    };
    this.actor = createActor(groupMachine, {
      input,
      clock: this.clock,
      ...(found === undefined ? {} : { snapshot: foundSnapshot(input) }),
    });
    this.actor.on('moved', move => this.moves.push(move));
    this.actor.on('decided', ({ decision }) => this.decisions.push(decision));
    this.actor.subscribe({ error: error => this.errors.push(error) });
    this.actor.start();
  }

  get state(): string {
    return this.actor.getSnapshot().context.at;
  }
  get children(): Children {
    return this.actor.getSnapshot().context.children;
  }
  async send(event: GroupEvent): Promise<void> {
    this.actor.send(event);
    await flush();
  }
  /** The task under way has been done, or has failed. */
  async settle(text: string, error?: Error): Promise<void> {
    const call = this.pending.findLast(one => !one.signal.aborted);
    expect(call?.text).toBe(text);
    this.pending = this.pending.filter(one => one !== call);
    if (error === undefined) call?.resolve();
    else call?.reject(error);
    await flush();
  }
  async all(...texts: string[]): Promise<void> {
    for (const text of texts) await this.settle(text);
  }
  ends(child: string, how: ChildEnd['how'] = 'failed'): Promise<void> {
    return this.send({ type: 'CHILD_ENDED', end: end(child, how) });
  }
  static async running(spec: GroupSpec = groupOf()): Promise<Rig> {
    const rig = new Rig(spec);
    await rig.send({ type: 'START' });
    await rig.all(...spec.children.map(({ name }) => `+${name}`));
    expect(rig.state).toBe('running');
    return rig;
  }
}
const boom = new CaissonError('TIMEOUT', 'not ready');

describe('the machine', () => {
  test('starts in order, each when the one before is ready; stops in reverse', async () => {
    const rig = new Rig(groupOf());
    await rig.send({ type: 'START' });
    expect(rig.log).toEqual(['+a']);
    await rig.all('+a', '+b', '+c');
    expect(rig.state).toBe('running');
    await rig.send({ type: 'STOP', initiator: 'api' });
    await rig.all('-c', '-b', '-a');
    expect(rig.moves.map(({ to, reason }) => `${to} ${reason}`)).toEqual([
      'starting start',
      'running started',
      'stopping stop',
      'stopped stop',
    ]);
    expect(rig.moves.at(-1)).toMatchObject({ stopAsked: 'api' });
  });

  test('a child that does not start fails the group: what was started is stopped', async () => {
    const rig = new Rig(groupOf());
    await rig.send({ type: 'START' });
    await rig.settle('+a');
    await rig.settle('+b', boom);
    expect(rig.state).toBe('stopping');
    await rig.settle('-a');
    expect(rig.moves.at(-1)).toMatchObject({ to: 'failed', reason: 'start-failed', error: boom });
    expect(rig.log).toEqual(['+a', '+b', '-a']);
  });

  test('a stop during the start gives up waiting, and stops what is half started, too', async () => {
    const rig = new Rig(groupOf());
    await rig.send({ type: 'START' });
    await rig.settle('+a');
    await rig.send({ type: 'STOP', initiator: 'api' });
    expect(rig.pending.map(({ text, signal }) => `${text} ${signal.aborted}`)).toEqual(['+b true', '-b false']);
    await rig.all('-b', '-a');
    expect(rig.state).toBe('stopped');
  });

  test('one_for_all: all others are stopped in reverse, then all started in order', async () => {
    const rig = await Rig.running(groupOf({ strategy: 'one_for_all' }));
    await rig.ends('b');
    expect(rig.state).toBe('restarting');
    await rig.all('-c', '-a', '+a*', '+b*', '+c*');
    expect(rig.state).toBe('running');
    expect(rig.decisions).toMatchObject([{ child: 'b', action: 'restart', affected: ['a', 'b', 'c'] }]);
  });

  test('a restart that fails is tried again until the intensity is reached; then the group gives up', async () => {
    const rig = await Rig.running(groupOf({ intensity: 3, strategy: 'rest_for_one' }));
    await rig.ends('b');
    await rig.settle('-c');
    await rig.settle('+b*', boom);
    await rig.settle('+b*', boom);
    await rig.settle('+b*', boom);
    expect(rig.decisions.map(({ action, cause }) => `${action} ${cause}`)).toEqual([
      'restart failed',
      'restart start-failed',
      'restart start-failed',
      'give-up limit',
    ]);
    await rig.settle('-a');
    expect(rig.moves.at(-1)).toMatchObject({ to: 'failed', reason: 'limit', error: { code: 'RESTART_LIMIT' } });
  });

  test('the period passes: what was restarted long ago does not count', async () => {
    const rig = await Rig.running(groupOf({ intensity: 1, period: 5000 }));
    for (let count = 0; count < 5; count++) {
      await rig.ends('a');
      await rig.settle('+a*');
      rig.clock.increment(5000);
    }
    expect(rig.state).toBe('running');
    await rig.ends('a');
    await rig.settle('+a*');
    rig.clock.increment(4999);
    await rig.ends('c');
    expect(rig.state).toBe('stopping');
  });

  test('ends that come during a restart are answered after it, but not those of children it starts anyway', async () => {
    const rig = await Rig.running(groupOf({ intensity: 5 }));
    await rig.ends('a');
    await rig.ends('c');
    await rig.ends('b', 'asked');
    await rig.settle('+a*');
    await rig.settle('+c*');
    expect(rig.state).toBe('running');
    expect(rig.decisions.map(({ child, cause }) => `${child} ${cause}`)).toEqual(['a failed', 'c failed', 'b asked']);
    expect(rig.children).toEqual({ a: 'up', b: 'held', c: 'up' });

    const all = await Rig.running(groupOf({ strategy: 'one_for_all', intensity: 1 }));
    await all.ends('a');
    await all.ends('b');
    await all.all('-c', '+a*', '+b*', '+c*');
    expect([all.state, all.decisions.length]).toEqual(['running', 1]);
  });

  test('a deliberate stop is not undone: not by a sibling, not while the group restarts it', async () => {
    const rig = await Rig.running(groupOf({ strategy: 'one_for_all', intensity: 9 }));
    await rig.ends('b', 'asked');
    await rig.ends('a');
    await rig.all('-c', '+a*');
    // A caller stops what is just being started.
    await rig.ends('c', 'asked');
    await rig.settle('+c*', new CaissonError('CANCELLED', 'stopped'));
    expect([rig.state, rig.children]).toEqual(['running', { a: 'up', b: 'held', c: 'held' }]);
    // Started by a caller it is a child as before.
    await rig.send({ type: 'CHILD_STARTED', child: 'b' });
    await rig.ends('b');
    await rig.all('-a', '+a*', '+b*');
    expect(rig.children).toEqual({ a: 'up', b: 'up', c: 'held' });
    // A start of the whole group starts it, too.
    await rig.send({ type: 'STOP', initiator: 'api' });
    await rig.all('-b', '-a');
    await rig.send({ type: 'START' });
    await rig.all('+a', '+b', '+c');
    expect(rig.state).toBe('running');
  });

  test('found running by a new supervisor: nothing is started until it is asked to, and then only what is missing', async () => {
    const rig = new Rig(groupOf(), { a: 'up', b: 'down', c: 'held' });
    await flush();
    expect([rig.state, rig.log, rig.moves]).toEqual(['running', [], []]);
    await rig.send({ type: 'START' });
    await rig.settle('+b');
    expect([rig.state, rig.children]).toEqual(['running', { a: 'up', b: 'up', c: 'held' }]);
    await rig.ends('a');
    await rig.settle('+a*');
  });

  test('a child that cannot be stopped makes the group failed, with all others stopped', async () => {
    const rig = await Rig.running();
    await rig.send({ type: 'STOP', initiator: 'api' });
    await rig.settle('-c', new CaissonError('UNKILLABLE', 'state D'));
    await rig.all('-b', '-a');
    expect(rig.moves.at(-1)).toMatchObject({ to: 'failed', error: { code: 'UNKILLABLE' } });
  });
});

describe('whatever happens', () => {
  const spec = fc.record({
    strategy: fc.constantFrom(...STRATEGIES),
    intensity: fc.integer({ min: 0, max: 4 }),
    period: fc.integer({ min: 1, max: 3000 }),
    children: fc
      .array(fc.constantFrom(...RESTART_TYPES), { minLength: 1, maxLength: 5 })
      .map(types => types.map((restart, index) => ({ name: `c${index}`, restart }))),
  });
  type Op =
    | { readonly op: 'start' | 'stop' | 'time' }
    | { readonly op: 'end'; readonly which: number; readonly how: ChildEnd['how'] }
    | { readonly op: 'settle'; readonly ok: boolean };
  const op: fc.Arbitrary<Op> = fc.oneof(
    { weight: 3, arbitrary: fc.constant({ op: 'start' as const }) },
    { weight: 1, arbitrary: fc.constant({ op: 'stop' as const }) },
    { weight: 1, arbitrary: fc.constant({ op: 'time' as const }) },
    {
      weight: 4,
      arbitrary: fc.record({
        op: fc.constant('end' as const),
        which: fc.nat(9),
        how: fc.constantFrom('asked' as const, 'normal' as const, 'failed' as const),
      }),
    },
    {
      weight: 12,
      arbitrary: fc.record({ op: fc.constant('settle' as const), ok: fc.nat(6).map(n => n > 0) }),
    },
  );

  /** The world: which children run. Stops always work here, starts may fail. */
  async function settleOne(rig: Rig, alive: Set<string>, ok: boolean): Promise<void> {
    const call = rig.pending.find(one => !one.signal.aborted);
    rig.pending = rig.pending.filter(one => one !== call && !one.signal.aborted);
    if (call === undefined) return;
    const child = call.text.replaceAll(/[-+*]/g, '');
    if (call.text.startsWith('-')) alive.delete(child);
    else if (ok) alive.add(child);
    if (ok || call.text.startsWith('-')) call.resolve();
    else call.reject(boom);
    await flush();
  }

  test('one task at a time, in order; at rest all that is to run does; never more restarts than allowed', async () => {
    const rests = new Set<string>();
    await fc.assert(
      fc.asyncProperty(spec, fc.array(op, { maxLength: 60, size: 'max' }), async (input, ops) => {
        const group = groupOf(input as Partial<GroupInput>);
        const rig = new Rig(group);
        const alive = new Set<string>();
        const restarts: number[] = [];
        let decided = 0;
        const check = (): void => {
          expect(rig.errors).toEqual([]);
          expect(rig.pending.filter(one => !one.signal.aborted).length).toBeLessThanOrEqual(1);
          for (const decision of rig.decisions.slice(decided))
            if (decision.action === 'restart') restarts.push(rig.clock.now());
          decided = rig.decisions.length;
        };
        for (const one of ops) {
          if (one.op === 'start' && rig.actor.getSnapshot().can({ type: 'START' })) {
            restarts.length = rig.state === 'running' ? restarts.length : 0;
            await rig.send({ type: 'START' });
          } else if (one.op === 'stop') await rig.send({ type: 'STOP', initiator: 'api' });
          else if (one.op === 'time') rig.clock.increment(500);
          else if (one.op === 'settle') await settleOne(rig, alive, one.ok);
          else if (one.op === 'end') {
            const child = `c${one.which % group.children.length}`;
            if (alive.delete(child)) await rig.ends(child, one.how);
          }
          check();
        }
        for (let round = 0; round < 60 && rig.pending.some(one => !one.signal.aborted); round++) {
          await settleOne(rig, alive, true);
          check();
        }
        rests.add(rig.state);
        expect(['stopped', 'running', 'failed']).toContain(rig.state);
        const up = Object.entries(rig.children).filter(([, status]) => status === 'up');
        expect(up.map(([name]) => name).sort()).toEqual([...alive].sort());
        if (rig.state !== 'running') expect([...alive]).toEqual([]);
        else {
          for (const { name, restart } of group.children) {
            if (restart === 'permanent') expect(['up', 'held'], name).toContain(rig.children[name]);
          }
        }
        for (const time of restarts) {
          const within = restarts.filter(other => other >= time && other - time < group.period);
          expect(within.length).toBeLessThanOrEqual(group.intensity);
        }
      }),
      { numRuns: 400 },
    );
    expect([...rests].sort()).toEqual(['failed', 'running', 'stopped']);
  });
});
