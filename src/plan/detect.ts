/**
 * Which init the image has, found when the start runs: what lies in the way of PID 1 depends on it. Its registers are
 * what later steps `need`.
 */
import type { ContainerSpec } from '../spec/container.js';
import type { InitSigns } from '../spec/inits.js';
import type { HostStep, Register } from './step.js';

export const INIT_SIGNS = {
  takesConsole: 'is:init.takes-console',
  needsIdleTerminal: 'is:init.needs-idle-terminal',
  hasJournal: 'is:init.has-journal',
  lacksJournal: 'is:init.lacks-journal',
} as const satisfies { readonly [property in keyof InitSigns]: Register };

/** Once `fd:rootfs` is what the payload will see. */
export function detectInitStep(spec: ContainerSpec): HostStep {
  return {
    id: 'mounting.init.detect',
    phase: 'mounting',
    executor: 'host',
    label: `find out which init ${spec.init} is`,
    action: { op: 'init.detect', root: 'fd:rootfs', init: spec.init, profile: spec.signals.profile, save: INIT_SIGNS },
  };
}
