/** The executors of all host actions. */
import type { HostAction } from '../../plan/step.js';
import type { StepContext } from '../context.js';
import { CGROUP_ACTIONS } from './cgroup-actions.js';
import { CHILD_ACTIONS } from './child-actions.js';
import type { Executors } from './executors.js';
import { FILE_ACTIONS } from './files-actions.js';
import { IMAGE_ACTIONS } from './image/actions.js';
import { JOIN_ACTIONS } from './join-actions.js';
import { JOURNAL_ACTIONS } from './journal-actions.js';
import { KEEPER_ACTIONS } from './keeper-actions.js';
import { LIVE_ACTIONS } from './live-actions.js';
import { MACHINE_ACTIONS } from './machined.js';
import { ROOTFS_ACTIONS } from './rootfs/actions.js';
import { ETC_ACTIONS } from './rootfs/etc.js';
import { SCOPE_ACTIONS } from './scope-actions.js';
import { SECRET_ACTIONS } from './secret-actions.js';
import { TREE_ACTIONS } from './tree-actions.js';

export const HOST_ACTIONS: Executors<HostAction> = {
  ...ROOTFS_ACTIONS,
  ...IMAGE_ACTIONS,
  ...FILE_ACTIONS,
  ...CHILD_ACTIONS,
  ...TREE_ACTIONS,
  ...SECRET_ACTIONS,
  ...ETC_ACTIONS,
  ...JOURNAL_ACTIONS,
  ...CGROUP_ACTIONS,
  ...LIVE_ACTIONS,
  ...JOIN_ACTIONS,
  ...SCOPE_ACTIONS,
  ...MACHINE_ACTIONS,
  ...KEEPER_ACTIONS,
};

export function runHostAction(action: HostAction, context: StepContext): void {
  // The table is typed per action; the lookup by a union needs the one cast.
  (HOST_ACTIONS[action.op] as (action: HostAction, context: StepContext) => void)(action, context);
}
