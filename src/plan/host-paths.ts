/**
 * Directories of the kernel that a container is given if the host has them (container-environment §4.1, ENV-37 to
 * ENV-39). Whether it has is found when the start runs: what is missing or refused is left out, and the report says so.
 */
import type { ContainerSpec } from '../spec/container.js';
import { confinement } from './apparmor.js';
import type { HostFacts } from './facts.js';
import type { HostStep, InitStep, Tolerance } from './step.js';

interface HostPath {
  readonly name: string;
  readonly path: string;
  readonly what: string;
  /** `guarded`: read-only for host root, unless an LSM profile keeps it off altogether (ENV-39). */
  readonly access: 'guarded' | 'read-only' | 'as on the host';
}

const BINFMT: HostPath = {
  name: 'binfmt',
  path: '/proc/sys/fs/binfmt_misc',
  what: 'interpreters of foreign programs',
  access: 'guarded',
};

const HOST_PATHS: readonly HostPath[] = [
  { name: 'efivars', path: '/sys/firmware/efi/efivars', what: 'variables of the firmware', access: 'guarded' },
  // Who mounts a FUSE file system aborts its connection here.
  { name: 'fuse', path: '/sys/fs/fuse/connections', what: 'FUSE connections', access: 'as on the host' },
  { name: 'pstore', path: '/sys/fs/pstore', what: 'what earlier kernels left', access: 'guarded' },
  { name: 'debug', path: '/sys/kernel/debug', what: 'debugfs', access: 'guarded' },
  { name: 'security', path: '/sys/kernel/security', what: 'securityfs', access: 'guarded' },
  { name: 'config', path: '/sys/kernel/config', what: 'configfs', access: 'guarded' },
  { name: 'tracing', path: '/sys/kernel/tracing', what: 'tracefs', access: 'guarded' },
  { name: 'selinux', path: '/sys/fs/selinux', what: 'selinuxfs', access: 'read-only' },
];

const KERNEL_FS = ['MOUNT_ATTR_NOSUID', 'MOUNT_ATTR_NODEV', 'MOUNT_ATTR_NOEXEC'];

const LEFT_OUT: readonly Tolerance[] = [
  { errno: 'ENOENT', why: 'the host has no such path' },
  { errno: 'EACCES', why: 'the host does not let it be bound' },
  { errno: 'EPERM', why: 'the host does not let it be bound' },
  { errno: 'EINVAL', why: 'it is on a mount of the host that cannot be bound from here' },
  { errno: 'ENOSYS', why: 'before Linux 5.12 a copy cannot be severed from the host before it is attached' },
];

export interface HostPathSteps {
  readonly open: readonly HostStep[];
  readonly attach: readonly InitStep[];
  readonly close: HostStep;
}

/** An instance for the user namespace's own programs, where the kernel has that (Linux 6.7). */
function ownBinfmt(): InitStep {
  return {
    id: 'mounting.host.binfmt',
    phase: 'mounting',
    executor: 'init',
    label: `${BINFMT.path}: of its own`,
    action: {
      op: 'mount',
      source: 'binfmt_misc',
      target: BINFMT.path,
      fstype: 'binfmt_misc',
      flags: ['MS_NOSUID', 'MS_NODEV', 'MS_NOEXEC'],
    },
    tolerate: [
      { errno: 'ENOENT', why: 'the host has no such path' },
      { errno: 'ENODEV', why: 'the kernel has no binfmt_misc, or has not loaded it' },
      { errno: 'EPERM', why: 'the kernel refuses it' },
    ],
  };
}

export function hostPaths(spec: ContainerSpec, facts: HostFacts): HostPathSteps {
  const { major, minor } = facts.kernel;
  const namespacedBinfmt = spec.idmap !== null && (major > 6 || (major === 6 && minor >= 7));
  const unconfined = spec.idmap === null && confinement(spec, facts).apply.length === 0;
  const paths = namespacedBinfmt ? HOST_PATHS : [BINFMT, ...HOST_PATHS];
  const register = ({ name }: HostPath): string => `fd:host.${name}`;
  const isReadOnly = ({ access }: HostPath): boolean => access === 'read-only' || (access === 'guarded' && unconfined);
  const open = paths.map((path): HostStep => {
    const suffix = isReadOnly(path) ? ', read-only' : '';
    return {
      id: `mounting.host.${path.name}.open`,
      phase: 'mounting',
      executor: 'host',
      label: `the host's ${path.path}: ${path.what}${suffix}`,
      action: {
        op: 'bind.tree',
        path: path.path,
        attributes: [...KERNEL_FS, ...(isReadOnly(path) ? ['MOUNT_ATTR_RDONLY'] : [])],
        save: register(path),
      },
      tolerate: LEFT_OUT,
    };
  });
  const attach = paths.map(
    (path): InitStep => ({
      id: `mounting.host.${path.name}`,
      phase: 'mounting',
      executor: 'init',
      label: `attach ${path.path}`,
      action: { op: 'move_mount', mount: register(path), target: path.path },
      tolerate: [{ errno: 'ENOENT', why: 'the kernel shows no such path in the namespaces of the container' }],
      needs: register(path),
    }),
  );
  return {
    open,
    attach: namespacedBinfmt ? [ownBinfmt(), ...attach] : attach,
    close: {
      id: 'mounting.host.close',
      phase: 'mounting',
      executor: 'host',
      label: "close the host's paths",
      action: { op: 'close', registers: paths.map(register) },
    },
  };
}
