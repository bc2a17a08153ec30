/**
 * The machine explored by xstate/graph as a model, and each path walked by a real actor: real promises, timers and
 * aborts against the pure transition function. What a path means for the port is checked in every state it passes.
 */
import { describe, expect, test } from 'vitest';
import { transition } from 'xstate';
import { getShortestPaths, getSimplePaths } from 'xstate/graph';
import {
  type CommandOutcome,
  type ContainerEvent,
  type ContainerSnapshot,
  containerMachine,
  type SignalOutcome,
} from '#src/machines/container.js';
import { isMove, MOVES, STATES, type StateName } from '#src/machines/states.js';
import {
  boom,
  type CallName,
  cancelledError,
  EXIT_3,
  EXIT_HALT,
  EXIT_REBOOT,
  EXIT_SEGV,
  FakePort,
  flatten,
  Rig,
} from './rig.js';

const COMMANDS: readonly ContainerEvent[] = [
  { type: 'START' },
  { type: 'STOP', timeoutMs: 1000 },
  { type: 'REBOOT', timeoutMs: 1000 },
  { type: 'REBOOT', timeoutMs: 1000, force: true },
  { type: 'KILL' },
  { type: 'FREEZE' },
  { type: 'UNFREEZE' },
  ...[EXIT_3, EXIT_HALT, EXIT_SEGV, EXIT_REBOOT].map(exit => ({ type: 'EXIT', exit }) as const),
];

/** An answer of the port or the clock, as the machine sees it. */
interface WorldEvent {
  readonly type: `xstate.${string}`;
  readonly output?: SignalOutcome | CommandOutcome | undefined;
  readonly error?: Error;
}
type ModelEvent = ContainerEvent | WorldEvent;

/** Every answer the states entered are waiting for. */
function worldEvents(snapshot: ContainerSnapshot): WorldEvent[] {
  const awaited = new Set(snapshot._nodes.flatMap(node => [...node.transitions.keys()]));
  return [...awaited].flatMap((name): WorldEvent[] => {
    const type = name as WorldEvent['type'];
    if (type.startsWith('xstate.after')) return [{ type }];
    if (type.startsWith('xstate.error'))
      return [{ type, error: snapshot.context.intent === undefined ? boom() : cancelledError() }];
    if (type === 'xstate.done.actor.signal') {
      return [
        { type, output: { sent: true, signal: 'SIGPWR' } },
        { type, output: { sent: false, signal: 'SIGPWR' } },
        { type, output: { sent: false, signal: 'SIGPWR', command: true } },
      ];
    }
    if (type === 'xstate.done.actor.command') {
      return [{ ran: true }, { ran: false }, { ran: false, sent: true }].map(output => ({ type, output }));
    }
    return type.startsWith('xstate.done') ? [{ type, output: undefined }] : [];
  });
}

/** What of a snapshot decides about its future; the rest of the context only grows or is told. */
function modelKey({ value, context }: ContainerSnapshot): string {
  const { intent, force, timeoutMs, heard, exit, restartWanted, target } = context;
  return [flatten(value), intent, force, timeoutMs, heard, exit?.kind, restartWanted, target].join(' ');
}

const OPTIONS = {
  input: { port: new FakePort() },
  // The graph's own types know the machine's declared events only, not those the world sends to it.
  events: (snapshot: ContainerSnapshot) =>
    [...COMMANDS.filter(event => snapshot.can(event)), ...worldEvents(snapshot)] as ContainerEvent[],
  serializeState: modelKey,
  serializeEvent: (event: ModelEvent) => JSON.stringify(event),
};

/** The work that is under way in a leaf state: nothing else may be, and nothing less. */
const WORK: Partial<Record<string, CallName>> = {
  creating: 'runPhase',
  mounting: 'runPhase',
  devices: 'runPhase',
  'network.linking': 'runPhase',
  'network.executing': 'runPhase',
  freezing: 'freeze',
  thawing: 'thaw',
  rebooting: 'teardown',
  'stopping.asking.signalling': 'signal',
  'stopping.asking.commanding': 'command',
  'stopping.killing.sending': 'killAll',
  'stopping.cleaning': 'teardown',
};
const DELAYS: Record<string, number> = { stopTimeout: 1000, signalPatience: 500, killWait: 10_000, thawGrace: 3_000 };

