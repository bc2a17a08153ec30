/** AppArmor (ENV-39): the profile is loaded by the host where it is not yet, and taken on by the child at its exec. */
import type { ContainerSpec } from '../spec/container.js';
import { CaissonError } from '../spec/errors.js';
import { apparmorProfile } from './apparmor-profile.js';
import type { HostFacts } from './facts.js';
import type { PlanNotice } from './notice.js';
import type { HostStep, InitStep } from './step.js';

export interface Confinement {
  /** Before the child is cloned. */
  readonly load: readonly HostStep[];
  /** Before its exec. */
  readonly apply: readonly InitStep[];
  readonly notices: readonly PlanNotice[];
}

function applied(name: string): InitStep {
  return {
    id: 'running.apparmor',
    phase: 'running',
    executor: 'init',
    label: `AppArmor profile ${name} from the exec on`,
    // Of the two files of this kind, the one that all kernels with AppArmor have.
    action: { op: 'file.write', path: '/proc/self/attr/exec', text: `exec ${name}` },
  };
}

function unconfined(why: string, outcome: PlanNotice['outcome']): Confinement {
  return {
    load: [],
    apply: [],
    notices: [{ code: 'unconfined', ...(outcome === undefined ? {} : { outcome }), message: why }],
  };
}

export function confinement(spec: ContainerSpec, facts: HostFacts): Confinement {
  const wanted = spec.security.apparmor;
  if (wanted === 'none') return unconfined('no AppArmor profile, as asked for', 'done');
  const { apparmor } = facts;
  if (wanted !== 'auto') {
    if (apparmor === null) {
      throw new CaissonError('SPEC_INVALID', `security.apparmor: this host has no AppArmor for the profile ${wanted}`, {
        field: 'security.apparmor',
        hint: 'auto takes what the host has',
      });
    }
    return { load: [], apply: [applied(wanted)], notices: [] };
  }
  if (apparmor === null) return unconfined('this host has no AppArmor', 'skipped');
  if (apparmor.parser === null) {
    return unconfined('this host has AppArmor, but no apparmor_parser to load a profile with', undefined);
  }
  const { name, text } = apparmorProfile(spec.idmap === null);
  return {
    load: [
      {
        id: 'creating.apparmor',
        phase: 'creating',
        executor: 'host',
        label: `AppArmor profile ${name}, unless it is loaded`,
        action: { op: 'apparmor.load', parser: apparmor.parser, name, text },
      },
    ],
    apply: [applied(name)],
    notices: [],
  };
}
