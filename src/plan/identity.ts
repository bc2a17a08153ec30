/** The child's birth: its namespaces, its id maps, and what PID 1's credentials and limits will be. */
import type { ContainerSpec } from '../spec/container.js';
import { capRlimit, defaultRlimits, RLIMIT_NAMES, type Rlimit, type RlimitName } from '../spec/rlimits.js';
import type { HostFacts } from './facts.js';
import type { HostStep, InitStep, PlanNotice, Step } from './step.js';

/**
 * The child's change of uid makes the memory it shares with us non-dumpable. We do that first ourselves, so that it
 * can be undone when the start fails: undo runs in reverse, and the child must be dead before.
 */
function dumpableStep(): HostStep {
  return {
    id: 'creating.dumpable',
    phase: 'creating',
    executor: 'host',
    label: 'nobody may read our memory while a child shares it',
    action: { op: 'undumpable.hold' },
    undo: { op: 'undumpable.release' },
  };
}

/**
 * Audit remembers for each process who logged in, and lets a set value be changed by nobody inside: logins there would
 * fail, or be put down to who started the supervisor (ENV-63). The child begins with that of the thread which clones it,
 * and only a thread of the host may unset its own. Ours has no other use for it, so it is not put back.
 */
function loginuidSteps(facts: HostFacts): HostStep[] {
  if (facts.loginuid === null) return [];
  return [
    {
      id: 'creating.loginuid',
      phase: 'creating',
      executor: 'host',
      label: `nobody's login, instead of that of user ${facts.loginuid}`,
      action: { op: 'loginuid.unset' },
      tolerate: [
        { errno: 'EPERM', why: 'audit was told to keep it for ever, or the supervisor lacks CAP_AUDIT_CONTROL' },
      ],
    },
  ];
}

export function launchSteps(spec: ContainerSpec, facts: HostFacts, birthCgroup: string | null): HostStep[] {
  const namespaces = [
    ...(spec.idmap === null ? [] : ['CLONE_NEWUSER']),
    'CLONE_NEWNS',
    'CLONE_NEWPID',
    'CLONE_NEWUTS',
    ...(spec.idmap === null ? ['CLONE_NEWIPC'] : []),
    'CLONE_NEWNET',
  ];
  const steps: HostStep[] = [
    ...loginuidSteps(facts),
    ...(spec.idmap === null ? [] : [dumpableStep()]),
    {
      id: 'creating.sync',
      phase: 'creating',
      executor: 'host',
      label: 'socket pair for the gates between phases',
      action: { op: 'socketpair', save: ['fd:gate', 'fd:sync'] },
    },
    {
      id: 'creating.launch',
      phase: 'creating',
      executor: 'host',
      label: 'clone PID 1 with its namespaces, parked at the first gate',
      action: {
        op: 'launch',
        namespaces,
        sync: 'fd:sync',
        cgroup: birthCgroup,
        save: { pid: 'pid', pidfd: 'fd:pidfd' },
      },
      undo: { op: 'kill', pidfd: 'fd:pidfd' },
    },
  ];
  if (spec.idmap !== null) {
    const map = [{ inside: 0, outside: spec.idmap.first, count: spec.idmap.count }];
    steps.push({
      id: 'creating.idmap',
      phase: 'creating',
      executor: 'host',
      label: `map ids 0-${spec.idmap.count - 1} to host ids from ${spec.idmap.first}`,
      action: { op: 'idmap.write', pid: 'pid', uid: map, gid: map },
    });
  }
  return steps;
}

/** Before it makes anything: what a process whose ids are not mapped mounts belongs to nobody inside. */
export function identitySteps(spec: ContainerSpec): InitStep[] {
  const step = (id: string, label: string, action: InitStep['action']): InitStep => ({
    id: `mounting.${id}`,
    phase: 'mounting',
    executor: 'init',
    label,
    action,
  });
  const identity = step('identity', 'uid 0, gid 0, no supplementary groups', { op: 'identity', uid: 0, gid: 0 });
  if (spec.idmap === null) return [identity];
  // The kernel makes the file system of message queues with the namespace, and gives its root to who makes that: at the
  // clone it would be the host's root, who is nobody inside (ENV-28).
  const label = 'new IPC namespace, which belongs to container root';
  return [identity, step('ipc', label, { op: 'unshare', flags: ['CLONE_NEWIPC'] })];
}

/** The limits of PID 1 that can be had: what the spec asks for, capped where hard limits cannot be raised. */
export function effectiveRlimits(
  spec: ContainerSpec,
  facts: HostFacts,
): { limits: Record<RlimitName, readonly [number | null, number | null]>; notices: PlanNotice[] } {
  const defaults = defaultRlimits({ nrOpen: facts.nrOpen, ...facts.pid1Rlimits });
  const mayRaise = facts.capabilities.includes('sys_resource');
  const notices: PlanNotice[] = [];
  const value = (wanted: number | 'unlimited'): number | null => (wanted === 'unlimited' ? null : wanted);
  const entries = RLIMIT_NAMES.map(name => {
    const asked = spec.rlimits[name];
    const wanted: Rlimit = asked === undefined ? defaults[name] : { soft: value(asked.soft), hard: value(asked.hard) };
    const allowed = mayRaise ? wanted : capRlimit(wanted, facts.rlimits[name]);
    // Nobody may have more descriptors than fs.nr_open says, whatever its capabilities.
    const capped = name === 'nofile' ? capRlimit(allowed, { soft: null, hard: facts.nrOpen }) : allowed;
    if (capped.hard !== wanted.hard) {
      notices.push({
        code: 'rlimit-capped',
        message: `${name}: hard limit ${capped.hard ?? 'unlimited'} instead of ${wanted.hard ?? 'unlimited'}, since ${capped.hard === allowed.hard ? 'the supervisor lacks CAP_SYS_RESOURCE' : 'fs.nr_open is no higher'}`,
      });
    }
    return [name, [capped.soft, capped.hard] as const] as const;
  });
  return {
    limits: Object.fromEntries(entries) as Record<RlimitName, readonly [number | null, number | null]>,
    notices,
  };
}

/** As late as can be: nothing waits for the child to get this far. */
const syncClose: HostStep = {
  id: 'running.sync.close',
  phase: 'running',
  executor: 'host',
  label: "close our copy of the child's end: its death and ours are end of file from here on",
  action: { op: 'sync.close', sync: 'fd:sync' },
};

/** Host steps of the running phase, while the child waits before its last batch. */
export function limitsOfInit(spec: ContainerSpec, facts: HostFacts): { steps: Step[]; notices: PlanNotice[] } {
  const { limits, notices } = effectiveRlimits(spec, facts);
  const steps: Step[] = [
    syncClose,
    {
      id: 'running.rlimits',
      phase: 'running',
      executor: 'host',
      label: 'resource limits of PID 1',
      action: { op: 'rlimits', pid: 'pid', limits },
    },
  ];
  return { steps, notices };
}
