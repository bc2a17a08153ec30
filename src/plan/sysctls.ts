/**
 * Values of a container's own sysctls (HST-60). The child writes them by its own /proc, in its own namespaces. That of
 * the network comes once its links are there; the others before /proc/sys may become read-only. Host and domain name
 * are not written as files, which belong to the host's root, but set by the calls that ask for the namespace's.
 */
import type { ContainerSpec } from '../spec/container.js';
import { sysctlPath } from '../spec/sysctls.js';
import type { InitStep, StartPhase } from './step.js';

const BY_CALL = ['kernel.hostname', 'kernel.domainname'];

function write(phase: StartPhase, [name, value]: readonly [string, string]): InitStep {
  const action = { op: 'file.write', path: sysctlPath(name), text: value } as const;
  return { id: `${phase}.sysctl.${name}`, phase, executor: 'init', label: `${name} = ${value}`, action };
}

const isNet = ([name]: readonly [string, string]): boolean => name.startsWith('net.');

/** Right after proc is mounted. */
export function ipcSysctls(spec: ContainerSpec): InitStep[] {
  const entries = Object.entries(spec.sysctls).filter(entry => !isNet(entry) && !BY_CALL.includes(entry[0]));
  return entries.map(entry => write('mounting', entry));
}

export function netSysctls(spec: ContainerSpec): InitStep[] {
  return Object.entries(spec.sysctls)
    .filter(isNet)
    .map(entry => write('running', entry));
}

export function nameSteps(spec: ContainerSpec): InitStep[] {
  const step = (id: string, label: string, action: InitStep['action']): InitStep => ({
    id: `running.${id}`,
    phase: 'running',
    executor: 'init',
    label,
    action,
  });
  const host = spec.sysctls['kernel.hostname'] ?? spec.hostname;
  const domain = spec.sysctls['kernel.domainname'];
  return [
    step('hostname', `host name ${host}`, { op: 'sethostname', name: host }),
    ...(domain === undefined
      ? []
      : [step('domainname', `NIS domain name ${domain}`, { op: 'setdomainname', name: domain })]),
  ];
}
