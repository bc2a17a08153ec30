/** OTP's rules for the children of a group (stdlib's supervisor): who is stopped and started when one ends. Pure. */
import type { ChildSpec, GroupSpec } from '../spec/schema/group.js';

/**
 * `held`: a caller has stopped it, which is not undone. `done`: it has ended, and its restart type asks for no more. `busy`: it
 * is being started or stopped.
 */
export type ChildStatus = 'down' | 'busy' | 'up' | 'held' | 'done';
export type Children = Readonly<Record<string, ChildStatus>>;

export interface ChildEnd {
  readonly child: string;
  /** `asked`: a caller has stopped it. `normal`: it has ended by itself, without failure. */
  readonly how: 'asked' | 'normal' | 'failed' | 'start-failed';
  /** For people: `PID 1 exited with status 3`. */
  readonly text: string;
}

export interface Task {
  readonly do: 'start' | 'stop';
  readonly child: string;
}

/** Why a group does what it does about a child's end. Closed: a consumer may switch over it. */
export const GROUP_CAUSES = ['failed', 'ended', 'start-failed', 'asked', 'type', 'limit'] as const;
export type GroupCause = (typeof GROUP_CAUSES)[number];

export interface GroupDecision {
  readonly action: 'restart' | 'stay' | 'give-up';
  readonly cause: GroupCause;
  readonly child: string;
  readonly text: string;
  /** All that are started again on its account, itself included, in their order. */
  readonly affected: readonly string[];
}

export type GroupRules = Pick<GroupSpec, 'strategy' | 'intensity' | 'period' | 'children'>;

export interface Reaction {
  readonly decision: GroupDecision;
  readonly tasks: readonly Task[];
  readonly children: Children;
  /** When it has restarted, in ms of some clock, within the period. */
  readonly times: readonly number[];
}

function affectedBy({ strategy, children }: GroupRules, name: string): readonly ChildSpec[] {
  const index = children.findIndex(child => child.name === name);
  if (strategy === 'one_for_one') return children.slice(index, index + 1);
  return strategy === 'one_for_all' ? children : children.slice(index);
}

export function isAlive(status: ChildStatus | undefined): boolean {
  return status === 'up' || status === 'busy';
}

/** Ends everything that is alive, in reverse order. */
export function stopTasks(rules: GroupRules, children: Children): Task[] {
  return [...rules.children]
    .reverse()
    .filter(({ name }) => isAlive(children[name]))
    .map(({ name }): Task => ({ do: 'stop', child: name }));
}

/** Starts everything that does not run, in order. */
export function startTasks(rules: GroupRules, children: Children): Task[] {
  return rules.children
    .filter(({ name }) => children[name] === 'down')
    .map(({ name }): Task => ({ do: 'start', child: name }));
}

/** What to do about the end of a child, which is no longer alive. */
export function react(
  rules: GroupRules,
  children: Children,
  times: readonly number[],
  end: ChildEnd,
  now: number,
): Reaction {
  const { child, text } = end;
  const type = rules.children.find(({ name }) => name === child)?.restart ?? 'temporary';
  const stay = (cause: GroupCause, status: ChildStatus): Reaction => ({
    decision: { action: 'stay', cause, child, text, affected: [] },
    tasks: [],
    children: { ...children, [child]: status },
    times,
  });
  if (end.how === 'asked') return stay('asked', 'held');
  if (type === 'temporary' || (type === 'transient' && end.how === 'normal')) return stay('type', 'done');

  const recent = times.filter(time => now - time < rules.period);
  if (recent.length >= rules.intensity) {
    return {
      decision: { action: 'give-up', cause: 'limit', child, text, affected: [] },
      tasks: [],
      children: { ...children, [child]: 'down' },
      times: recent,
    };
  }
  const group = affectedBy(rules, child);
  const stops = stopTasks({ ...rules, children: group }, { ...children, [child]: 'down' });
  // A temporary one is never started again, even when it was stopped for a sibling's sake; what a caller has stopped neither.
  const comesBack = group.filter(({ name, restart }) => restart !== 'temporary' && children[name] !== 'held');
  const after: Record<string, ChildStatus> = { ...children };
  for (const { name } of comesBack) if (!isAlive(children[name]) || name === child) after[name] = 'down';
  const affected = comesBack.map(({ name }) => name);
  return {
    decision: { action: 'restart', cause: end.how === 'normal' ? 'ended' : end.how, child, text, affected },
    tasks: [...stops, ...affected.map((name): Task => ({ do: 'start', child: name }))],
    children: after,
    times: [...recent, now],
  };
}

/** The state of a child after it has been stopped by the group. */
export function stoppedStatus(rules: GroupRules, child: string, goesOn: boolean): ChildStatus {
  const type = rules.children.find(({ name }) => name === child)?.restart;
  return goesOn && type === 'temporary' ? 'done' : 'down';
}
