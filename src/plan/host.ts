/** What a supervisor needs of its host before the first start, and gives back when it closes. */
import type { ContainerSpec } from '../spec/container.js';
import type { HostFacts } from './facts.js';
import { scopeOf } from './scope.js';
import type { HostAction, HostStep, Plan, Tolerance } from './step.js';

const EXISTS: Tolerance = { errno: 'EEXIST', why: 'made by an earlier run of this supervisor' };
const IN_USE: Tolerance[] = [
  { errno: 'ENOENT', why: 'already gone' },
  { errno: 'EBUSY', why: 'containers still live in it' },
  { errno: 'ENOTEMPTY', why: 'containers still live in it' },
];

function step(id: string, label: string, action: HostAction, tolerate: readonly Tolerance[] = []): HostStep {
  return { id: `prepare.${id}`, phase: 'prepare', executor: 'host', label, action, tolerate };
}

function ownDirectory(base: string, facts: HostFacts): string {
  return `${base}/${facts.cgroups.prefix}`;
}

function makeCgroup(path: string): HostStep {
  return step(`cgroup:${path}`, `cgroup ${path}`, { op: 'mkdir', path, mode: 0o755 }, [EXISTS]);
}

/** Where containers without a scope have their v2 groups. */
function prepareV2(facts: HostFacts): HostStep[] {
  const { v2 } = facts.cgroups;
  if (v2 === null) return [];
  const own = ownDirectory(v2.base, facts);
  if (v2.controllers.length === 0) return [makeCgroup(own)];
  const text = v2.controllers.map(controller => `+${controller}`).join(' ');
  return [
    makeCgroup(own),
    step('cgroup.enable.base', `enable ${v2.controllers.join(', ')} below ${v2.base}`, {
      op: 'write',
      path: `${v2.base}/cgroup.subtree_control`,
      text,
    }),
    step('cgroup.enable', 'enable them for containers', { op: 'write', path: `${own}/cgroup.subtree_control`, text }),
  ];
}

/** @param runDir absolute path of the directory for volatile state, whose parent exists. */
export function compilePrepare(facts: HostFacts, runDir: string): Plan {
  const steps = facts.cgroups.v1.map(({ base }) => makeCgroup(ownDirectory(base, facts)));
  const cpuset = facts.cgroups.v1.find(({ controllers }) => controllers.includes('cpuset'));
  if (cpuset !== undefined) {
    const path = ownDirectory(cpuset.base, facts);
    // A v1 cpuset is born empty, and nothing can join an empty one; ours inherit what their parent may use.
    steps.push(step('cpuset.inherit', 'let cpusets inherit', { op: 'cpuset.inherit', path }));
  }
  // Where systemd runs the host the v2 tree is its own: what we need of it, it makes (HST-11).
  if (facts.systemd === null) steps.push(...prepareV2(facts));
  steps.push(
    step('run', `volatile directory ${runDir}`, { op: 'mkdirs', path: runDir, mode: 0o711 }),
    // Containers receive what is mounted in their directory below it (HST-33); one mount serves them all.
    step('share', `make ${runDir} a mount that is shared`, { op: 'mount.share', path: runDir }),
  );
  return { container: '', steps, notices: [], exports: [] };
}

/**
 * For a container that wants no scope although systemd would make one (`cgroups.scope: none`): a directory of the
 * supervisor's own in systemd's tree, which nobody else has asked for. Null for every other container.
 */
export function compilePrepareWithoutScope(spec: ContainerSpec, facts: HostFacts): Plan | null {
  if (facts.systemd === null || scopeOf(spec, facts) !== null) return null;
  const steps = prepareV2(facts);
  return steps.length === 0 ? null : { container: spec.name, steps, notices: [], exports: [] };
}

/** Removes the supervisor's own directories where no container is left in them. */
export function compileRelease(facts: HostFacts, runDir: string): Plan {
  const { v1, v2 } = facts.cgroups;
  const bases = [...v1, ...(v2 === null ? [] : [v2])].map(({ base }) => base);
  const remove = (id: string, path: string): HostStep => ({
    id: `release.${id}`,
    phase: 'prepare',
    executor: 'host',
    label: `remove ${path} if empty`,
    action: { op: 'rmdir', path },
    tolerate: IN_USE,
  });
  return {
    container: '',
    steps: [
      ...bases.map(base => ownDirectory(base, facts)).map(path => remove(`cgroup:${path}`, path)),
      {
        ...remove('share', runDir),
        label: `unmount ${runDir} if it is empty`,
        action: { op: 'mount.unshare', path: runDir },
      },
      remove('run', runDir),
    ],
    notices: [],
    exports: [],
  };
}

/** Removes a tree of the state directory; fine when there is none. */
export function compileDiscard(path: string): Plan {
  const step: HostStep = {
    id: 'discard',
    phase: 'prepare',
    executor: 'host',
    label: `remove ${path}`,
    action: { op: 'rmtree', path },
    tolerate: [{ errno: 'ENOENT', why: 'there is nothing' }],
  };
  return { container: '', steps: [step], notices: [], exports: [] };
}
