/** LIF-01: the whole matrix of situations and events, and the machine's own transitions against the table of moves. */
import { afterEach, describe, expect, test } from 'vitest';
import { type AnyStateNode, createActor, type StateNode } from 'xstate';
import { type ContainerEvent, containerMachine, createContainerMachine } from '#src/machines/container.js';
import { isMove, MOVES, STATES } from '#src/machines/states.js';
import { EXIT_0, EXIT_3, EXIT_HALT, EXIT_KILLED, EXIT_REBOOT, exitOf, Rig, runningRig } from './rig.js';

const EVENTS = {
  START: { type: 'START' },
  STOP: { type: 'STOP', timeoutMs: 1000 },
  'STOP!': { type: 'STOP', timeoutMs: 1000, force: true },
  REBOOT: { type: 'REBOOT', timeoutMs: 1000 },
  'REBOOT!': { type: 'REBOOT', timeoutMs: 0, force: true },
  KILL: { type: 'KILL' },
  FREEZE: { type: 'FREEZE' },
  UNFREEZE: { type: 'UNFREEZE' },
  EXIT: { type: 'EXIT', exit: EXIT_0 },
  'EXIT-R': { type: 'EXIT', exit: EXIT_REBOOT },
} as const satisfies Record<string, ContainerEvent>;
type EventName = keyof typeof EVENTS;

const { STOP, KILL, REBOOT, FREEZE, UNFREEZE } = EVENTS;
const FORCED_REBOOT = { type: 'REBOOT', timeoutMs: 1000, force: true } as const;

async function frozenRig(): Promise<Rig> {
  const rig = await runningRig();
  await rig.send(FREEZE);
  await rig.ok('freeze');
  return rig;
}

async function after(events: readonly ContainerEvent[], from: () => Promise<Rig> = runningRig): Promise<Rig> {
  const rig = await from();
  for (const event of events) await rig.send(event);
  return rig;
}

async function during(phases: number, events: readonly ContainerEvent[] = []): Promise<Rig> {
  const rig = new Rig();
  await rig.start(phases);
  for (const event of events) await rig.send(event);
  return rig;
}

async function expired(): Promise<Rig> {
  const rig = await after([REBOOT]);
  await rig.ok('signal');
  await rig.advance(1000);
  return rig;
}

async function settling(request: ContainerEvent): Promise<Rig> {
  const rig = await after([request], frozenRig);
  await rig.ok('thaw');
  return rig;
}

async function waiting(request: ContainerEvent): Promise<Rig> {
  const rig = await after([request]);
  await rig.ok('signal');
  return rig;
}

async function commanding(request: ContainerEvent): Promise<Rig> {
  const rig = await after([request]);
  await rig.ok('signal', { sent: false, signal: 'SIGPWR', command: true });
  return rig;
}

async function patient(request: ContainerEvent): Promise<Rig> {
  const rig = await commanding(request);
  await rig.ok('command');
  return rig;
}

async function reaping(request: ContainerEvent): Promise<Rig> {
  const rig = await after([request]);
  await rig.ok('killAll');
  return rig;
}

async function failed(): Promise<Rig> {
  const rig = await during(2);
  await rig.fail('runPhase');
  return rig;
}

const exit = (of = EXIT_0): ContainerEvent => ({ type: 'EXIT', exit: of });

