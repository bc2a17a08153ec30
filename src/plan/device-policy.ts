/** The device policy: which numbers may be used (ENV-21 to ENV-23), by the v1 controller or a BPF program. */
import type { ContainerSpec } from '../spec/container.js';
import { deviceRules } from '../spec/devices.js';
import { CaissonError } from '../spec/errors.js';
import type { CgroupPaths } from './cgroups.js';
import { deviceLines, deviceProgram } from './device-program.js';
import { host } from './device-step.js';
import type { HostFacts } from './facts.js';
import type { HostStep, PlanNotice, Tolerance } from './step.js';

/** `early` steps belong between the making of the policy's cgroup and of the leaf below it. */
export interface DevicePolicy {
  readonly early: readonly HostStep[];
  readonly late: readonly HostStep[];
  readonly notices: readonly PlanNotice[];
}

export function devicePolicy(spec: ContainerSpec, facts: HostFacts, paths: CgroupPaths): DevicePolicy {
  const rules = deviceRules(spec.devices.mknod);
  // Privileged payloads must not run without a policy; unprivileged ones cannot make usable nodes anyway (ENV-22).
  const tolerate: Tolerance[] | undefined =
    spec.idmap === null
      ? undefined
      : [{ errno: 'EPERM', why: 'devicePolicy: none; in a user namespace nodes made by the payload do not work' }];
  const v1 = paths.v1.find(({ hierarchy }) => hierarchy.controllers.includes('devices'));
  if (v1 !== undefined) {
    const lines = deviceLines(rules);
    const steps = [
      host(
        'policy.deny',
        'device policy: deny all',
        { op: 'write', path: `${v1.outer}/devices.deny`, text: 'a' },
        tolerate,
      ),
      host(
        'policy.allow',
        `device policy: allow ${lines.length} rows`,
        { op: 'write.lines', path: `${v1.outer}/devices.allow`, lines },
        tolerate,
      ),
    ];
    if (v1.joined === v1.outer) return { early: [], late: steps, notices: [] };
    // The kernel refuses to deny all once the group has children (EINVAL); a child made later inherits the policy.
    const early = steps.map(
      (step): HostStep => ({ ...step, id: step.id.replace('devices.', 'creating.'), phase: 'creating' }),
    );
    return { early, late: [], notices: [] };
  }
  if (paths.v2 !== null && facts.bpfDevicePolicy) {
    return {
      early: [],
      late: [
        host(
          'policy',
          `device policy: BPF program of ${rules.length} rules, default deny`,
          { op: 'policy.bpf', cgroup: paths.v2.outer, program: deviceProgram(rules) },
          tolerate,
        ),
      ],
      notices: [],
    };
  }
  if (spec.idmap === null) {
    throw new CaissonError(
      'DEVICE_POLICY_REFUSED',
      'no device policy can be installed on this host, and a privileged container must not run without one',
      {
        hint: 'the host needs the v1 devices controller, or cgroup v2 with BPF (CAP_BPF or CAP_SYS_ADMIN)',
      },
    );
  }
  return {
    early: [],
    late: [],
    notices: [
      {
        code: 'device-policy-none',
        message: 'devicePolicy: none; this host offers neither a devices controller nor BPF',
      },
    ],
  };
}
