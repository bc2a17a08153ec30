/** The pure compiler: a spec and what is true of the host, in; a start plan, out. */
import type { ContainerSpec } from '../spec/container.js';
import { CaissonError } from '../spec/errors.js';
import { confinement } from './apparmor.js';
import { birthCgroup, cgroupJoin } from './cgroup-join.js';
import { cgroupMounts } from './cgroup-mounts.js';
import { cgroupSetup, scopeSetup } from './cgroup-setup.js';
import { cgroupPaths } from './cgroups.js';
import { coversAttach, coversBind, coversClose, coversMake } from './covers.js';
import { detectInitStep, findInitSteps } from './detect.js';
import { devicePolicy } from './device-policy.js';
import { deviceSteps } from './devices.js';
import { etcBinds, etcFiles } from './etc.js';
import type { HostFacts } from './facts.js';
import { hostPaths } from './host-paths.js';
import { identitySteps, launchSteps } from './identity.js';
import { networkSteps, runningSteps } from './init.js';
import { keptDescriptors } from './kept.js';
import { attachJournal, linkJournal } from './link-journal.js';
import { lxcfsMounts } from './lxcfs.js';
import { machineRegister } from './machine.js';
import { kernelMounts } from './mounts.js';
import { privateTree, rootfsDetachOld, rootfsPivot, rootfsSeen, sharedInside } from './rootfs.js';
import { rootfsChecks, rootfsMount } from './rootfs-mount.js';
import { incomingListens, runHost, runHostSeal } from './run-host.js';
import type { HostStep, Plan, Step } from './step.js';

/** What the supervisor has given a container. */
export interface Assigned {
  /** Where its volatile parts live on the host. */
  readonly runDir: string;
  /** Its own directory in the state directory, for what it keeps. */
  readonly dir: string;
  /** Its uuid, for an image that has no machine id. */
  readonly uuid: string;
  /** Directory of the tree that its archive was unpacked to. */
  readonly layer?: string;
}

/**
 * @throws CaissonError SPEC_INVALID when the spec asks for what this kind of host cannot give, HOST_UNSUPPORTED or
 * CGROUP_NS_REQUIRED when the host cannot run containers.
 */
export function compile(spec: ContainerSpec, facts: HostFacts, assigned: Assigned): Plan {
  if (!facts.features.cgroupNamespace) {
    throw new CaissonError('CGROUP_NS_REQUIRED', 'this kernel has no cgroup namespaces', {
      hint: 'Linux 4.6 or newer with CONFIG_CGROUPS is needed',
    });
  }
  const cgroups = cgroupPaths(spec, facts);
  const policy = devicePolicy(spec, facts, cgroups);
  const lsm = confinement(spec, facts);
  const devices = deviceSteps(spec, facts);
  const running = runningSteps(spec, facts, assigned.runDir);
  const optional = hostPaths(spec, facts);
  const lxcfs = lxcfsMounts(spec, facts);
  const journal = linkJournal(spec, facts, assigned);
  const runDirectory: HostStep = {
    id: 'creating.run',
    phase: 'creating',
    executor: 'host',
    label: `volatile directory ${assigned.runDir}`,
    action: { op: 'mkdir', path: assigned.runDir, mode: 0o700 },
    undo: { op: 'rmdir', path: assigned.runDir },
  };
  const steps: Step[] = [
    ...rootfsChecks(spec, facts, assigned),
    runDirectory,
    ...cgroupSetup(spec, facts, cgroups, policy.early),
    ...lsm.load,
    ...launchSteps(spec, facts, birthCgroup(facts, cgroups)),
    ...scopeSetup(spec, facts, cgroups),
    ...cgroupJoin(facts, cgroups),
    ...rootfsMount(spec, facts, assigned),
    ...etcFiles(spec),
    ...journal.steps,
    ...findInitSteps(spec),
    detectInitStep(spec),
    ...coversMake(spec),
    ...identitySteps(spec),
    ...privateTree(),
    ...coversAttach(),
    ...rootfsPivot(),
    ...kernelMounts(spec),
    ...coversBind(spec),
    ...cgroupMounts(cgroups),
    ...coversClose(),
    ...optional.open,
    ...lxcfs.open,
    ...runHost(spec, facts, assigned),
    ...optional.attach,
    ...lxcfs.attach,
    ...runHostSeal(spec),
    ...etcBinds(spec),
    ...attachJournal(journal),
    optional.close,
    ...lxcfs.close,
    ...rootfsDetachOld(),
    ...policy.late,
    ...devices.steps,
    sharedInside(),
    incomingListens(),
    rootfsSeen(),
    ...networkSteps(),
    ...machineRegister(spec, facts),
    ...running.steps,
  ];
  return {
    container: spec.name,
    steps,
    notices: [...journal.notices, ...lxcfs.notices, ...devices.notices, ...policy.notices, ...running.notices],
    exports: ['pid', ...keptDescriptors(spec)],
  };
}
