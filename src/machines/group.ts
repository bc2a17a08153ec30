/**
 * The life of a group: it starts its children in order, each when the one before is ready, stops them in reverse, and in
 * between answers their ends as group-policy.ts decides. One task at a time; ends that come meanwhile wait.
 */
import { assign, emit, fromPromise, not, type SnapshotFrom, setup } from 'xstate';
import { asCaissonError, CaissonError } from '../spec/errors.js';
import {
  type ChildEnd,
  type Children,
  type ChildStatus,
  type GroupDecision,
  type GroupRules,
  isAlive,
  react,
  startTasks,
  stoppedStatus,
  stopTasks,
  type Task,
} from './group-policy.js';

export const GROUP_STATES = ['stopped', 'starting', 'running', 'restarting', 'stopping', 'failed'] as const;
export type GroupState = (typeof GROUP_STATES)[number];

/** Why a group has moved. */
export const GROUP_REASONS = ['start', 'started', 'stop', 'child', 'restarted', 'start-failed', 'limit'] as const;
export type GroupReason = (typeof GROUP_REASONS)[number];

export interface GroupPort {
  /** Milliseconds of a clock that only goes forward. Must not throw. */
  now(): number;
  /** Resolves when the child is ready; `again`: it is restarted. Nobody waits any more once `signal` has fired. */
  start(child: string, again: boolean, signal: AbortSignal): Promise<void>;
  /** Resolves when nothing of the child runs. */
  stop(child: string, signal: AbortSignal): Promise<void>;
}

export interface GroupInput {
  readonly rules: GroupRules;
  readonly port: GroupPort;
  /** Found running by a new supervisor, with its children as they are. */
  readonly found?: Children;
}

export type GroupEvent =
  | { readonly type: 'START' }
  /** `initiator`: `host` when a parent or the host's shutdown stops it. */
  | { readonly type: 'STOP'; readonly initiator: 'api' | 'host' }
  | { readonly type: 'CHILD_ENDED'; readonly end: ChildEnd }
  /** Somebody else has started it. */
  | { readonly type: 'CHILD_STARTED'; readonly child: string };

export interface GroupMoved {
  readonly type: 'moved';
  readonly from: GroupState;
  readonly to: GroupState;
  readonly reason: GroupReason;
  readonly error?: CaissonError;
  /** Somebody had asked it to stop. */
  readonly stopAsked?: 'api' | 'host';
}
export type GroupEmitted = GroupMoved | { readonly type: 'decided'; readonly decision: GroupDecision };

interface GroupContext {
  readonly rules: GroupRules;
  readonly port: GroupPort;
  readonly at: GroupState;
  readonly reason: GroupReason;
  readonly children: Children;
  readonly agenda: readonly Task[];
  readonly ends: readonly ChildEnd[];
  readonly times: readonly number[];
  readonly decision: GroupDecision | undefined;
  readonly stopAsked: 'api' | 'host' | undefined;
  readonly error: CaissonError | undefined;
}

interface TaskInput {
  readonly port: GroupPort;
  readonly task: Task;
  readonly again: boolean;
}

function withStatus(context: GroupContext, child: string | undefined, status: ChildStatus): Children {
  return child === undefined ? context.children : { ...context.children, [child]: status };
}

/** Each child as it is when the group begins: what runs already needs no start. */
function freshChildren({ children, rules }: GroupContext): Children {
  return Object.fromEntries(rules.children.map(({ name }) => [name, children[name] === 'up' ? 'up' : 'down']));
}

function isCurrent(context: GroupContext, child: string): boolean {
  return context.agenda[0]?.child === child;
}

