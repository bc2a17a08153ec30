/** Gathers the host's facts. Every probe undoes what it tried. */
import { existsSync, readFileSync, statSync } from 'node:fs';
import { release } from 'node:os';
import type { CgroupV1Hierarchy, CgroupV2Hierarchy, HostFacts } from '../plan/facts.js';
import { capabilitiesOf } from '../spec/capabilities.js';
import { DEVICE_NODES } from '../spec/devices.js';
import { hostKeysOf } from '../spec/os-release.js';
import { RLIMIT_NAMES, type Rlimit, type RlimitName } from '../spec/rlimits.js';
import { MOUNT_ATTR, O, S_IFCHR } from '../syscalls/abi/constants.js';
import { scratch } from '../syscalls/arena.js';
import { DBusError, DBusFormatError } from '../syscalls/dbus/error.js';
import { close, deviceNumber, mknodat, openat } from '../syscalls/fs.js';
import { ARCH, SyscallError, trySyscall } from '../syscalls/libc.js';
import { newMount } from '../syscalls/mount.js';
import { getRlimit } from '../syscalls/process.js';
import { uuidOf } from './host/machine-id.js';
import { managerCgroup } from './host/systemd.js';

interface CgroupMounts {
  readonly v1: { options: string[]; mount: string }[];
  readonly v2: string | null;
}

/** Cgroup mounts from /proc/self/mountinfo (proc(5)). */
function cgroupMounts(): CgroupMounts {
  const v1: CgroupMounts['v1'] = [];
  let v2: string | null = null;
  for (const line of readFileSync('/proc/self/mountinfo', 'utf8').split('\n')) {
    const [left, right] = line.split(' - ');
    const mount = left?.split(' ')[4];
    const [fstype, , superOptions] = right?.split(' ') ?? [];
    if (mount === undefined) continue;
    if (fstype === 'cgroup2') v2 ??= mount;
    if (fstype === 'cgroup') v1.push({ mount, options: (superOptions ?? '').split(',') });
  }
  return { v1, v2 };
}

/** This process's own cgroup in each hierarchy, by controller list ('' for v2). */
function ownCgroups(): Map<string, string> {
  const out = new Map<string, string>();
  for (const line of readFileSync('/proc/self/cgroup', 'utf8').split('\n')) {
    const match = /^\d+:([^:]*):(.*)$/.exec(line);
    if (match !== null) out.set(match[1] ?? '', match[2] === '/' ? '' : (match[2] ?? ''));
  }
  return out;
}

function readOr(path: string, fallback: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    // A file this kernel does not have: the fallback is what its absence means.
    return fallback;
  }
}

const NOT_CONTROLLERS = new Set(['rw', 'ro', 'xattr', 'release_agent', 'clone_children', 'noprefix']);

function cgroupFacts(prefix: string): HostFacts['cgroups'] {
  const own = ownCgroups();
  const mounts = cgroupMounts();
  const v1 = mounts.v1.map(({ mount, options }): CgroupV1Hierarchy => {
    const named = options.find(option => option.startsWith('name='));
    const controllers =
      named === undefined ? options.filter(option => !NOT_CONTROLLERS.has(option) && !option.includes('=')) : [];
    const key = named ?? controllers.join(',');
    return {
      name: mount.slice(mount.lastIndexOf('/') + 1),
      mountOptions: named === undefined ? controllers.join(',') : `none,${named}`,
      controllers,
      base: mount + (own.get(key) ?? ''),
    };
  });
  let v2: CgroupV2Hierarchy | null = null;
  if (mounts.v2 !== null) {
    const controllers = readOr(`${mounts.v2}/cgroup.controllers`, '').trim().split(' ').filter(Boolean);
    const wanted = ['cpu', 'cpuset', 'io', 'memory', 'pids'].filter(controller => controllers.includes(controller));
    // With controllers, our groups cannot sit below a cgroup that has processes: they go below the root instead.
    v2 = { base: wanted.length > 0 ? mounts.v2 : mounts.v2 + (own.get('') ?? ''), controllers: wanted };
  }
  // Files of controllers that are not on this tree will not be there.
  const present = ['cgroup', ...(v2?.controllers ?? [])];
  const delegate = readOr('/sys/kernel/cgroup/delegate', 'cgroup.procs\ncgroup.threads\ncgroup.subtree_control\n')
    .split('\n')
    .filter(file => present.includes(file.split('.')[0] ?? ''));
  return { prefix, v1, v2, delegate };
}

/** Whether nodes made on a tmpfs of ours can be opened: not so inside a user namespace. */
function canMakeNodes(): boolean {
  let mount: number | undefined;
  try {
    mount = newMount('tmpfs', {}, MOUNT_ATTR.MOUNT_ATTR_NOSUID);
    mknodat(mount, 'null', S_IFCHR | 0o666, deviceNumber(1, 3));
    close(openat(mount, 'null', O.O_RDWR));
    return true;
  } catch (error) {
    if (error instanceof SyscallError && ['EPERM', 'EACCES', 'ENXIO'].includes(error.errno)) return false;
    throw error;
  } finally {
    if (mount !== undefined) close(mount);
  }
}

function deviceNodes(): HostFacts['deviceNodes'] {
  const out: Record<string, { mode: number }> = {};
  for (const { path } of DEVICE_NODES) {
    const stat = statSync(`/dev/${path}`, { throwIfNoEntry: false });
    if (stat?.isCharacterDevice() === true) out[path] = { mode: stat.mode & 0o777 };
  }
  return out;
}

