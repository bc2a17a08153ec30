/**
 * A plan is an ordered list of steps, and a step is data: what is done, who does it, what may go wrong without
 * harm, and what undoes it. Executors are in src/workers; nothing here calls anything.
 */
import type { ErrnoName } from '../spec/errno.js';
import type { CgroupAction } from './actions/cgroup.js';
import type { ChildAction } from './actions/child.js';
import type { EtcAction } from './actions/etc.js';
import type { FileAction } from './actions/files.js';
import type { ImageAction } from './actions/image.js';
import type { InitAction } from './actions/init.js';
import type { JoinAction } from './actions/join.js';
import type { JournalAction } from './actions/journal.js';
import type { KeeperAction } from './actions/keeper.js';
import type { LiveAction } from './actions/live.js';
import type { MachineAction } from './actions/machine.js';
import type { Register } from './actions/register.js';
import type { RootfsAction } from './actions/rootfs.js';
import type { ScopeAction } from './actions/scope.js';
import type { SecretAction } from './actions/secrets.js';
import type { TreeAction } from './actions/tree.js';
import type { PlanNotice } from './notice.js';

export { type InitAction, usedDescriptors } from './actions/init.js';
export { type IdMapEntry, isDescriptor, type Register, type Text } from './actions/register.js';
export type { PlanNotice } from './notice.js';

export const START_PHASES = ['creating', 'mounting', 'devices', 'network', 'running'] as const;
export type StartPhase = (typeof START_PHASES)[number];
export type Phase = StartPhase | 'teardown' | 'prepare' | 'live' | 'exec';

export type HostAction =
  | RootfsAction
  | ImageAction
  | FileAction
  | ChildAction
  | TreeAction
  | CgroupAction
  | LiveAction
  | JoinAction
  | SecretAction
  | EtcAction
  | JournalAction
  | KeeperAction
  | ScopeAction
  | MachineAction;

export interface Tolerance {
  readonly errno: ErrnoName;
  /** Why the start may go on without this. */
  readonly why: string;
}

interface StepBase {
  /** Stable and unique within a plan: `mounting.proc`. */
  readonly id: string;
  readonly phase: Phase;
  readonly label: string;
  readonly tolerate?: readonly Tolerance[];
  /**
   * Skipped while this register is empty: an earlier step, which was tolerated, found nothing to fill it with. So what
   * the host may or may not have is looked for when the start runs, not when the plan is made.
   */
  readonly needs?: Register;
}

export interface HostStep extends StepBase {
  readonly executor: 'host';
  readonly action: HostAction;
  /** Puts back what this step changed; run in reverse order when a later step fails. */
  readonly undo?: HostAction;
}

export interface InitStep extends StepBase {
  readonly executor: 'init';
  readonly action: InitAction;
}

export type Step = HostStep | InitStep;

export interface Plan {
  readonly container: string;
  readonly steps: readonly Step[];
  readonly notices: readonly PlanNotice[];
  /** Registers that outlive the start: the supervisor owns them afterwards. */
  readonly exports: readonly Register[];
}

/** The registers an action saves. */
export function savedRegisters(action: HostAction): Register[] {
  if (!('save' in action)) return [];
  const { save } = action;
  if (typeof save === 'string') return [save];
  return Object.values(save).flat();
}