const base = setup({
  types: {
    context: {} as GroupContext,
    events: {} as GroupEvent,
    emitted: {} as GroupEmitted,
    input: {} as GroupInput,
  },
  actors: {
    // The async function turns a port that throws at once into a rejection.
    task: fromPromise<void, TaskInput>(async ({ input: { port, task, again }, signal }) => {
      if (task.do === 'start') await port.start(task.child, again, signal);
      else await port.stop(task.child, signal);
    }),
  },
  guards: {
    isIdle: ({ context }) => context.agenda.length === 0,
    hasEnds: ({ context }) => context.ends.length > 0,
    hasFailed: ({ context }) => context.error !== undefined,
    /** A start of its own that has failed is no end of a child. */
    wasAlive: ({ context, event }) => event.type === 'CHILD_ENDED' && isAlive(context.children[event.end.child]),
    stopAsked: ({ context }) => context.stopAsked !== undefined,
    isIncomplete: ({ context }) => startTasks(context.rules, context.children).length > 0,
    givesUp: ({ context }) => context.decision?.action === 'give-up',
    /** The task that has failed was a stop, or was to start what a caller has stopped meanwhile. */
    goesOn: ({ context }) =>
      context.agenda[0]?.do === 'stop' || context.children[context.agenda[0]?.child ?? ''] === 'held',
  },
  actions: {
    begin: assign(({ context }) => {
      const children = freshChildren(context);
      return {
        children,
        agenda: startTasks(context.rules, children),
        ends: [],
        times: [],
        reason: 'start' as const,
        error: undefined,
        stopAsked: undefined,
      };
    }),
    complete: assign(({ context }) => ({
      agenda: startTasks(context.rules, context.children),
      reason: 'start' as const,
    })),
    askStop: assign(({ context, event }) => ({
      agenda: stopTasks(context.rules, context.children),
      ends: [],
      reason: 'stop' as const,
      stopAsked: event.type === 'STOP' ? event.initiator : context.stopAsked,
      error: undefined,
    })),
    /** It is stopping already, since it has given up: now that is what somebody wants. */
    noteStop: assign(({ event }) => ({
      reason: 'stop' as const,
      stopAsked: event.type === 'STOP' ? event.initiator : undefined,
      error: undefined,
    })),
    takeTask: assign(({ context }) => ({ children: withStatus(context, context.agenda[0]?.child, 'busy') })),
    taskDone: assign(({ context }) => {
      const [task, ...agenda] = context.agenda;
      if (task === undefined) return {};
      // A caller has stopped it while the group did: it stays so.
      if (context.children[task.child] === 'held')
        return { agenda: agenda.filter(({ child }) => child !== task.child) };
      const goesOn = context.at !== 'stopping';
      const status = task.do === 'start' ? ('up' as const) : stoppedStatus(context.rules, task.child, goesOn);
      return { agenda, children: withStatus(context, task.child, status) };
    }),
    /** It goes on with the next. */
    taskSkipped: assign(({ context }, params: { readonly error: unknown }) => {
      const [task, ...agenda] = context.agenda;
      if (task === undefined) return {};
      if (task.do === 'start') return { agenda };
      return { agenda, children: withStatus(context, task.child, 'down'), error: asCaissonError(params.error) };
    }),
    startFailed: assign(({ context }, params: { readonly error: unknown }) => {
      const children = withStatus(context, context.agenda[0]?.child, 'down');
      return {
        children,
        agenda: stopTasks(context.rules, children),
        ends: [],
        reason: 'start-failed' as const,
        error: asCaissonError(params.error),
      };
    }),
    restartFailed: assign(({ context }, params: { readonly error: unknown }) => {
      const [task] = context.agenda;
      if (task === undefined) return {};
      const { message } = asCaissonError(params.error);
      const end: ChildEnd = { child: task.child, how: 'start-failed', text: message };
      return { agenda: [], children: withStatus(context, task.child, 'down'), ends: [end, ...context.ends] };
    }),
    childEnded: assign(({ context, event }) => {
      if (event.type !== 'CHILD_ENDED') return {};
      const { end } = event;
      const asked = end.how === 'asked';
      const current = isCurrent(context, end.child) && context.at !== 'running';
      // Of the child that is being started or stopped its task tells the outcome.
      if (current) return asked ? { children: withStatus(context, end.child, 'held') } : {};
      return {
        children: withStatus(context, end.child, asked ? 'held' : 'down'),
        agenda: context.agenda.filter(task => task.child !== end.child || (!asked && task.do === 'start')),
        // What is to be started anyway needs no decision.
        ends: context.agenda.some(task => task.child === end.child) && !asked ? context.ends : [...context.ends, end],
      };
    }),
    childEndedAtRest: assign(({ context, event }) =>
      event.type === 'CHILD_ENDED' ? { children: withStatus(context, event.end.child, 'down') } : {},
    ),
    childStarted: assign(({ context, event }) => {
      if (event.type !== 'CHILD_STARTED' || isCurrent(context, event.child)) return {};
      return {
        children: withStatus(context, event.child, 'up'),
        ends: context.ends.filter(({ child }) => child !== event.child),
      };
    }),
    decide: assign(({ context }) => {
      const [end, ...ends] = context.ends;
      if (end === undefined) return { decision: undefined };
      const { decision, tasks, children, times } = react(
        context.rules,
        context.children,
        context.times,
        end,
        context.port.now(),
      );
      // Ends of others that are started again anyway need no decision of their own.
      const left = ends.filter(({ child }) => !decision.affected.includes(child));
      return { decision, children, times, agenda: tasks, ends: left, reason: 'child' as const };
    }),
    tellDecision: emit(({ context }) => ({ type: 'decided' as const, decision: context.decision! })),
    giveUp: assign(({ context }) => ({
      agenda: stopTasks(context.rules, context.children),
      ends: [],
      reason: 'limit' as const,
      error: new CaissonError(
        'RESTART_LIMIT',
        `${context.decision?.child}: ${context.decision?.text}; the group has restarted as often as it may`,
        { hint: 'see the events of that child for why it ends; intensity and period of the group say how often' },
      ),
    })),
    because: assign((_, params: { readonly reason: GroupReason }) => params),
  },
});