async function perform(rig: Rig, event: ModelEvent): Promise<void> {
  const [, kind, detail, id = ''] = event.type.split('.');
  if (kind === undefined) return await rig.send(event as ContainerEvent);
  const answer = event as WorldEvent;
  if (kind === 'after') return await rig.advance(DELAYS[detail!]!);
  const work = WORK[rig.value];
  if (work !== 'runPhase') expect(id).toBe(work);
  if (kind === 'error') await rig.fail(work!, answer.error);
  else await rig.ok(work!, answer.output);
}

function compare(rig: Rig, model: ContainerSnapshot): void {
  expect(modelKey(rig.actor.getSnapshot())).toBe(modelKey(model));
  const work = WORK[rig.value];
  const underWay = rig.port.pending.filter(call => !call.abort.aborted).map(call => call.name);
  expect(underWay, rig.value).toEqual(work === undefined ? [] : [work]);
  rig.check();
}

type Steps = readonly { readonly event: ModelEvent; readonly state: ContainerSnapshot }[];

async function walk(steps: Steps): Promise<Rig> {
  const rig = new Rig();
  for (const { event, state } of steps) {
    if (event.type !== 'xstate.init') await perform(rig, event);
    compare(rig, state);
  }
  return rig;
}

function label(event: ModelEvent): string {
  if (event.type === 'EXIT' && 'exit' in event) return `EXIT(${event.exit.kind})`;
  if ('force' in event && event.force) return `${event.type}!`;
  if ('output' in event && event.output !== undefined) return JSON.stringify(event.output);
  return event.type.replace('xstate.', '').replace('actor.', '').replace('.container', '');
}

const STARTED = 'START, done.creating, done.mounting, done.devices, done.network, done.running';

function title(steps: Steps): string {
  const labels = steps.slice(1).map(({ event }) => label(event));
  return labels.length === 0 ? 'nothing' : labels.join(', ').replace(STARTED, 'running');
}

describe('shortest paths, to every state of the model and over every edge out of it', () => {
  const paths = getShortestPaths(containerMachine, OPTIONS).map(({ state, steps }) => ({
    name: title(steps),
    state,
    steps,
  }));
  const edgesOf = (state: ContainerSnapshot): Steps =>
    OPTIONS.events(state).map(event => ({ event, state: transition(containerMachine, state, event)[0] }));

  test('the model knows every state, and its edges none but chains of allowed moves', () => {
    expect(new Set(paths.map(({ state }) => state.context.at))).toEqual(new Set(STATES));
    for (const { state } of paths) {
      for (const edge of edgesOf(state)) {
        const { at } = edge.state.context;
        expect(reaches(state.context.at, at), `${state.context.at} to ${at} by ${edge.event.type}`).toBe(true);
      }
    }
  });

  test.each(paths.map(path => [path.name, path] as const))('%s', async (_, { steps, state }) => {
    const edges = edgesOf(state);
    expect(edges.length).toBeGreaterThan(0);
    for (const edge of edges) await walk([...steps, edge]);
  });
});

describe('simple paths: every way a start with a stop in it can go', () => {
  const paths = getSimplePaths(containerMachine, {
    ...OPTIONS,
    events: snapshot =>
      OPTIONS.events(snapshot).filter(
        event => ['START', 'STOP'].includes(event.type) || event.type.startsWith('xstate.'),
      ),
    stopWhen: snapshot => ['running', 'failed', 'stopping'].includes(snapshot.context.at),
  });
  const ends = paths.filter(({ state }) => ['running', 'failed', 'stopping'].includes(state.context.at));

  test('there are as many as there are places to stop and to fail in', () => {
    // No stop: running, or failed in one of 5 phases. A stop in phase i: failed in any from i on (15), or stopping.
    expect(ends).toHaveLength(1 + 5 + 15 + 5);
  });

  test.each(ends.map(({ steps }) => [title(steps), steps] as const))('%s', async (_, steps) => {
    const rig = await walk(steps);
    const stopped = steps.some(({ event }) => event.type === 'STOP');
    expect(rig.port.log.filter(call => call === 'cancelStart')).toHaveLength(stopped ? 1 : 0);
    if (rig.value === 'failed') expect(rig.last.reason).toBe(stopped ? 'cancelled' : 'phase-failed');
  });
});

/** Whether a chain of allowed moves of at most three leads there: the longest the machine takes in one macrostep. */
function reaches(from: StateName, to: StateName, moves = 3): boolean {
  return from === to || isMove(from, to) || (moves > 1 && MOVES[from].some(next => reaches(next, to, moves - 1)));
}
