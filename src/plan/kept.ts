/** The descriptors that the supervisor keeps of a running container. */
import type { ContainerSpec } from '../spec/container.js';
import { KERNEL_LOG } from './covers.js';
import { NOTIFY } from './notify.js';
import type { Register } from './step.js';
import { idleTerminal } from './terminal.js';

/** Both ends of the console: the slave so that the master never sees a hang-up while init has it closed (HST-06). */
export function keptDescriptors(spec: ContainerSpec): Register[] {
  return ['fd:pidfd', 'fd:console', 'fd:console.slave', KERNEL_LOG, NOTIFY, ...idleTerminal(spec).kept];
}
