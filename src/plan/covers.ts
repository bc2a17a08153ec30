/**
 * What covers files of /proc that would tell or reach the host's: a boot id of the container's own (ENV-36), a kernel
 * log that is silent (HST-57), and nothing at all in place of what no container has business with (ENV-34). All come
 * from one small tmpfs, which is attached where only the old root sees it and goes with that: what is bound from it
 * stays, and has no other path.
 */
import type { ContainerSpec } from '../spec/container.js';
import type { HostAction, HostStep, InitAction, InitStep, Tolerance } from './step.js';

/** The descriptor that keeps the kernel log open for writing: a reader waits, and never sees an end. */
export const KERNEL_LOG = 'fd:kmsg';

const COVERS = 'fd:covers';

/** In the old root, on the way out: every host has it, and nothing else of it is used any more. */
const PLACE = '/dev';

function host(id: string, label: string, action: HostAction): HostStep {
  return { id: `mounting.${id}`, phase: 'mounting', executor: 'host', label, action };
}

function init(id: string, label: string, action: InitAction, tolerate?: readonly Tolerance[]): InitStep {
  const step: InitStep = { id: `mounting.${id}`, phase: 'mounting', executor: 'init', label, action };
  return tolerate === undefined ? step : { ...step, tolerate };
}

function absent(path: string): readonly Tolerance[] {
  return [{ errno: 'ENOENT', why: `this kernel has no ${path}` }];
}

/** Fills the tmpfs, while the child still joins its cgroups. */
export function coversMake(spec: ContainerSpec): HostStep[] {
  const owner = spec.idmap?.first ?? 0;
  const owned = { dir: COVERS, uid: owner, gid: owner } as const;
  return [
    host('covers', 'tmpfs for what covers files of /proc', {
      op: 'fs.mount',
      fstype: 'tmpfs',
      options: { mode: '0755', size: '64k', nr_inodes: '16' },
      attributes: ['MOUNT_ATTR_NOSUID', 'MOUNT_ATTR_NODEV', 'MOUNT_ATTR_NOEXEC'],
      save: COVERS,
    }),
    host('boot-id.file', 'file with a new boot id', { op: 'tree.uuid', ...owned, path: 'boot-id', mode: 0o444 }),
    host('covers.empty', 'empty file', { op: 'tree.special', ...owned, path: 'empty', kind: 'S_IFREG', mode: 0o444 }),
    host('kmsg.fifo', 'FIFO for the kernel log', {
      op: 'tree.special',
      ...owned,
      path: 'kmsg',
      kind: 'S_IFIFO',
      mode: 0o600,
    }),
    host('kmsg.open', 'keep it open: who reads waits', {
      op: 'tree.open',
      dir: COVERS,
      path: 'kmsg',
      flags: ['O_RDWR', 'O_NONBLOCK'],
      save: KERNEL_LOG,
    }),
  ];
}

/** Before the pivot: what is to be bound must be attached in this namespace (before Linux 6.15). */
export function coversAttach(): InitStep[] {
  return [
    init('covers.attach', 'attach the covers in the old root', { op: 'move_mount', mount: COVERS, target: PLACE }),
    init('covers.ro', 'read-only, and so is what is bound from it', {
      op: 'mount',
      source: null,
      target: PLACE,
      fstype: null,
      flags: ['MS_REMOUNT', 'MS_BIND', 'MS_RDONLY', 'MS_NOSUID', 'MS_NODEV', 'MS_NOEXEC'],
    }),
  ];
}

/** Files that show kernel memory, symbols and timers, and keys of others. */
const MASKED = ['/proc/kcore', '/proc/kallsyms', '/proc/keys', '/proc/timer_list'];

/** Once proc is mounted. A container that may nest hides nothing: a user namespace below it must see all of proc. */
export function coversBind(spec: ContainerSpec): InitStep[] {
  const cover = (id: string, label: string, source: string, target: string): InitStep =>
    init(id, label, { op: 'mount', source, target, fstype: null, flags: ['MS_BIND'] }, absent(target));
  return [
    init('covers.enter', 'enter the covers', { op: 'fchdir', fd: COVERS }),
    cover('boot-id', 'boot id of its own', 'boot-id', '/proc/sys/kernel/random/boot_id'),
    cover('kmsg', 'kernel log of its own, which stays silent', 'kmsg', '/proc/kmsg'),
    ...(spec.security.nesting
      ? []
      : MASKED.map(path => cover(`mask.${path.slice('/proc/'.length)}`, `${path} is empty`, 'empty', path))),
    init('covers.leave', 'back to the root file system', { op: 'fchdir', fd: 'fd:rootfs' }),
  ];
}

/** A step of its own, not among those of the child: it would part them into two batches. */
export function coversClose(): HostStep[] {
  return [host('covers.close', 'close the descriptor of the covers', { op: 'close', registers: [COVERS] })];
}
