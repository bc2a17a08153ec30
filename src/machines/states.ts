/**
 * The life of a container as data: its states, the moves between them, and the names the outside world knows them by.
 * The machine in `container.ts` is written to this table and the tests hold it to it (LIF-01).
 */
import type { ExitStatus } from './exit.js';

export const STATES = [
  'stopped',
  'creating',
  'mounting',
  'devices',
  'network',
  'running',
  'stopping',
  'failed',
  'rebooting',
  'freezing',
  'frozen',
  'thawing',
] as const;
export type StateName = (typeof STATES)[number];

/**
 * The phases of a start plan. Four of them are also states; the fifth, `running` (the exec), is done while the
 * machine is still in `network`, because the state `running` means that exec has succeeded (LIF-36).
 */
export { START_PHASES as PHASES, type StartPhase as Phase } from '../plan/step.js';

/** Every allowed move, lifecycle.md §1. There is no other. */
export const MOVES: Readonly<Record<StateName, readonly StateName[]>> = {
  stopped: ['creating'],
  failed: ['creating'],
  creating: ['mounting', 'failed'],
  mounting: ['devices', 'failed'],
  devices: ['network', 'failed'],
  network: ['running', 'failed'],
  running: ['stopping', 'rebooting', 'freezing'],
  stopping: ['stopped', 'failed', 'rebooting'],
  rebooting: ['creating', 'stopped'],
  freezing: ['frozen', 'running'],
  frozen: ['thawing'],
  thawing: ['running', 'frozen'],
};

export function isMove(from: StateName, to: StateName): boolean {
  return MOVES[from].includes(to);
}

/** Nothing of it runs, and nothing is under way. */
export function hasEnded(state: StateName): state is 'stopped' | 'failed' {
  return state === 'stopped' || state === 'failed';
}

/** Why a move happened. Closed: a consumer may switch over it. */
export const REASONS = [
  'start',
  'phase-done',
  'phase-failed',
  'cancelled',
  'stop',
  'kill',
  'reboot',
  'exit',
  'freeze',
  'freeze-failed',
  'unfreeze',
  'thaw-failed',
  'unkillable',
  'cleanup-failed',
  'restart-limit',
] as const;
export type Reason = (typeof REASONS)[number];

export const INITIATORS = ['guest', 'api', 'host'] as const;
/** Who caused a move: the payload itself, a caller, or the host (its shutdown, its boot, a restart policy). LIF-32. */
export type Initiator = (typeof INITIATORS)[number];

/** Public status codes, the same as those of Incus (LIF-04). */
export const STATUS_CODES = {
  Started: 101,
  Stopped: 102,
  Running: 103,
  Starting: 106,
  Stopping: 107,
  Aborting: 108,
  Freezing: 109,
  Frozen: 110,
  Thawed: 111,
  Error: 112,
  Ready: 113,
} as const;
export type StatusName = keyof typeof STATUS_CODES;

/** `rebooting` counts as Stopping: what is done in it is the teardown of the old life; the new one is Starting again. */
const STATUS_OF: Readonly<Record<StateName, StatusName>> = {
  stopped: 'Stopped',
  creating: 'Starting',
  mounting: 'Starting',
  devices: 'Starting',
  network: 'Starting',
  running: 'Running',
  stopping: 'Stopping',
  failed: 'Error',
  rebooting: 'Stopping',
  freezing: 'Freezing',
  frozen: 'Frozen',
  thawing: 'Thawed',
};

export interface StatusFlags {
  /** The container reported readiness: counts only while running. */
  readonly ready?: boolean;
  /** A stop was asked while starting, the rollback is under way. */
  readonly cancelled?: boolean;
}

export function statusOf(state: StateName, flags: StatusFlags = {}): { name: StatusName; code: number } {
  let name = STATUS_OF[state];
  if (name === 'Running' && flags.ready === true) name = 'Ready';
  if (name === 'Starting' && flags.cancelled === true) name = 'Aborting';
  return { name, code: STATUS_CODES[name] };
}

/** Lifecycle action names, the same as those of Incus (LIF-05). The last five do not come from a move. */
export const LIFECYCLE_ACTIONS = [
  'instance-started',
  'instance-stopped',
  'instance-shutdown',
  'instance-restarted',
  'instance-paused',
  'instance-resumed',
  'instance-ready',
  'instance-updated',
  'instance-created',
  'instance-deleted',
  'instance-exec',
] as const;
export type LifecycleAction = (typeof LIFECYCLE_ACTIONS)[number];

/**
 * The action a move is announced as, if any. As in Incus, `shutdown` is an end that init came to by itself or on
 * a signal, `stopped` one that was forced on it or a crash.
 */
export function actionOf(move: { from: StateName; to: StateName; exit?: ExitStatus }): LifecycleAction | undefined {
  const { from, to, exit } = move;
  if (from === 'network' && to === 'running') return 'instance-started';
  if (from === 'rebooting' && to === 'creating') return 'instance-restarted';
  if (from === 'freezing' && to === 'frozen') return 'instance-paused';
  if (from === 'thawing' && to === 'running') return 'instance-resumed';
  if (to === 'stopped') return exit?.kind === 'killed' ? 'instance-stopped' : 'instance-shutdown';
  if (from === 'stopping' && to === 'failed') return 'instance-stopped';
  return undefined;
}
