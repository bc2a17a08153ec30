/** Kernel file systems (ENV-31 to ENV-33). */
import type { ContainerSpec } from '../spec/container.js';
import type { InitAction, InitStep, Tolerance } from './step.js';
import { ipcSysctls } from './sysctls.js';

const KERNEL_FS = ['MS_NOSUID', 'MS_NODEV', 'MS_NOEXEC'];

/**
 * What host root may not write through proc (ENV-34). In a user namespace nobody may: the files belong to the host's
 * root, whose id is never mapped.
 */
const READ_ONLY = ['acpi', 'asound', 'bus', 'fs', 'irq', 'scsi'];

function step(id: string, label: string, action: InitAction): InitStep {
  return { id: `mounting.${id}`, phase: 'mounting', executor: 'init', label, action };
}

function bind(id: string, path: string): InitStep {
  return step(id, `${path} as a mount of its own`, {
    op: 'mount',
    source: path,
    target: path,
    fstype: null,
    flags: ['MS_BIND'],
  });
}

function readOnly(id: string, path: string): InitStep {
  return step(id, `${path} read-only`, {
    op: 'mount',
    source: null,
    target: path,
    fstype: null,
    flags: ['MS_REMOUNT', 'MS_BIND', 'MS_RDONLY', ...KERNEL_FS],
  });
}

function procSteps(spec: ContainerSpec): InitStep[] {
  const proc = step('proc', 'proc', { op: 'mount', source: 'proc', target: '/proc', fstype: 'proc', flags: KERNEL_FS });
  // In a user namespace host sysctls are out of reach, and all namespaces behind the others are new (ENV-33).
  if (spec.idmap !== null) return [proc, ...ipcSysctls(spec)];
  return [
    proc,
    ...ipcSysctls(spec),
    bind('proc.sys', '/proc/sys'),
    bind('proc.sys.net', '/proc/sys/net'),
    readOnly('proc.sys.ro', '/proc/sys'),
    ...['sysrq-trigger', ...(spec.security.nesting ? [] : READ_ONLY)].flatMap(name => {
      const tolerate: readonly Tolerance[] = [{ errno: 'ENOENT', why: `this kernel has no /proc/${name}` }];
      return [
        { ...bind(`proc.${name}`, `/proc/${name}`), tolerate },
        { ...readOnly(`proc.${name}.ro`, `/proc/${name}`), tolerate },
      ];
    }),
  ];
}

function sysSteps(spec: ContainerSpec): InitStep[] {
  const sysfs = step('sys', 'sysfs', {
    op: 'mount',
    source: 'sysfs',
    target: '/sys',
    fstype: 'sysfs',
    flags: KERNEL_FS,
  });
  if (spec.sys === 'rw') return [sysfs];
  // systemd takes a writable /sys as leave to run udevd and device units (ENV-32); links stay configurable.
  return [sysfs, bind('sys.net', '/sys/devices/virtual/net'), readOnly('sys.ro', '/sys')];
}

export function kernelMounts(spec: ContainerSpec): InitStep[] {
  return [...procSteps(spec), ...sysSteps(spec)];
}