function entered(to: GroupState) {
  return base.enqueueActions(({ context, enqueue }) => {
    const { at: from, reason, error, stopAsked } = context;
    if (from === to) return;
    const ended = to === 'stopped' || to === 'failed';
    enqueue.emit({
      type: 'moved',
      from,
      to,
      reason,
      ...(ended && error !== undefined ? { error } : {}),
      ...(ended && stopAsked !== undefined ? { stopAsked } : {}),
    });
    enqueue.assign({ at: to });
  });
}

const doTask = {
  src: 'task',
  id: 'task',
} as const;

/** Ends that came meanwhile wait for the task under way; a stop does not. */
const meanwhile = {
  CHILD_ENDED: { guard: 'wasAlive', actions: 'childEnded' },
  CHILD_STARTED: { actions: 'childStarted' },
} as const;
const stopNow = { STOP: { target: '#stopping', actions: 'askStop' } } as const;

function taskInput(again: boolean) {
  return ({ context }: { context: GroupContext }): TaskInput => ({
    port: context.port,
    // Entered only with something to do.
    task: context.agenda[0]!,
    again,
  });
}

const starting = base.createStateConfig({
  id: 'starting',
  entry: entered('starting'),
  on: { ...meanwhile, ...stopNow },
  initial: 'next',
  states: {
    next: {
      always: [
        { guard: not('isIdle'), target: 'doing' },
        { guard: 'hasEnds', target: '#deciding' },
        { target: '#running', actions: { type: 'because', params: { reason: 'started' } } },
      ],
    },
    doing: {
      entry: 'takeTask',
      invoke: {
        ...doTask,
        input: taskInput(false),
        onDone: { target: 'next', actions: 'taskDone' },
        onError: [
          {
            guard: 'goesOn',
            target: 'next',
            actions: { type: 'taskSkipped', params: ({ event }) => ({ error: event.error }) },
          },
          {
            target: '#stopping',
            actions: { type: 'startFailed', params: ({ event }) => ({ error: event.error }) },
          },
        ],
      },
    },
  },
});

const restarting = base.createStateConfig({
  id: 'restarting',
  entry: entered('restarting'),
  on: { ...meanwhile, ...stopNow },
  initial: 'next',
  states: {
    next: {
      always: [
        { guard: not('isIdle'), target: 'doing' },
        { guard: 'hasEnds', target: '#deciding' },
        { target: '#running', actions: { type: 'because', params: { reason: 'restarted' } } },
      ],
    },
    doing: {
      entry: 'takeTask',
      invoke: {
        ...doTask,
        input: taskInput(true),
        onDone: { target: 'next', actions: 'taskDone' },
        onError: [
          {
            guard: 'goesOn',
            target: 'next',
            actions: { type: 'taskSkipped', params: ({ event }) => ({ error: event.error }) },
          },
          {
            target: '#deciding',
            actions: { type: 'restartFailed', params: ({ event }) => ({ error: event.error }) },
          },
        ],
      },
    },
  },
});

const stopping = base.createStateConfig({
  id: 'stopping',
  entry: entered('stopping'),
  on: { ...meanwhile, STOP: { guard: not('stopAsked'), actions: 'noteStop' } },
  initial: 'next',
  states: {
    next: {
      always: [
        { guard: not('isIdle'), target: 'doing' },
        { guard: 'hasFailed', target: '#failed' },
        { target: '#stopped' },
      ],
    },
    doing: {
      entry: 'takeTask',
      invoke: {
        ...doTask,
        input: taskInput(false),
        onDone: { target: 'next', actions: 'taskDone' },
        onError: {
          target: 'next',
          actions: { type: 'taskSkipped', params: ({ event }) => ({ error: event.error }) },
        },
      },
    },
  },
});

function contextOf({ rules, port, found }: GroupInput): GroupContext {
  return {
    rules,
    port,
    at: found === undefined ? 'stopped' : 'running',
    reason: 'start',
    children: found ?? {},
    agenda: [],
    ends: [],
    times: [],
    decision: undefined,
    stopAsked: undefined,
    error: undefined,
  };
}

const atRest = {
  START: { target: '#starting', actions: 'begin' },
  CHILD_ENDED: { actions: 'childEndedAtRest' },
  CHILD_STARTED: { actions: 'childStarted' },
} as const;

export const groupMachine = base.createMachine({
  id: 'group',
  context: ({ input }) => contextOf(input),
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
  return groupMachine.resolveState({ value: 'running', context: contextOf(input) });
}

/** Some of its children do not run that are to: START would start them. */
export function isIncomplete({ context }: SnapshotFrom<GroupMachine>): boolean {
  return context.at === 'running' && startTasks(context.rules, context.children).length > 0;
}
