/**
 * Which init the image has, found when the start runs: what lies in the way of PID 1 depends on it. Its registers are
 * what later steps `need`.
 */
import type { ContainerSpec } from '../spec/container.js';
import { INIT_CANDIDATES, type InitSigns } from '../spec/inits.js';
import type { HostStep, Register, Text } from './step.js';

export const INIT_SIGNS = {
  takesConsole: 'is:init.takes-console',
  needsIdleTerminal: 'is:init.needs-idle-terminal',
  hasJournal: 'is:init.has-journal',
  lacksJournal: 'is:init.lacks-journal',
} as const satisfies { readonly [property in keyof InitSigns]: Register };

/** Where the path of PID 1's program is known by then: in the plan, or in a register (HST-58). */
export function initOf(spec: ContainerSpec): Text {
  return spec.init === 'auto' ? { from: PROGRAM } : spec.init;
}

/** What to call it before. */
export function initName(spec: ContainerSpec): string {
  return spec.init === 'auto' ? 'the init that the image has' : spec.init;
}

const PROGRAM = 'text:init';

/** For `init: 'auto'`. */
export function findInitSteps(spec: ContainerSpec): HostStep[] {
  if (spec.init !== 'auto') return [];
  const label = `find the first of ${INIT_CANDIDATES.join(', ')} that the image has`;
  const action = { op: 'init.find', root: 'fd:rootfs', save: PROGRAM } as const;
  return [{ id: 'mounting.init.find', phase: 'mounting', executor: 'host', label, action }];
}

/** Once `fd:rootfs` is what the payload will see. */
export function detectInitStep(spec: ContainerSpec): HostStep {
  return {
    id: 'mounting.init.detect',
    phase: 'mounting',
    executor: 'host',
    label: `find out which init ${initName(spec)} is`,
    action: { op: 'init.detect', root: 'fd:rootfs', init: spec.init, profile: spec.signals.profile, save: INIT_SIGNS },
  };
}
