/** Events and memory of the group machine. */
import type { CaissonError } from '../spec/errors.js';
import type { ChildEnd, Children, ChildStatus, GroupDecision, GroupRules, Task } from './group-policy.js';

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

export interface GroupContext {
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

export function initialGroup({ rules, port, found }: GroupInput): GroupContext {
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

export function withStatus(context: GroupContext, child: string | undefined, status: ChildStatus): Children {
  return child === undefined ? context.children : { ...context.children, [child]: status };
}

/** Each child as it is when the group begins: what runs already needs no start. */
export function freshChildren({ children, rules }: GroupContext): Children {
  return Object.fromEntries(rules.children.map(({ name }) => [name, children[name] === 'up' ? 'up' : 'down']));
}

/** Its task is the one under way. */
export function isCurrent(context: GroupContext, child: string): boolean {
  return context.agenda[0]?.child === child;
}
