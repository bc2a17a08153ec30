/** LIF-01 as a property: whatever is asked, in whatever order the world answers, the machine keeps to its table. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { ContainerEvent } from '#src/machines/container.js';
import { isMove, STATES } from '#src/machines/states.js';
import { CaissonError } from '#src/spec/errors.js';
import {
  boom,
  type Call,
  cancelledError,
  EXIT_0,
  EXIT_3,
  EXIT_HALT,
  EXIT_KILLED,
  EXIT_REBOOT,
  EXIT_SEGV,
  flush,
  Rig,
} from './rig.js';

type Op =
  /** The first of them that is accepted; if none is, the first. */
  | { readonly op: 'event'; readonly events: readonly ContainerEvent[] }
  | { readonly op: 'settle'; readonly which: number; readonly ok: boolean; readonly variant: boolean }
  | { readonly op: 'time'; readonly ms: number };

const timeoutMs = fc.constantFrom(0, 500, 2000);
const force = fc.boolean();
const initiator = fc.constantFrom('api', 'host');
// Weighed against the ends that come soonest, so that a walk goes far and returns.
const event: fc.Arbitrary<ContainerEvent> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ type: fc.constant('START'), initiator }) },
  { weight: 2, arbitrary: fc.record({ type: fc.constant('STOP'), timeoutMs, force, initiator }) },
  { weight: 2, arbitrary: fc.record({ type: fc.constant('REBOOT'), timeoutMs, force, initiator }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant('KILL'), initiator }) },
  { weight: 4, arbitrary: fc.record({ type: fc.constant('FREEZE'), initiator }) },
  { weight: 3, arbitrary: fc.record({ type: fc.constant('UNFREEZE'), initiator }) },
  {
    weight: 3,
    arbitrary: fc.record({
      type: fc.constant('EXIT'),
      exit: fc.constantFrom(EXIT_0, EXIT_3, EXIT_HALT, EXIT_KILLED, EXIT_SEGV, EXIT_REBOOT, EXIT_REBOOT, EXIT_REBOOT),
    }),
  },
);
// Work that ends well must outweigh the rest, or hardly a walk would get beyond its start.
const settle = fc.record({
  op: fc.constant('settle'),
  which: fc.nat(3),
  ok: fc.integer({ min: 0, max: 4 }).map(n => n > 0),
  variant: fc.boolean(),
});
const anyOp: fc.Arbitrary<Op> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({ op: fc.constant('event'), events: fc.array(event, { minLength: 1, maxLength: 2 }) }),
  },
  { weight: 8, arbitrary: settle },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('time'), ms: fc.constantFrom(1, 600, 3000, 10_000) }) },
);

function settleCall(call: Call, ok: boolean, variant: boolean): void {
  if (call.name === 'signal' && ok) call.resolve({ sent: variant, signal: 'SIGPWR' });
  else if (call.name === 'command' && ok) call.resolve({ ran: variant });
  else if (call.name === 'runPhase' && call.cancelled) call.reject(cancelledError());
  else if (ok && (variant || !/freeze|thaw/.test(call.name))) call.resolve(undefined);
  else if (call.name === 'killAll' && variant) call.reject(new CaissonError('UNKILLABLE', 'state D'));
  else call.reject(variant ? boom() : new TypeError('unheard of'));
}

function checkEvent(rig: Rig, sent: ContainerEvent): void {
  const before = { value: rig.value, context: rig.context, moves: rig.moves.length, calls: rig.port.log.length };
  const accepted = rig.can(sent);
  // PID 1 is reaped once: the machine is ready for the news for exactly as long as it is due.
  if (sent.type === 'EXIT') expect(accepted, `EXIT in ${before.value}`).toBe(rig.port.watching);
  rig.deliver(sent);
  if (accepted) {
    expect(rig.context, `${sent.type} taken in ${before.value}`).not.toEqual(before.context);
    return;
  }
  expect(rig.value).toBe(before.value);
  expect(rig.context).toEqual(before.context);
  expect(rig.moves).toHaveLength(before.moves);
  expect(rig.port.log).toHaveLength(before.calls);
}

async function apply(rig: Rig, op: Op): Promise<void> {
  if (op.op === 'event') checkEvent(rig, op.events.find(wish => rig.can(wish)) ?? op.events[0]!);
  else if (op.op === 'time') rig.clock.increment(op.ms);
  else if (rig.port.pending.length > 0) {
    settleCall(rig.port.pending[op.which % rig.port.pending.length]!, op.ok, op.variant);
  }
  await flush();
  rig.check();
  const { timeouts, moves } = rig;
  expect(timeouts.every(timeout => timeout.error.code === 'TIMEOUT')).toBe(true);
  // LIF-32: unless a request was taken since exec, what ends the container is the guest's doing.
  const [last] = moves.slice(-1);
  if (last?.reason === 'exit' && last.from === 'running') expect(last.initiator).toBe('guest');
  // An error or exit is told on the moves it belongs to, not carried into a new life.
  if (last?.from === 'creating' && last.to !== 'failed')
    expect([last.error, last.exit]).toEqual([undefined, undefined]);
}

/** The world answers everything it has been asked, and the time goes by. */
async function drain(rig: Rig): Promise<void> {
  for (let round = 0; round < 12; round += 1) {
    for (const call of [...rig.port.pending]) settleCall(call, true, true);
    await flush();
    if (rig.port.watching && rig.context.forced) rig.deliver({ type: 'EXIT', exit: EXIT_KILLED });
    await flush();
    rig.clock.increment(rig.port.watching ? 5_000 : 0);
    await flush();
    rig.check();
  }
  expect(rig.port.pending).toEqual([]);
}

const RESTS = ['stopped', 'failed', 'running', 'frozen', 'stopping.expired'];

test('random requests, answers, ends and times: no forbidden move, no overlapping work, always a rest', async () => {
  const seen = new Set<string>();
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom('stopped', 'running', 'frozen'),
      fc.array(anyOp, { maxLength: 80, size: 'max' }),
      async (at, ops) => {
        // Begun also where few walks would lead.
        const rig = new Rig(at === 'frozen' ? at : undefined);
        if (at === 'running') await rig.start();
        for (const op of ops) await apply(rig, op);

        await drain(rig);
        expect(RESTS).toContain(rig.value);
        // From wherever it rests, a kill ends it for good.
        if (rig.can({ type: 'KILL' })) {
          rig.deliver({ type: 'KILL' });
          await flush();
          await drain(rig);
        }
        expect(['stopped', 'failed']).toContain(rig.value);
        for (const move of rig.moves) seen.add(`${move.from} ${move.to}`);
      },
    ),
    { numRuns: 300 },
  );
  // Else the property would hold for want of anything happening.
  const all = STATES.flatMap(from => STATES.filter(to => isMove(from, to)).map(to => `${from} ${to}`));
  expect([...seen].sort()).toEqual(all.sort());
});
