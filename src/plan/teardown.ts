/** What a container leaves behind when PID 1 is gone, and how it goes. Every step is harmless when repeated. */
import type { ContainerSpec } from '../spec/container.js';
import { CaissonError } from '../spec/errors.js';
import { cgroupDirectories, cgroupPaths } from './cgroups.js';
import type { HostFacts } from './facts.js';
import { imageReleased } from './image.js';
import { keeperDrop } from './keeping.js';
import { keptDescriptors } from './kept.js';
import { machineUnregister } from './machine.js';
import { ephemeralLayer, type Places } from './rootfs-layer.js';
import { incomingDirectory } from './run-host.js';
import { SYSTEMD_TIMEOUT_MS } from './scope.js';
import type { HostAction, HostStep, Plan, Tolerance } from './step.js';

const GONE: Tolerance = { errno: 'ENOENT', why: 'already gone' };
const KILL_TIMEOUT_MS = 10_000;
const FREEZE_TIMEOUT_MS = 5_000;
const REMOVE_TIMEOUT_MS = 5_000;

function step(id: string, label: string, action: HostAction): HostStep {
  return { id: `teardown.${id}`, phase: 'teardown', executor: 'host', label, action, tolerate: [GONE] };
}

/** @param keep the container comes back at once: what it finds again after a reboot stays (LIF-41). */
export function compileTeardown(
  spec: ContainerSpec,
  facts: HostFacts,
  paths: Pick<Places, 'runDir'>,
  keep = false,
): Plan {
  const cgroups = cgroupPaths(spec, facts);
  const released = imageReleased(spec, paths);
  const steps: HostStep[] = [
    step('close', 'close PID 1, its terminals, and what it reads and writes of ours', {
      op: 'close',
      registers: keptDescriptors(spec),
    }),
    ...keeperDrop(paths.runDir),
    // Processes that joined by exec die with the pid namespace too, but their cgroup may drain a little later (LIF-20).
    step('kill', 'kill what is left and wait until the cgroups are empty', {
      op: 'cgroup.kill',
      paths: cgroups.v1.map(({ joined }) => joined),
      v2: cgroups.scope?.path ?? cgroups.v2?.outer ?? null,
      timeoutMs: KILL_TIMEOUT_MS,
    }),
    ...cgroupDirectories(cgroups).map(path =>
      step(`cgroup:${path}`, `remove cgroup ${path}`, { op: 'cgroup.remove', path, timeoutMs: REMOVE_TIMEOUT_MS }),
    ),
    ...machineUnregister(spec, facts),
    ...(cgroups.scope === null
      ? []
      : [
          step('scope', `have systemd end ${cgroups.scope.unit}`, {
            op: 'scope.stop',
            unit: cgroups.scope.unit,
            path: cgroups.scope.path,
            timeoutMs: SYSTEMD_TIMEOUT_MS,
          }),
        ]),
    ...(released === undefined ? [] : [step('image', 'wait until all it wrote is in its image', released)]),
    ...(spec.rootfs.overlay === 'ephemeral' && !keep
      ? [step('overlay', 'throw away the ephemeral layer', { op: 'rmtree', path: ephemeralLayer(paths) })]
      : []),
    // Root of the host, as a privileged payload is, may have written there.
    step('incoming', "remove the host's side of /run/host/incoming", {
      op: 'rmtree',
      path: incomingDirectory(paths.runDir),
    }),
    step('pid', 'remove the record of PID 1', { op: 'unlink', path: `${paths.runDir}/pid` }),
    step('run', `remove ${paths.runDir}`, { op: 'rmdir', path: paths.runDir }),
  ];
  return { container: spec.name, steps, notices: [], exports: [] };
}

/** Paths that a life leaves on the host when it has not been cleaned up. */
export function traces(spec: ContainerSpec, facts: HostFacts, paths: Pick<Places, 'runDir'>): string[] {
  const cgroups = cgroupPaths(spec, facts);
  const scope = cgroups.scope === null ? [] : [cgroups.scope.path];
  const layer = spec.rootfs.overlay === 'ephemeral' ? [ephemeralLayer(paths)] : [];
  return [paths.runDir, ...layer, ...cgroupDirectories(cgroups), ...scope];
}

/** Files that count OOM kills of this container; the first that exists is right. */
export function oomFiles(spec: ContainerSpec, facts: HostFacts): string[] {
  const cgroups = cgroupPaths(spec, facts);
  const v1 = cgroups.v1.find(({ hierarchy }) => hierarchy.controllers.includes('memory'));
  return [
    ...(v1 === undefined ? [] : [`${v1.joined}/memory.oom_control`]),
    ...(cgroups.v2 === null ? [] : [`${cgroups.v2.outer}/memory.events`]),
  ];
}

/** Freezes or thaws the whole container: by the v2 freezer wherever there is a v2 tree, as on hybrid hosts (ENV-43). */
export function compileFreeze(spec: ContainerSpec, facts: HostFacts, frozen: boolean): Plan {
  const target = freezer(spec, facts);
  if (target === undefined)
    throw new CaissonError(
      'HOST_UNSUPPORTED',
      'this host has no freezer: neither cgroup v2 nor the v1 freezer hierarchy',
    );
  const step: HostStep = {
    id: frozen ? 'freeze' : 'thaw',
    phase: 'teardown',
    executor: 'host',
    label: frozen ? 'freeze every process' : 'thaw every process',
    action: { op: 'cgroup.freeze', ...target, frozen, timeoutMs: FREEZE_TIMEOUT_MS },
  };
  return { container: spec.name, steps: [step], notices: [], exports: [] };
}

function freezer(spec: ContainerSpec, facts: HostFacts): { path: string; version: 1 | 2 } | undefined {
  const cgroups = cgroupPaths(spec, facts);
  if (cgroups.v2 !== null) return { path: cgroups.v2.outer, version: 2 };
  const v1 = cgroups.v1.find(({ hierarchy }) => hierarchy.controllers.includes('freezer'));
  return v1 === undefined ? undefined : { path: v1.outer, version: 1 };
}

/** The file that says whether the container is frozen, and how it says so. */
export function frozenSign(spec: ContainerSpec, facts: HostFacts): { path: string; text: string } | undefined {
  const found = freezer(spec, facts);
  if (found === undefined) return undefined;
  return found.version === 2
    ? { path: `${found.path}/cgroup.events`, text: 'frozen 1' }
    : { path: `${found.path}/freezer.state`, text: 'FROZEN' };
}
