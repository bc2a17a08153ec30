/**
 * Cgroups of one container: an outer one per hierarchy that carries limits and policy and belongs to the host, and
 * below it, where the payload may manage its own groups, a `payload` leaf given to container root (ENV-41).
 */
import type { ContainerSpec } from '../spec/container.js';
import { CaissonError } from '../spec/errors.js';
import type { CgroupV1Hierarchy, HostFacts } from './facts.js';
import type { HostStep, InitStep, Step } from './step.js';

export type CgroupLayout = 'unified' | 'hybrid' | 'legacy';

export interface CgroupPaths {
  readonly layout: CgroupLayout;
  readonly v1: readonly { readonly hierarchy: CgroupV1Hierarchy; readonly outer: string; readonly joined: string }[];
  readonly v2: { readonly outer: string; readonly payload: string } | null;
}

export const PAYLOAD_LEAF = 'payload';

/** Which hierarchies the payload sees (container-environment §4.2, ENV-71). */
export function payloadLayout(wanted: ContainerSpec['cgroups']['layout'], facts: HostFacts): CgroupLayout {
  const { v1, v2 } = facts.cgroups;
  if (v1.length === 0) {
    if (wanted === 'hybrid' || wanted === 'legacy') {
      throw new CaissonError(
        'SPEC_INVALID',
        `cgroups.layout: ${wanted} needs cgroup v1 hierarchies, which this host has not`,
        {
          field: 'cgroups.layout',
          hint: 'leave it at auto',
        },
      );
    }
    return 'unified';
  }
  if (v2 === null) {
    if (wanted === 'unified' || wanted === 'hybrid') {
      throw new CaissonError(
        'SPEC_INVALID',
        `cgroups.layout: ${wanted} needs a cgroup v2 hierarchy, which this host has not`,
        {
          field: 'cgroups.layout',
          hint: 'leave it at auto',
        },
      );
    }
    return 'legacy';
  }
  return wanted === 'auto' ? 'unified' : wanted;
}

/**
 * Host root in a privileged container can mount any v1 hierarchy, and finds there, as its root, the group it is in:
 * that must not be the one with its limits and its device policy (ENV-41).
 */
function carriesLimits(hierarchy: CgroupV1Hierarchy): boolean {
  return ['devices', 'memory', 'pids'].some(controller => hierarchy.controllers.includes(controller));
}

export function cgroupPaths(spec: ContainerSpec, facts: HostFacts): CgroupPaths {
  const layout = payloadLayout(spec.cgroups.layout, facts);
  const below = `${facts.cgroups.prefix}/${spec.name}`;
  return {
    layout,
    v1: facts.cgroups.v1.map(hierarchy => {
      const outer = `${hierarchy.base}/${below}`;
      const atOuter = layout === 'unified' && !(spec.idmap === null && carriesLimits(hierarchy));
      return { hierarchy, outer, joined: atOuter ? outer : `${outer}/${PAYLOAD_LEAF}` };
    }),
    v2:
      facts.cgroups.v2 === null
        ? null
        : { outer: `${facts.cgroups.v2.base}/${below}`, payload: `${facts.cgroups.v2.base}/${below}/${PAYLOAD_LEAF}` },
  };
}

/** Directories to remove after the payload is gone, leaves first. */
export function cgroupDirectories(paths: CgroupPaths): string[] {
  const v2 = paths.v2 === null ? [] : [paths.v2.payload, paths.v2.outer];
  return [...v2, ...paths.v1.flatMap(({ outer, joined }) => (joined === outer ? [outer] : [joined, outer]))];
}

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

/** The file of each limit, by its controller, on both versions. */
const LIMIT_FILES = {
  memory: { v1: 'memory.limit_in_bytes', v2: 'memory.max' },
  pids: { v1: 'pids.max', v2: 'pids.max' },
} as const;

