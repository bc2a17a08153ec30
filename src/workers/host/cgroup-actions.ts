/** Executors of the actions on cgroups. */
import type { CgroupAction } from '../../plan/actions/cgroup.js';
import { attachDeviceProgram } from '../../syscalls/bpf.js';
import { oomEvent } from '../../syscalls/oom.js';
import { inheritCpuset, killCgroup, removeCgroup } from './cgroup.js';
import type { Executors } from './executors.js';
import { freezeCgroup } from './freeze.js';
import { limitMemory } from './memory-limit.js';

export const CGROUP_ACTIONS: Executors<CgroupAction> = {
  'cpuset.inherit': action => inheritCpuset(action.path),
  'cgroup.remove': action => removeCgroup(action.path, action.timeoutMs),
  'policy.bpf': action => attachDeviceProgram(action.cgroup, Uint8Array.from(action.program)),
  'memory.limit': action => limitMemory(action),
  'oom.event': (action, context) => context.set(action.save, oomEvent(action.group)),
  'cgroup.freeze': action => freezeCgroup(action),
  'cgroup.kill': action => killCgroup(action),
};