/** How to get there, and the leaf state it is. */
const SITUATIONS: Record<string, readonly [leaf: string, () => Promise<Rig>]> = {
  stopped: ['stopped', () => Promise.resolve(new Rig())],
  failed: ['failed', failed],
  creating: ['creating', () => during(0)],
  mounting: ['mounting', () => during(1)],
  devices: ['devices', () => during(2)],
  linking: ['network.linking', () => during(3)],
  executing: ['network.executing', () => during(4)],
  'creating/stop': ['creating', () => during(0, [STOP])],
  'executing/kill': ['network.executing', () => during(4, [KILL])],
  running: ['running', runningRig],
  freezing: ['freezing', () => after([FREEZE])],
  'freezing/stop': ['freezing', () => after([FREEZE, STOP])],
  'freezing/exit': ['freezing', () => after([FREEZE, exit()])],
  frozen: ['frozen', frozenRig],
  thawing: ['thawing', () => after([UNFREEZE], frozenRig)],
  'thawing/reboot': ['thawing', () => after([REBOOT], frozenRig)],
  'thawing/kill': ['thawing', () => after([KILL], frozenRig)],
  'thawing/exit': ['thawing', () => after([exit()], frozenRig)],
  'thawing/exit-r': ['thawing', () => after([exit(EXIT_REBOOT)], frozenRig)],
  'settling/stop': ['stopping.settling', () => settling(STOP)],
  'settling/reboot': ['stopping.settling', () => settling(REBOOT)],
  'signalling/stop': ['stopping.asking.signalling', () => after([STOP])],
  'waiting/stop': ['stopping.asking.waiting', () => waiting(STOP)],
  'waiting/reboot': ['stopping.asking.waiting', () => waiting(REBOOT)],
  'waiting/force': ['stopping.asking.waiting', () => waiting(FORCED_REBOOT)],
  'commanding/stop': ['stopping.asking.commanding', () => commanding(STOP)],
  'commanding/reboot': ['stopping.asking.commanding', () => commanding(REBOOT)],
  'patient/stop': ['stopping.asking.patient', () => patient(STOP)],
  'patient/force': ['stopping.asking.patient', () => patient(FORCED_REBOOT)],
  expired: ['stopping.expired', expired],
  'sending/kill': ['stopping.killing.sending', () => after([KILL])],
  'sending/exit': ['stopping.killing.sending', () => after([KILL, exit(EXIT_KILLED)])],
  'sending/exit-r': ['stopping.killing.sending', () => after([EVENTS['REBOOT!'], exit(EXIT_REBOOT)])],
  'reaping/kill': ['stopping.killing.reaping', () => reaping(KILL)],
  'reaping/reboot': ['stopping.killing.reaping', () => reaping(EVENTS['REBOOT!'])],
  'cleaning/stop': ['stopping.cleaning', () => after([STOP, exit(EXIT_HALT)])],
  'cleaning/guest': ['stopping.cleaning', () => after([exit(EXIT_3)])],
  'cleaning/reboot': ['stopping.cleaning', () => after([REBOOT, exit(EXIT_HALT)])],
  'cleaning/crash': [
    'stopping.cleaning',
    () => after([REBOOT, exit(exitOf({ code: 'killed', status: 11, confidence: 'inferred' }))]),
  ],
  'rebooting/guest': ['rebooting', () => after([exit(EXIT_REBOOT)])],
  'rebooting/api': ['rebooting', () => after([REBOOT, exit(EXIT_REBOOT)])],
  'rebooting/stop': ['rebooting', () => after([STOP, exit(EXIT_REBOOT)])],
};

/** `-` refused; `.` taken without a move; else the state moved to at once, before any of the port's work is done. */
const MATRIX = `
                 START     STOP      STOP!     REBOOT    REBOOT!   KILL      FREEZE    UNFREEZE  EXIT      EXIT-R
stopped          creating  -         -         -         -         -         -         -         -         -
failed           creating  -         -         -         -         -         -         -         -         -
creating         -         .         .         -         -         .         -         -         -         -
mounting         -         .         .         -         -         .         -         -         -         -
devices          -         .         .         -         -         .         -         -         -         -
linking          -         .         .         -         -         .         -         -         -         -
executing        -         .         .         -         -         .         -         -         -         -
creating/stop    -         -         .         -         -         .         -         -         -         -
executing/kill   -         -         -         -         -         -         -         -         -         -
running          -         stopping  stopping  stopping  stopping  stopping  freezing  -         stopping  rebooting
freezing         -         .         .         .         .         .         -         -         .         .
freezing/stop    -         -         .         -         -         .         -         -         .         .
freezing/exit    -         -         -         -         -         -         -         -         -         -
frozen           -         thawing   thawing   thawing   thawing   thawing   -         thawing   thawing   thawing
thawing          -         .         .         .         .         .         -         -         .         .
thawing/reboot   -         .         .         -         .         .         -         -         .         .
thawing/kill     -         -         -         -         -         -         -         -         .         .
thawing/exit     -         -         -         -         -         -         -         -         -         -
thawing/exit-r   -         .         .         -         -         .         -         -         -         -
settling/stop    -         -         .         -         -         .         -         -         .         rebooting
settling/reboot  -         .         .         -         .         .         -         -         .         rebooting
signalling/stop  -         -         .         -         -         .         -         -         .         rebooting
waiting/stop     -         -         .         -         -         .         -         -         .         rebooting
waiting/reboot   -         .         .         -         .         .         -         -         .         rebooting
waiting/force    -         .         .         -         .         .         -         -         .         rebooting
commanding/stop  -         -         .         -         -         .         -         -         .         rebooting
commanding/reboot -        .         .         -         .         .         -         -         .         rebooting
patient/stop     -         -         .         -         -         .         -         -         .         rebooting
patient/force    -         .         .         -         .         .         -         -         .         rebooting
expired          -         .         .         .         .         .         -         -         .         rebooting
sending/kill     -         -         -         -         -         -         -         -         .         .
sending/exit     -         -         -         -         -         -         -         -         -         -
sending/exit-r   -         .         .         -         -         .         -         -         -         -
reaping/kill     -         -         -         -         -         -         -         -         .         rebooting
reaping/reboot   -         .         .         -         -         .         -         -         .         rebooting
cleaning/stop    -         -         -         -         -         -         -         -         -         -
cleaning/guest   -         -         -         -         -         -         -         -         -         -
cleaning/reboot  -         .         .         -         -         .         -         -         -         -
cleaning/crash   -         -         -         -         -         -         -         -         -         -
rebooting/guest  -         .         .         -         -         .         -         -         -         -
rebooting/api    -         .         .         -         -         .         -         -         -         -
rebooting/stop   -         -         -         -         -         -         -         -         -         -
`;