function limitSteps(spec: ContainerSpec, facts: HostFacts, paths: CgroupPaths): HostStep[] {
  const steps: HostStep[] = [];
  for (const controller of ['memory', 'pids'] as const) {
    const value = spec.limits[controller];
    if (value === null) continue;
    const files = LIMIT_FILES[controller];
    const v1 = paths.v1.find(({ hierarchy }) => hierarchy.controllers.includes(controller));
    const v2 = facts.cgroups.v2?.controllers.includes(controller) === true ? paths.v2 : null;
    const path = v1 !== undefined ? `${v1.outer}/${files.v1}` : v2 !== null ? `${v2.outer}/${files.v2}` : undefined;
    if (path === undefined) {
      throw new CaissonError(
        'SPEC_INVALID',
        `limits.${controller}: no ${controller} controller on this host enforces it`,
        {
          field: `limits.${controller}`,
          hint: 'enable the controller (kernel parameter, or cgroup.subtree_control), or leave the limit out',
        },
      );
    }
    steps.push({
      id: `creating.limit.${controller}`,
      phase: 'creating',
      executor: 'host',
      label: `limit ${controller} to ${value}`,
      action: { op: 'write', path, text: String(value) },
    });
  }
  return steps;
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
  if (paths.v2 !== null && facts.cgroups.v2 !== null) {
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
  return [...steps, ...limitSteps(spec, facts, paths), ...joinDescriptors(facts, paths)];
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
  if (paths.v2 !== null) {
    steps.push(
      facts.features.cloneIntoCgroup
        ? open('v2', paths.v2.payload, ['O_RDONLY', 'O_DIRECTORY'])
        : open('v2', `${paths.v2.payload}/cgroup.procs`, ['O_WRONLY']),
    );
  }
  return steps;
}

/** The register of the cgroup the child is born into, or null where it has to join by itself. */
export function birthCgroup(facts: HostFacts, paths: CgroupPaths): string | null {
  return paths.v2 !== null && facts.features.cloneIntoCgroup ? 'fd:cgroup.v2' : null;
}

/**
 * The child joins each hierarchy itself by writing 0: moving another process waits for an RCU grace period (7 ms
 * and more). The namespace is unshared only then, so that its root is the payload cgroup (ENV-11).
 */
export function cgroupJoin(facts: HostFacts, paths: CgroupPaths): Step[] {
  const names = paths.v1.map(({ hierarchy }) => hierarchy.name);
  if (paths.v2 !== null && !facts.features.cloneIntoCgroup) names.push('v2');
  const joins = names.map(
    (name): InitStep => ({
      id: `creating.join.${name}`,
      phase: 'creating',
      executor: 'init',
      label: `join the ${name} cgroup`,
      action: { op: 'write', fd: `fd:cgroup.${name}`, text: '0' },
    }),
  );
  const unshare: InitStep = {
    id: 'creating.cgroup.namespace',
    phase: 'creating',
    executor: 'init',
    label: 'new cgroup namespace, its root the payload cgroup',
    action: { op: 'unshare', flags: ['CLONE_NEWCGROUP'] },
  };
  const close: HostStep = {
    id: 'creating.cgroup.close',
    phase: 'creating',
    executor: 'host',
    label: 'close the cgroup descriptors',
    action: {
      op: 'close',
      registers: [
        ...paths.v1.map(({ hierarchy }) => `fd:cgroup.${hierarchy.name}`),
        ...(paths.v2 === null ? [] : ['fd:cgroup.v2']),
      ],
    },
  };
  return [...joins, unshare, close];
}

/** What the payload sees at /sys/fs/cgroup (container-environment §4.2). */
export function cgroupMounts(paths: CgroupPaths): InitStep[] {
  const flags = ['MS_NOSUID', 'MS_NODEV', 'MS_NOEXEC', 'MS_RELATIME'];
  const mount = (id: string, label: string, action: InitStep['action']): InitStep => ({
    id: `mounting.${id}`,
    phase: 'mounting',
    executor: 'init',
    label,
    action,
  });
  const root = '/sys/fs/cgroup';
  if (paths.layout === 'unified') {
    return [mount('cgroup', 'cgroup2', { op: 'mount', source: 'cgroup2', target: root, fstype: 'cgroup2', flags })];
  }
  const steps = [
    mount('cgroup', 'tmpfs for the cgroup hierarchies', {
      op: 'mount',
      source: 'tmpfs',
      target: root,
      fstype: 'tmpfs',
      flags: ['MS_NOSUID', 'MS_NODEV', 'MS_NOEXEC'],
      data: 'mode=755,size=10485760',
    }),
  ];
  const hierarchies = [
    ...paths.v1.map(({ hierarchy }) => ({ name: hierarchy.name, fstype: 'cgroup', data: hierarchy.mountOptions })),
    ...(paths.layout === 'hybrid' ? [{ name: 'unified', fstype: 'cgroup2', data: undefined }] : []),
  ];
  for (const { name, fstype, data } of hierarchies) {
    const target = `${root}/${name}`;
    steps.push(
      mount(`cgroup.${name}.dir`, `directory ${target}`, { op: 'mkdir', path: target, mode: 0o755 }),
      mount(`cgroup.${name}`, `${name} hierarchy`, {
        op: 'mount',
        source: fstype,
        target,
        fstype,
        flags,
        ...(data === undefined ? {} : { data }),
      }),
    );
  }
  steps.push(
    mount('cgroup.ro', "the hierarchies' tmpfs read-only", {
      op: 'mount',
      source: null,
      target: root,
      fstype: null,
      flags: ['MS_REMOUNT', 'MS_BIND', 'MS_RDONLY', 'MS_NOSUID', 'MS_NODEV', 'MS_NOEXEC'],
    }),
  );
  return steps;
}
