/**
 * The life of a group: it starts its children in order, each when the one before is ready, stops them in reverse, and in
 * between answers their ends as group-policy.ts decides. One task at a time; ends that come meanwhile wait.
 */
import { not, type SnapshotFrom } from 'xstate';
import { type GroupInput, type GroupReason, initialGroup } from './group-memory.js';
import { startTasks } from './group-policy.js';
import { base, entered } from './group-setup.js';

export type * from './group-memory.js';

/** Ends that came meanwhile wait for the task under way; a stop does not. */
const meanwhile = {
  CHILD_ENDED: { guard: 'wasAlive', actions: 'childEnded' },
  CHILD_STARTED: { actions: 'childStarted' },
} as const;
const stopNow = { STOP: { target: '#stopping', actions: 'askStop' } } as const;
/** It is stopping already, since it has given up. */
const stopAnew = { STOP: { guard: not('stopAsked'), actions: 'noteStop' } } as const;

interface Work {
  readonly on: typeof stopNow | typeof stopAnew;
  /** What it starts is restarted. */
  readonly again: boolean;
  /** Where it leads when nothing is left to do. */
  readonly done: readonly {
    readonly guard?: 'hasEnds' | 'hasFailed';
    readonly target: '#deciding' | '#running' | '#failed' | '#stopped';
    readonly actions?: { readonly type: 'because'; readonly params: { readonly reason: GroupReason } };
  }[];
  /** Where a failed start leads; a failed stop never leads away. */
  readonly failed: readonly {
    readonly target: '#stopping' | '#deciding';
    readonly action: 'startFailed' | 'restartFailed';
  }[];
}

function withError<const T extends 'taskSkipped' | 'startFailed' | 'restartFailed'>(type: T) {
  return { type, params: ({ event }: { event: { error: unknown } }) => ({ error: event.error }) };
}

/** Does what is on the agenda, one task after the other. */
function working(name: 'starting' | 'restarting' | 'stopping', { on, again, done, failed }: Work) {
  return base.createStateConfig({
    id: name,
    entry: entered(name),
    on: { ...meanwhile, ...on },
    initial: 'next',
    states: {
      next: { always: [{ guard: not('isIdle'), target: 'doing' }, ...done] },
      doing: {
        entry: 'takeTask',
        invoke: {
          src: 'task',
          id: 'task',
          // Entered only with something to do.
          input: ({ context: { port, agenda } }) => ({ port, task: agenda[0]!, again }),
          onDone: { target: 'next', actions: 'taskDone' },
          onError: [
            { guard: 'goesOn', target: 'next', actions: withError('taskSkipped') },
            ...failed.map(({ target, action }) => ({ target, actions: withError(action) })),
          ],
        },
      },
    },
  });
}

const starting = working('starting', {
  on: stopNow,
  again: false,
  done: [
    { guard: 'hasEnds', target: '#deciding' },
    { target: '#running', actions: { type: 'because', params: { reason: 'started' } } },
  ],
  failed: [{ target: '#stopping', action: 'startFailed' }],
});

const restarting = working('restarting', {
  on: stopNow,
  again: true,
  done: [
    { guard: 'hasEnds', target: '#deciding' },
    { target: '#running', actions: { type: 'because', params: { reason: 'restarted' } } },
  ],
  failed: [{ target: '#deciding', action: 'restartFailed' }],
});

const stopping = working('stopping', {
  on: stopAnew,
  again: false,
  done: [{ guard: 'hasFailed', target: '#failed' }, { target: '#stopped' }],
  failed: [],
});

const atRest = {
  START: { target: '#starting', actions: 'begin' },
  CHILD_ENDED: { actions: 'childEndedAtRest' },
  CHILD_STARTED: { actions: 'childStarted' },
} as const;

export const groupMachine = base.createMachine({
  id: 'group',
  context: ({ input }) => initialGroup(input),
  initial: 'stopped',
  states: {
    stopped: { id: 'stopped', entry: entered('stopped'), on: atRest },
    failed: { id: 'failed', entry: entered('failed'), on: atRest },
    starting,
    restarting,
    stopping,
    running: {
      id: 'running',
      entry: entered('running'),
      on: {
        ...stopNow,
        START: { guard: 'isIncomplete', target: '#starting', actions: 'complete' },
        CHILD_ENDED: { guard: 'wasAlive', target: '#deciding', actions: 'childEnded' },
        CHILD_STARTED: { actions: 'childStarted' },
      },
    },
    deciding: {
      id: 'deciding',
      entry: ['decide', 'tellDecision'],
      always: [
        { guard: 'givesUp', target: '#stopping', actions: 'giveUp' },
        { guard: not('isIdle'), target: '#restarting' },
        { guard: 'hasEnds', target: '#deciding', reenter: true },
        { target: '#running' },
      ],
    },
  },
});
export type GroupMachine = typeof groupMachine;

/** The snapshot to start the actor of a group from whose children a new supervisor has found running. */
export function foundSnapshot(input: GroupInput): SnapshotFrom<GroupMachine> {
  return groupMachine.resolveState({ value: 'running', context: initialGroup(input) });
}

/** Some of its children do not run that are to: START would start them. */
export function isIncomplete({ context }: SnapshotFrom<GroupMachine>): boolean {
  return context.at === 'running' && startTasks(context.rules, context.children).length > 0;
}
