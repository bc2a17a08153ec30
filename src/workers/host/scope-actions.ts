/** Executors of the actions on units of systemd. */
import type { ScopeAction } from '../../plan/actions/scope.js';
import { writeFile } from '../../syscalls/fs.js';
import { removeCgroupIfThere } from './cgroup.js';
import type { Executors } from './executors.js';
import { startScope, stopScope } from './systemd.js';

export const SCOPE_ACTIONS: Executors<ScopeAction> = {
  'scope.start': (action, context) => startScope(action, context.get(action.pid)),
  'scope.stop': action => {
    stopScope(action);
    // systemd tries once, and forgets the unit: where a group of ours was still in it just then, it has left its own.
    removeCgroupIfThere(action.path, action.timeoutMs);
  },
  'cgroup.attach': (action, context) => writeFile(`${action.path}/cgroup.procs`, String(context.get(action.pid))),
};
