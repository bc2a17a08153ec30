/** What PID 1 and all below it may not do, applied as late as can be: by what the child still has to do itself. */
import { PRIVILEGED_DROPS } from '../spec/capabilities.js';
import type { ContainerSpec } from '../spec/container.js';
import { CaissonError } from '../spec/errors.js';
import { DEFAULT_DENYLIST, SYSCALL_ABIS } from '../spec/seccomp.js';
import type { HostFacts } from './facts.js';
import type { PlanNotice } from './notice.js';
import { seccompProgram } from './seccomp-program.js';
import type { InitAction, InitStep } from './step.js';

interface Part {
  readonly steps: readonly InitStep[];
  readonly notices: readonly PlanNotice[];
}

function step(id: string, label: string, action: InitAction): InitStep {
  return { id: `running.${id}`, phase: 'running', executor: 'init', label, action };
}

/** The list of refused calls (ENV-62). */
function seccomp(spec: ContainerSpec, facts: HostFacts): Part {
  if (spec.security.seccomp === 'none') {
    const message = 'seccomp: none, as asked for; the payload may try every system call';
    return { steps: [], notices: [{ code: 'seccomp-none', outcome: 'done', message }] };
  }
  if (!facts.features.seccomp) {
    if (spec.idmap === null) {
      throw new CaissonError(
        'SECCOMP_UNAVAILABLE',
        'this host takes no seccomp filters, and a privileged container must not run without one',
        {
          field: 'security.seccomp',
          hint: 'the kernel needs CONFIG_SECCOMP_FILTER; security.seccomp: none starts it without',
        },
      );
    }
    // Each of these calls needs a capability on the host, which root of a user namespace does not have.
    const message = 'seccomp: none; this host takes no seccomp filters';
    return { steps: [], notices: [{ code: 'seccomp-none', message }] };
  }
  const calls = DEFAULT_DENYLIST.map(({ call, argument }) => (argument === undefined ? call : `some ${call}`));
  const program = seccompProgram(DEFAULT_DENYLIST, SYSCALL_ABIS[facts.arch]);
  return { steps: [step('seccomp', `refuse ${calls.join(', ')}`, { op: 'seccomp', program })], notices: [] };
}

/** Capabilities PID 1 keeps: all of its user namespace, or on the host all but those that reach the host (ENV-59). */
function capabilities(spec: ContainerSpec, facts: HostFacts): Part {
  if (spec.idmap !== null) return { steps: [], notices: [] };
  const keep = facts.capabilities.filter(capability => !PRIVILEGED_DROPS.includes(capability));
  return {
    steps: [
      step('capabilities', `drop ${PRIVILEGED_DROPS.join(', ')}`, {
        op: 'capabilities',
        keep,
        drop: PRIVILEGED_DROPS,
      }),
    ],
    notices: [],
  };
}

/**
 * The filter comes before the capabilities: without no_new_privs, which would break set-uid programs (ENV-63),
 * installing one needs CAP_SYS_ADMIN, and that may be among what is dropped.
 */
export function securitySteps(spec: ContainerSpec, facts: HostFacts): Part {
  const parts = [seccomp(spec, facts), capabilities(spec, facts)];
  return { steps: parts.flatMap(({ steps }) => steps), notices: parts.flatMap(({ notices }) => notices) };
}
