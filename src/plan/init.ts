/** The network phase's loopback, and the last steps before PID 1's own first instruction (ENV-50 to ENV-58). */
import type { ContainerSpec } from '../spec/container.js';
import { HOST_KEYS } from '../spec/os-release.js';
import type { Variable } from './actions/init.js';
import { initName, initOf } from './detect.js';
import type { HostFacts } from './facts.js';
import { limitsOfInit } from './identity.js';
import { keeperStore, SLOT } from './keeping.js';
import { KEPT_FROM, keptDescriptors } from './kept.js';
import { notifyVariable } from './notify.js';
import { CREDENTIALS, UUID } from './run-host.js';
import { securitySteps } from './security.js';
import type { InitAction, PlanNotice, Step } from './step.js';
import { nameSteps, netSysctls } from './sysctls.js';
import { controllingTerminal, ttysVariable } from './terminal.js';

function init(id: string, label: string, action: InitAction): Step {
  return { id: `running.${id}`, phase: 'running', executor: 'init', label, action };
}

/** SIGPIPE and SIGXFSZ are ignored in every Node process, and exec keeps ignored signals ignored. */
const IGNORED_BY_NODE = [13, 25];

export function ignoredSignals(facts: HostFacts): string[] {
  return [...new Set([...IGNORED_BY_NODE, ...facts.ignoredSignals])].sort((a, b) => a - b).map(String);
}

export function networkSteps(): Step[] {
  return [
    { id: 'network.lo', phase: 'network', executor: 'init', label: 'lo up', action: { op: 'link.up', name: 'lo' } },
  ];
}

/** Which distribution the host is (HST-17). */
function hostVariables(spec: ContainerSpec, facts: HostFacts): string[] {
  if (spec.hostInfo !== 'env') return [];
  return HOST_KEYS.flatMap(key => {
    const value = facts.osRelease[key];
    return value === undefined ? [] : [`container_host_${key}=${value}`];
  });
}

/** Default `container=` and the user's variables; nothing is inherited (ENV-51, ENV-52). */
export function environmentOf(spec: ContainerSpec, facts: HostFacts): Variable[] {
  const own = new Set(Object.keys(spec.environment));
  return [
    `container=${spec.type}`,
    ...(spec.machineId === 'env' ? [{ name: 'container_uuid', from: UUID }] : []),
    ...hostVariables(spec, facts).filter(variable => !own.has(variable.split('=')[0] ?? '')),
    ...notifyVariable(spec),
    ...ttysVariable(spec),
    ...(Object.keys(spec.credentials).length === 0 ? [] : [`CREDENTIALS_DIRECTORY=${CREDENTIALS}`]),
    ...Object.entries(spec.environment).map(([name, value]) => `${name}=${value}`),
  ];
}

/** Tells which variables PID 1 has besides `container`, and what in the spec asked for each (ENV-52). */
function environmentNotice(spec: ContainerSpec, facts: HostFacts): PlanNotice[] {
  const user = Object.keys(spec.environment);
  const features: Readonly<Record<string, string>> = {
    container_uuid: 'machineId',
    NOTIFY_SOCKET: 'ready',
    container_ttys: 'ttys',
    CREDENTIALS_DIRECTORY: 'credentials',
    ...Object.fromEntries(HOST_KEYS.map(key => [`container_host_${key}`, 'hostInfo'])),
  };
  const added = environmentOf(spec, facts)
    .slice(1)
    .map((variable, index, all) => {
      const name = typeof variable === 'string' ? (variable.split('=')[0] ?? '') : variable.name;
      return `${name} (${index >= all.length - user.length ? 'environment' : (features[name] ?? 'spec')})`;
    });
  if (added.length === 0) return [];
  const message = `besides container, the environment of PID 1 has ${added.join(', ')}`;
  return [{ code: 'environment', outcome: 'done', message }];
}

/** A second bolt: every descriptor the child has was opened or received close-on-exec. */
const closeOnExec: Step = {
  ...init('fds', 'close everything above 2 at exec', { op: 'close_on_exec', from: 3 }),
  tolerate: [{ errno: 'EINVAL', why: 'before Linux 5.11 close_range cannot mark; nothing is open that is not marked' }],
};

export function runningSteps(
  spec: ContainerSpec,
  facts: HostFacts,
  runDir: string,
): { steps: Step[]; notices: PlanNotice[] } {
  const limits = limitsOfInit(spec, facts);
  const security = securitySteps(spec, facts);
  const notices = [...environmentNotice(spec, facts), ...limits.notices, ...security.notices];
  const steps: Step[] = [
    ...limits.steps,
    ...nameSteps(spec),
    ...netSysctls(spec),
    init('session', 'new session', { op: 'setsid' }),
    ...[0, 1, 2].map(fd =>
      init(`fd.${fd}`, `console as descriptor ${fd}`, { op: 'dup', fd: 'fd:console.slave', to: fd }),
    ),
    ...controllingTerminal(spec),
    init('umask', 'umask 0022', { op: 'umask', mask: 0o022 }),
    ...security.steps,
    init('signals.default', 'default action for every ignored signal', {
      op: 'default_signals',
      signals: ignoredSignals(facts),
    }),
    closeOnExec,
    init('signals.unblock', 'empty signal mask', { op: 'unblock_signals' }),
    init('exec', `exec ${initName(spec)}`, {
      op: 'execve',
      path: initOf(spec),
      argv: [initOf(spec), ...spec.args],
      env: environmentOf(spec, facts),
    }),
  ];
  steps.push(...keeperStore(spec, runDir), {
    id: 'running.record',
    phase: 'running',
    executor: 'host',
    label: 'write down pid and start time: a later supervisor adopts what is recorded, and ends what is not',
    action: { op: 'record', path: `${runDir}/pid`, pid: 'pid', slot: SLOT, registers: keptDescriptors(spec) },
    undo: { op: 'unlink', path: `${runDir}/pid` },
  });
  if (facts.oomScoreAdj !== spec.oomScoreAdj) {
    // Before exec the child shares our memory, and the kernel would change the supervisor's own value with it.
    notices.push({
      code: 'oom-late',
      message: `oom_score_adj is set to ${spec.oomScoreAdj} right after exec, not before it`,
    });
    steps.push({
      id: 'running.oom',
      phase: 'running',
      executor: 'host',
      label: `oom_score_adj ${spec.oomScoreAdj}`,
      action: { op: 'oom', pid: 'pid', adj: spec.oomScoreAdj },
      tolerate: [{ errno: 'EACCES', why: 'lowering it needs CAP_SYS_RESOURCE' }],
    });
  }
  if (spec.idmap !== null) {
    steps.push({
      id: 'running.dumpable',
      phase: 'running',
      executor: 'host',
      label: "restore what the child's change of uid did to our shared memory",
      action: { op: 'undumpable.release' },
    });
  }
  steps.push({
    id: 'running.raise',
    phase: 'running',
    executor: 'host',
    label: 'give what we keep high numbers: the low ones are for launches',
    action: { op: 'raise', registers: keptDescriptors(spec), from: KEPT_FROM },
    tolerate: [{ errno: 'EINVAL', why: 'the limit on descriptors is lower' }],
  });
  steps.push({
    id: 'running.close',
    phase: 'running',
    executor: 'host',
    label: 'close the gate',
    action: { op: 'close', registers: ['fd:gate'] },
  });
  return { steps, notices };
}
