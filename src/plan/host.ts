/** What a supervisor needs of its host before the first start, and gives back when it closes. */
import type { HostFacts } from './facts.js';
import type { HostAction, HostStep, Plan, Tolerance } from './step.js';

const EXISTS: Tolerance = { errno: 'EEXIST', why: 'made by an earlier run of this supervisor' };
const IN_USE: Tolerance[] = [
  { errno: 'ENOENT', why: 'already gone' },
  { errno: 'EBUSY', why: 'containers still live in it' },
  { errno: 'ENOTEMPTY', why: 'containers still live in it' },
];

function ownDirectories(facts: HostFacts): string[] {
  const bases = facts.cgroups.v1.map(({ base }) => base);
  if (facts.cgroups.v2 !== null) bases.push(facts.cgroups.v2.base);
  return bases.map(base => `${base}/${facts.cgroups.prefix}`);
}

/** @param runDir absolute path of the directory for volatile state, whose parent exists. */
export function compilePrepare(facts: HostFacts, runDir: string): Plan {
  const step = (id: string, label: string, action: HostAction, tolerate: readonly Tolerance[] = []): HostStep => ({
    id: `prepare.${id}`,
    phase: 'prepare',
    executor: 'host',
    label,
    action,
    tolerate,
  });
  const steps = ownDirectories(facts).map(path =>
    step(`cgroup:${path}`, `cgroup ${path}`, { op: 'mkdir', path, mode: 0o755 }, [EXISTS]),
  );
  const cpuset = facts.cgroups.v1.find(({ controllers }) => controllers.includes('cpuset'));
  if (cpuset !== undefined) {
    const path = `${cpuset.base}/${facts.cgroups.prefix}`;
    // A v1 cpuset is born empty, and nothing can join an empty one; ours inherit what their parent may use.
    steps.push(step('cpuset.inherit', 'let cpusets inherit', { op: 'cpuset.inherit', path }));
  }
  const v2 = facts.cgroups.v2;
  if (v2 !== null && v2.controllers.length > 0) {
    const enable = v2.controllers.map(controller => `+${controller}`).join(' ');
    steps.push(
      step('cgroup.enable.base', `enable ${v2.controllers.join(', ')} below ${v2.base}`, {
        op: 'write',
        path: `${v2.base}/cgroup.subtree_control`,
        text: enable,
      }),
      step('cgroup.enable', 'enable them for containers', {
        op: 'write',
        path: `${v2.base}/${facts.cgroups.prefix}/cgroup.subtree_control`,
        text: enable,
      }),
    );
  }
  steps.push(
    step('run', `volatile directory ${runDir}`, { op: 'mkdirs', path: runDir, mode: 0o711 }),
    // Containers receive what is mounted in their directory below it (HST-33); one mount serves them all.
    step('share', `make ${runDir} a mount that is shared`, { op: 'mount.share', path: runDir }),
  );
  return { container: '', steps, notices: [], exports: [] };
}

/** Removes the supervisor's own directories where no container is left in them. */
export function compileRelease(facts: HostFacts, runDir: string): Plan {
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
      ...ownDirectories(facts).map(path => remove(`cgroup:${path}`, path)),
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
