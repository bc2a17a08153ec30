/** What PID 1 and all below it may not do, applied as late as can be: by what the child still has to do itself. */
import {
  AUDIT_CAPABILITIES,
  CAPABILITIES,
  type Capability,
  droppedCapabilities,
  EXPECTED_CAPABILITIES,
} from '../spec/capabilities.js';
import type { ContainerSpec } from '../spec/container.js';
import { CaissonError } from '../spec/errors.js';
import { DEFAULT_DENYLIST, NO_AUDIT_SOCKET, SYSCALL_ABIS } from '../spec/seccomp.js';
import { confinement } from './apparmor.js';
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

/**
 * A session keyring of its own (ENV-63): with the supervisor's, the payload would have the keys in it, whatever its user
 * namespace. The kernel throws it away with the last process that has it.
 */
const keyring: Part = {
  steps: [
    {
      ...step('keyring', 'a new session keyring', { op: 'session_keyring' }),
      tolerate: [
        { errno: 'ENOSYS', why: 'a kernel without keys (CONFIG_KEYS) has none to leak' },
        {
          errno: 'EPERM',
          why: 'a filter that we run under ourselves refuses keyctl(2), and the payload runs under it, too',
        },
      ],
    },
  ],
  notices: [],
};

/** The list of refused calls (ENV-62). */
function seccomp(spec: ContainerSpec, facts: HostFacts, dropped: readonly Capability[]): Part {
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
  const audits = AUDIT_CAPABILITIES.some(capability => !dropped.includes(capability));
  const rules = [...DEFAULT_DENYLIST, ...(audits ? [] : [NO_AUDIT_SOCKET])];
  const calls = rules.map(rule => (rule.arguments === undefined ? rule.call : `some ${rule.call}`));
  const program = seccompProgram(rules, SYSCALL_ABIS[facts.arch]);
  return { steps: [step('seccomp', `refuse ${calls.join(', ')}`, { op: 'seccomp', program })], notices: [] };
}

/**
 * Root gets at exec whatever its bounding set holds: that is what says which capabilities PID 1 has. The rest clears what
 * the supervisor may have as inheritable.
 */
function capabilities(spec: ContainerSpec, facts: HostFacts, dropped: readonly Capability[]): Part {
  // A new user namespace begins with all there are, whatever its maker has.
  const born = spec.idmap === null ? facts.capabilities : CAPABILITIES;
  const keep = born.filter(capability => !dropped.includes(capability));
  const notices = Object.entries(EXPECTED_CAPABILITIES)
    .filter(([name]) => !(keep as readonly string[]).includes(name))
    .map(
      ([name, loss]): PlanNotice => ({ code: 'capability-missing', message: `no CAP_${name.toUpperCase()}: ${loss}` }),
    );
  const label = dropped.length === 0 ? 'drop no capability' : `drop ${dropped.join(', ')}`;
  return { steps: [step('capabilities', label, { op: 'capabilities', keep, drop: dropped })], notices };
}

/**
 * The filter comes before the capabilities: without no_new_privs, which would break set-uid programs (ENV-63),
 * installing one needs CAP_SYS_ADMIN, and that may be among what is dropped.
 */
export function securitySteps(spec: ContainerSpec, facts: HostFacts): Part {
  const dropped = droppedCapabilities(spec.idmap === null, spec.capabilities);
  const lsm = confinement(spec, facts);
  const parts = [
    keyring,
    { steps: lsm.apply, notices: lsm.notices },
    seccomp(spec, facts, dropped),
    capabilities(spec, facts, dropped),
  ];
  return { steps: parts.flatMap(({ steps }) => steps), notices: parts.flatMap(({ notices }) => notices) };
}
