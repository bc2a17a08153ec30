/** Making a container's cgroups and setting its limits. */
import type { ContainerSpec } from '../spec/container.js';
import type { CgroupPaths } from './cgroups.js';
import type { HostFacts } from './facts.js';
import { LIMITS, limitFile } from './limits.js';
import { scopeStart } from './scope.js';
import type { HostStep } from './step.js';

function makeDirectory(id: string, path: string): HostStep {
  return {
    id,
    phase: 'creating',
    executor: 'host',
    label: `make cgroup ${path}`,
    action: { op: 'mkdir', path, mode: 0o755 },
    undo: { op: 'cgroup.remove', path, timeoutMs: 2000 },
  };
}

function delegate(id: string, directory: string, files: readonly string[], owner: number): HostStep[] {
  return ['', ...files].map(file => ({
    id: file === '' ? id : `${id}.${file}`,
    phase: 'creating' as const,
    executor: 'host' as const,
    label: `give ${file === '' ? directory : file} to container root`,
    action: { op: 'chown' as const, path: file === '' ? directory : `${directory}/${file}`, uid: owner, gid: owner },
    // Which files exist follows from the controllers that are enabled here.
    ...(file === '' ? {} : { tolerate: [{ errno: 'ENOENT' as const, why: 'this kernel or cgroup has no such file' }] }),
  }));
}

function limitSteps(spec: ContainerSpec, facts: HostFacts, paths: CgroupPaths): HostStep[] {
  return LIMITS.flatMap((name): HostStep[] => {
    const value = spec.limits[name];
    if (value === null) return [];
    return [
      {
        id: `creating.limit.${name}`,
        phase: 'creating',
        executor: 'host',
        label: `limit ${name} to ${value}`,
        action: { op: 'write', path: limitFile(name, facts, paths).path, text: String(value) },
      },
    ];
  });
}

/**
 * Host steps before the launch: directories, limits, delegation, and descriptors for joining.
 * @param policy goes in before the devices hierarchy's leaf is made.
 */
export function cgroupSetup(
  spec: ContainerSpec,
  facts: HostFacts,
  paths: CgroupPaths,
  policy: readonly HostStep[],
): HostStep[] {
  const owner = spec.idmap?.first ?? 0;
  const steps: HostStep[] = [];
  for (const { hierarchy, outer, joined } of paths.v1) {
    steps.push(makeDirectory(`creating.cgroup.${hierarchy.name}`, outer));
    if (hierarchy.controllers.includes('devices')) steps.push(...policy);
    if (joined !== outer) {
      steps.push(makeDirectory(`creating.cgroup.${hierarchy.name}.payload`, joined));
      // On v1 a controller's leaf in hostile hands can escape its limits by making siblings: only the named
      // hierarchy, which limits nothing, is writable inside (HST-10).
      if (hierarchy.controllers.length === 0) {
        steps.push(...delegate(`creating.delegate.${hierarchy.name}`, joined, ['cgroup.procs', 'tasks'], owner));
      }
    }
  }
  if (paths.v2 !== null && facts.cgroups.v2 !== null && paths.scope === null) {
    steps.push(makeDirectory('creating.cgroup.v2', paths.v2.outer));
    const controllers = facts.cgroups.v2.controllers;
    if (controllers.length > 0) {
      steps.push({
        id: 'creating.cgroup.v2.controllers',
        phase: 'creating',
        executor: 'host',
        label: `enable ${controllers.join(', ')} for the payload`,
        action: {
          op: 'write',
          path: `${paths.v2.outer}/cgroup.subtree_control`,
          text: controllers.map(c => `+${c}`).join(' '),
        },
      });
    }
    steps.push(makeDirectory('creating.cgroup.v2.payload', paths.v2.payload));
    steps.push(...delegate('creating.delegate.v2', paths.v2.payload, facts.cgroups.delegate, owner));
  }
  const limits = limitSteps(spec, facts, paths);
  const early =
    paths.scope === null ? limits : limits.filter(({ action }) => !isBelow(action, paths.scope?.path ?? ''));
  return [...steps, ...early, ...joinDescriptors(facts, paths)];
}

function isBelow(action: HostStep['action'], path: string): boolean {
  return action.op === 'write' && action.path.startsWith(`${path}/`);
}

/**
 * Host steps after the launch, where systemd makes the container's cgroup: it wants a process to put there (HST-12).
 * That child is then moved on to the payload's leaf, since a cgroup with processes cannot give controllers to its
 * children; limits are set once they are enabled, while the child still waits at its first gate.
 */
export function scopeSetup(spec: ContainerSpec, facts: HostFacts, paths: CgroupPaths): HostStep[] {
  const { scope, v2 } = paths;
  if (scope === null || v2 === null) return [];
  const owner = spec.idmap?.first ?? 0;
  const controllers = facts.cgroups.v2?.controllers ?? [];
  const enable = (id: string, path: string): HostStep => ({
    id: `creating.scope.enable.${id}`,
    phase: 'creating',
    executor: 'host',
    label: `enable ${controllers.join(', ')} below ${path}`,
    action: { op: 'write', path: `${path}/cgroup.subtree_control`, text: controllers.map(c => `+${c}`).join(' ') },
  });
  return [
    ...scopeStart(spec, scope),
    makeDirectory('creating.cgroup.v2', v2.outer),
    makeDirectory('creating.cgroup.v2.payload', v2.payload),
    ...delegate('creating.delegate.v2', v2.payload, facts.cgroups.delegate, owner),
    {
      id: 'creating.scope.attach',
      phase: 'creating',
      executor: 'host',
      label: "move the child to the payload's leaf",
      action: { op: 'cgroup.attach', path: v2.payload, pid: 'pid' },
      // Undone before the cgroups are, which it keeps busy.
      undo: { op: 'kill', pidfd: 'fd:pidfd' },
    },
    ...(controllers.length === 0 ? [] : [enable('scope', scope.path), enable('container', v2.outer)]),
    ...limitSteps(spec, facts, paths).filter(({ action }) => isBelow(action, scope.path)),
  ];
}

function joinDescriptors(facts: HostFacts, paths: CgroupPaths): HostStep[] {
  const open = (name: string, path: string, flags: readonly string[]): HostStep => ({
    id: `creating.cgroup.open.${name}`,
    phase: 'creating',
    executor: 'host',
    label: `open ${path}`,
    action: { op: 'open', path, flags, save: `fd:cgroup.${name}` },
  });
  const steps = paths.v1.map(({ hierarchy, joined }) => open(hierarchy.name, `${joined}/tasks`, ['O_WRONLY']));
  if (paths.v2 !== null && paths.scope === null) {
    steps.push(
      facts.features.cloneIntoCgroup
        ? open('v2', paths.v2.payload, ['O_RDONLY', 'O_DIRECTORY'])
        : open('v2', `${paths.v2.payload}/cgroup.procs`, ['O_WRONLY']),
    );
  }
  return steps;
}
