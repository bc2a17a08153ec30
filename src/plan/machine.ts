/**
 * Registration with systemd-machined (HST-26), so that `machinectl` lists the container and ends it. Only for one that
 * has a scope of its own: what machined ends is the unit that PID 1 is in. Nothing depends on it, so nothing fails by it.
 */
import type { ContainerSpec } from '../spec/container.js';
import type { HostFacts } from './facts.js';
import { UUID } from './run-host.js';
import { scopeOf } from './scope.js';
import type { HostStep, Tolerance } from './step.js';

/** ms. machined is started by the first call. */
const TIMEOUT_MS = 10_000;

const NOT_NEEDED: readonly Tolerance[] = [
  { errno: 'EHOSTUNREACH', why: 'this host has no systemd-machined' },
  { errno: 'EEXIST', why: 'another machine is registered by that name' },
  { errno: 'EACCES', why: 'systemd-machined refuses it' },
  { errno: 'ETIMEDOUT', why: 'systemd-machined does not answer' },
  { errno: 'ECONNRESET', why: 'the bus ended the connection' },
  { errno: 'ECONNREFUSED', why: 'nobody listens on the bus' },
  { errno: 'ENOENT', why: 'the bus has gone' },
];

function unitOf(spec: ContainerSpec, facts: HostFacts): string | undefined {
  return spec.cgroups.machined === 'none' ? undefined : scopeOf(spec, facts)?.unit;
}

/** While the child mounts: whoever asks machined finds the container before its PID 1 runs. */
export function machineRegister(spec: ContainerSpec, facts: HostFacts): HostStep[] {
  const unit = unitOf(spec, facts);
  if (unit === undefined) return [];
  const { name } = spec;
  return [
    {
      id: 'network.machine',
      phase: 'network',
      executor: 'host',
      label: `register machine ${name} with systemd-machined`,
      action: {
        op: 'machine.register',
        name,
        uuid: { from: UUID },
        leader: 'pid',
        unit,
        root: spec.rootfs.path,
        timeoutMs: TIMEOUT_MS,
      },
      undo: { op: 'machine.unregister', name, unit, timeoutMs: TIMEOUT_MS },
      tolerate: NOT_NEEDED,
    },
  ];
}

/** machined forgets a machine whose unit has gone, but not at once: the next life wants the name. */
export function machineUnregister(spec: ContainerSpec, facts: HostFacts): HostStep[] {
  const unit = unitOf(spec, facts);
  if (unit === undefined) return [];
  const { name } = spec;
  return [
    {
      id: 'teardown.machine',
      phase: 'teardown',
      executor: 'host',
      label: `have systemd-machined forget machine ${name}`,
      action: { op: 'machine.unregister', name, unit, timeoutMs: TIMEOUT_MS },
      tolerate: NOT_NEEDED,
    },
  ];
}