const [header, ...rows] = MATRIX.trim()
  .split('\n')
  .map(line => line.trim().split(/\s+/));
const cells = rows.flatMap(([situation, ...row]) =>
  row.map((expected, column) => ({ situation: situation!, event: header![column] as EventName, expected })),
);

describe('LIF-01: every situation against every event', () => {
  let rig: Rig | undefined;
  afterEach(() => {
    rig?.check();
    rig = undefined;
  });

  test('the matrix names every situation and every event once', () => {
    expect(header).toEqual(Object.keys(EVENTS));
    expect(rows.map(row => row[0])).toEqual(Object.keys(SITUATIONS));
    expect(rows.every(row => row.length === header!.length + 1)).toBe(true);
  });

  test('the situations are in the leaf states they claim, and cover every leaf of the machine', async () => {
    const seen = new Set<string>();
    for (const [name, [leaf, reach]] of Object.entries(SITUATIONS)) {
      rig = await reach();
      expect(rig.value, name).toBe(leaf);
      seen.add(leaf);
    }
    expect([...seen].sort()).toEqual(leaves(containerMachine.root).sort());
  });

  test.each(cells)('$situation + $event: $expected', async ({ situation, event: name, expected }) => {
    rig = await SITUATIONS[situation]![1]();
    const event = EVENTS[name];
    const before = { value: rig.value, context: rig.context, moves: rig.moves.length, log: [...rig.port.log] };

    expect(rig.can(event)).toBe(expected !== '-');
    if (expected === '-') {
      // Delivered all the same: a refused event must change nothing, whoever forgot to ask.
      const lives = rig.port.watching;
      rig.deliver(event);
      rig.port.watching = lives;
      expect(rig.value).toBe(before.value);
      expect(rig.context).toEqual(before.context);
      expect(rig.moves).toHaveLength(before.moves);
      expect(rig.port.log).toEqual(before.log);
      return;
    }
    rig.deliver(event);
    const moved = rig.moves.slice(before.moves).map(move => move.to);
    expect(moved).toEqual(expected === '.' ? [] : [expected]);
    expect(rig.context).not.toEqual(before.context);
  });
});

describe('LIF-01: the machine as written, against the table', () => {
  // Every transition of every state node, taken from the machine itself: also those no test happens to take.
  const written = new Set(
    STATES.flatMap(from =>
      descendants(containerMachine.root.states[from]).flatMap(node =>
        [...node.transitions.values(), node.always ?? []]
          .flat()
          .flatMap(transition => transition.target ?? [])
          .map(target => `${from} ${target.path[0]}`)
          .filter(move => move !== `${from} ${from}`),
      ),
    ),
  );
  const allowed = Object.entries(MOVES).flatMap(([from, targets]) => targets.map(to => `${from} ${to}`));

  test('has a transition for every move of the table and none beyond it', () => {
    expect([...written].sort()).toEqual(allowed.sort());
  });

  test('its top-level states are exactly the named ones', () => {
    expect(Object.keys(containerMachine.root.states).sort()).toEqual([...STATES].sort());
  });

  test('the table is the one of lifecycle.md §1, written down a second time', () => {
    const spec = `
      stopped creating, failed creating,
      creating mounting, mounting devices, devices network, network running,
      creating failed, mounting failed, devices failed, network failed,
      running stopping, running rebooting, stopping rebooting, rebooting creating, rebooting stopped,
      running freezing, freezing frozen, frozen thawing, thawing running, freezing running, thawing frozen,
      stopping stopped, stopping failed`;
    const moves = spec.split(',').map(move => move.trim());
    expect(allowed.sort()).toEqual(moves.sort());
    for (const from of STATES) {
      for (const to of STATES) expect(isMove(from, to), `${from} ${to}`).toBe(moves.includes(`${from} ${to}`));
    }
  });
});

describe('the unprovided machine', () => {
  test('only names its actors: starting one fails, and says which was forgotten', async () => {
    const actor = createActor(createContainerMachine(), { input: { port: new Rig().port } }).start();
    actor.send({ type: 'START' });
    await new Promise(resolve => setImmediate(resolve));
    expect(actor.getSnapshot().value).toBe('failed');
    expect(actor.getSnapshot().context.error?.message).toContain('runPhase');
  });
});

function descendants(node: AnyStateNode | StateNode | undefined): AnyStateNode[] {
  if (node === undefined) throw new Error('no such state');
  return [node, ...Object.values(node.states).flatMap(descendants)];
}

function leaves(root: AnyStateNode): string[] {
  return descendants(root)
    .filter(node => node.type === 'atomic')
    .map(node => node.path.join('.'));
}
