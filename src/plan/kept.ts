/** The descriptors that the supervisor keeps of a running container. */
import type { ContainerSpec } from '../spec/container.js';
import { KERNEL_LOG } from './covers.js';
import { NOTIFY } from './notify.js';
import type { Register } from './step.js';
import { SYSLOG } from './syslog.js';
import { idleTerminal, ttyNumbers, ttyRegisters } from './terminal.js';

/** A child copies our descriptor table up to its gate, so the gate should have a low number (launcher/program.ts). */
export const KEPT_FROM = 512;

/**
 * What the console's bytes go through to its log, from the first byte on (supervisor/console-log). No start makes them, so
 * the record of PID 1 does not name them: their places are fixed.
 */
export const LOG_PIPE: { readonly read: Register; readonly write: Register } = {
  read: 'fd:console.pipe',
  write: 'fd:console.pipe.write',
};
export const LOG_FILE: Register = 'fd:console.log';
/** In the order of their places. */
export const LOG_REGISTERS: readonly Register[] = [LOG_PIPE.read, LOG_PIPE.write, LOG_FILE];
/** The first of their places in the keeper. */
export const LOG_PLACE = 27;

/** Both ends of the console: the slave so that the master never sees a hang-up while init has it closed (HST-06). */
export function keptDescriptors(spec: ContainerSpec): Register[] {
  return [
    'fd:pidfd',
    'fd:console',
    'fd:console.slave',
    KERNEL_LOG,
    NOTIFY,
    SYSLOG,
    ...ttyNumbers(spec).flatMap(number => Object.values(ttyRegisters(number))),
    ...idleTerminal(spec).kept,
  ];
}
