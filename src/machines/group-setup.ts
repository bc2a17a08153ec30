/** The vocabulary of the group machine: its named actors, actions and guards. */
import { assign, emit, fromPromise, setup } from 'xstate';
import { asCaissonError, CaissonError } from '../spec/errors.js';
import {
  freshChildren,
  type GroupContext,
  type GroupEmitted,
  type GroupEvent,
  type GroupInput,
  type GroupPort,
  type GroupReason,
  type GroupState,
  isCurrent,
  withStatus,
} from './group-memory.js';
import { type ChildEnd, isAlive, react, startTasks, stoppedStatus, stopTasks, type Task } from './group-policy.js';

export interface TaskInput {
  readonly port: GroupPort;
  readonly task: Task;
  readonly again: boolean;
}

export const base = setup({
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
    /** Now that is what somebody wants. */
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

/** Announces the entry into a top-level state: an entry action, because a state may be left in the same macrostep. */
export function entered(to: GroupState) {
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