/** mount_setattr exists (5.12): asked with a bad descriptor it says EBADF, not ENOSYS. */
function hasMountSetattr(): boolean {
  const arena = scratch();
  const attr = arena.alloc(32);
  return trySyscall('mount_setattr', -1, arena.cstring(''), 0x1000, attr, 32) !== -38;
}

/** BPF_PROG_LOAD is possible at all: an empty program is refused with EINVAL, a missing right with EPERM. */
function hasBpf(): boolean {
  const attr = scratch().alloc(128);
  const result = trySyscall('bpf', 5, attr, 128);
  return result !== -38 && result !== -1;
}

const SECCOMP_GET_ACTION_AVAIL = 2;
const SECCOMP_RET_ERRNO = 0x00050000;

/** Also false where a filter that we run under ourselves refuses the call. */
function hasSeccomp(): boolean {
  const arena = scratch();
  const action = arena.alloc(4);
  arena.setU32(action, SECCOMP_RET_ERRNO);
  return trySyscall('seccomp', SECCOMP_GET_ACTION_AVAIL, 0, action) === 0;
}

const PARSERS = ['/usr/sbin/apparmor_parser', '/sbin/apparmor_parser'];

/** Without securityfs there is nothing to load a profile by. */
function apparmor(): HostFacts['apparmor'] {
  if (readOr('/sys/module/apparmor/parameters/enabled', 'N').trim() !== 'Y') return null;
  if (!existsSync('/sys/kernel/security/apparmor/profiles')) return null;
  return { parser: PARSERS.find(path => existsSync(path)) ?? null };
}

/** (uid_t)-1: unset. */
const NO_UID = 0xffff_ffff;

function loginuid(): number | null {
  const value = Number(readOr('/proc/self/loginuid', String(NO_UID)));
  return value === NO_UID ? null : value;
}

function maskToSignals(hexMask: string): number[] {
  const mask = BigInt(`0x${hexMask}`);
  return Array.from({ length: 64 }, (_, bit) => bit + 1).filter(signal => (mask >> BigInt(signal - 1)) & 1n);
}

const BUS_TIMEOUT_MS = 5000;

/** Undefined where systemd does not run this host, or cannot be asked: then its part of the tree is not ours to use. */
function systemdFacts(): HostFacts['systemd'] {
  const { v2 } = cgroupMounts();
  if (v2 === null || !existsSync('/run/systemd/system')) return null;
  try {
    return { root: v2 + managerCgroup(BUS_TIMEOUT_MS) };
  } catch (error) {
    if (error instanceof SyscallError || error instanceof DBusError || error instanceof DBusFormatError) return null;
    throw error;
  }
}

/** @param prefix name of this supervisor's directory in each cgroup hierarchy. */
export function gatherFacts(prefix: string): HostFacts {
  const [major = 0, minor = 0] = release()
    .split('.')
    .map(part => Number.parseInt(part, 10));
  const atLeast = (wantedMajor: number, wantedMinor: number): boolean =>
    major > wantedMajor || (major === wantedMajor && minor >= wantedMinor);
  const status = readFileSync('/proc/self/status', 'utf8');
  const field = (name: string): string => new RegExp(`^${name}:\\s*(\\S+)`, 'm').exec(status)?.[1] ?? '0';
  const rlimits = Object.fromEntries(RLIMIT_NAMES.map((name, index) => [name, getRlimit(0, index)])) as Record<
    RlimitName,
    Rlimit
  >;
  const pid1 = (name: RlimitName): Rlimit => getRlimit(1, RLIMIT_NAMES.indexOf(name));
  const cgroups = cgroupFacts(prefix);
  return {
    arch: ARCH,
    kernel: { release: release(), major, minor },
    features: {
      cgroupNamespace: existsSync('/proc/self/ns/cgroup'),
      idmappedMounts: hasMountSetattr(),
      overlayOnIdmapped: atLeast(5, 19),
      overlayOnDetached: atLeast(6, 15),
      cloneIntoCgroup: atLeast(5, 7),
      cgroupKill: atLeast(5, 14),
      seccomp: hasSeccomp(),
    },
    cgroups,
    systemd: systemdFacts(),
    mknod: canMakeNodes(),
    machineId: uuidOf(readOr('/etc/machine-id', '').split('\n')[0] ?? '') ?? null,
    journals: '/var/log/journal',
    osRelease: hostKeysOf(readOr('/etc/os-release', readOr('/usr/lib/os-release', ''))),
    deviceNodes: deviceNodes(),
    apparmor: apparmor(),
    // A server that hangs must not take a thread with it: the supervisor asks, by a child that can be killed.
    lxcfs: null,
    bpfDevicePolicy: cgroups.v2 !== null && hasBpf(),
    capabilities: capabilitiesOf(field('CapEff')),
    rlimits,
    pid1Rlimits: { nproc: pid1('nproc'), sigpending: pid1('sigpending') },
    ignoredSignals: maskToSignals(field('SigIgn')),
    nrOpen: Number(readOr('/proc/sys/fs/nr_open', '1048576')),
    loginuid: loginuid(),
    oomScoreAdj: Number(readOr('/proc/self/oom_score_adj', '0')),
  };
}
