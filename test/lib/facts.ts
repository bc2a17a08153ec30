/** Kinds of host, as the plain data `compile` reads. Each names the distribution or machine it was taken from. */
import type { CgroupV1Hierarchy, HostFacts } from '#src/plan/facts.js';
import { CAPABILITIES } from '#src/spec/capabilities.js';
import { RLIMIT_NAMES, type Rlimit, type RlimitName } from '#src/spec/rlimits.js';

const MIB = 1024 * 1024;
const UNLIMITED: Rlimit = { soft: null, hard: null };
const both = (value: number): Rlimit => ({ soft: value, hard: value });

/** What a service of systemd 252 runs with, Node's raised soft NOFILE included. */
const RLIMITS: Readonly<Record<RlimitName, Rlimit>> = {
  ...(Object.fromEntries(RLIMIT_NAMES.map(name => [name, UNLIMITED])) as Record<RlimitName, Rlimit>),
  stack: { soft: 8 * MIB, hard: null },
  core: { soft: 0, hard: null },
  nproc: both(63_000),
  nofile: both(524_288),
  memlock: both(8 * MIB),
  sigpending: both(63_000),
  msgqueue: both(819_200),
  nice: both(0),
  rtprio: both(0),
};

const NODES: HostFacts['deviceNodes'] = Object.fromEntries(
  ['null', 'zero', 'full', 'random', 'urandom', 'tty', 'fuse', 'net/tun'].map(path => [path, { mode: 0o666 }]),
);

/** /sys/kernel/cgroup/delegate since Linux 6.7. */
const DELEGATE = ['cgroup.procs', 'cgroup.threads', 'cgroup.subtree_control', 'memory.oom.group', 'memory.reclaim'];

const v1 = (name: string, base = ''): CgroupV1Hierarchy => ({
  name,
  mountOptions: name,
  controllers: name.split(','),
  base: `/sys/fs/cgroup/${name}${base}`,
});

const NAMED: CgroupV1Hierarchy = {
  name: 'systemd',
  mountOptions: 'none,name=systemd',
  controllers: [],
  base: '/sys/fs/cgroup/systemd',
};

/** A current distribution: every controller on cgroup v2, a kernel with all that Caisson can use. */
export const PURE_V2: HostFacts = {
  arch: 'x64',
  kernel: { release: '6.16.12-amd64', major: 6, minor: 16 },
  features: {
    cgroupNamespace: true,
    idmappedMounts: true,
    overlayOnIdmapped: true,
    overlayOnDetached: true,
    cloneIntoCgroup: true,
    cgroupKill: true,
    seccomp: true,
  },
  cgroups: {
    prefix: 'caisson',
    v1: [],
    v2: { base: '/sys/fs/cgroup', controllers: ['cpu', 'cpuset', 'io', 'memory', 'pids'] },
    delegate: DELEGATE,
  },
  systemd: null,
  mknod: true,
  machineId: '5d1c2a0e-8f1b-4d6e-9a55-0f6f0b5f9c11',
  journals: '/var/log/journal',
  osRelease: { id: 'debian', version_id: '13' },
  deviceNodes: NODES,
  bpfDevicePolicy: true,
  apparmor: null,
  lxcfs: null,
  capabilities: CAPABILITIES,
  rlimits: RLIMITS,
  pid1Rlimits: { nproc: both(63_000), sigpending: both(63_000) },
  ignoredSignals: [13, 25],
  nrOpen: 1_048_576,
  oomScoreAdj: 0,
  loginuid: null,
};

/** This machine: controllers on v1, a bare v2 tree beside them, and no CAP_SYS_RESOURCE. */
export const HYBRID: HostFacts = {
  ...PURE_V2,
  kernel: { release: '6.18.44', major: 6, minor: 18 },
  cgroups: {
    prefix: 'caisson',
    v1: [
      ...['cpu', 'cpuacct', 'cpuset'].map(name => v1(name)),
      v1('memory', '/own'),
      ...['devices', 'freezer', 'blkio', 'pids'].map(name => v1(name)),
      NAMED,
    ],
    v2: { base: '/sys/fs/cgroup/unified', controllers: [] },
    delegate: DELEGATE,
  },
  deviceNodes: { ...NODES, fuse: { mode: 0o600 }, 'net/tun': { mode: 0o600 } },
  capabilities: CAPABILITIES.filter(name => name !== 'sys_resource'),
  rlimits: { ...RLIMITS, nofile: both(20_000), nproc: both(96_365), sigpending: both(96_365) },
  pid1Rlimits: { nproc: both(96_365), sigpending: both(96_365) },
};

/** CentOS 7 style: v1 only, the supervisor in a slice of its own, Linux 4.18. */
export const PURE_V1: HostFacts = {
  ...PURE_V2,
  kernel: { release: '4.18.0-553.el8', major: 4, minor: 18 },
  features: {
    cgroupNamespace: true,
    idmappedMounts: false,
    overlayOnIdmapped: false,
    overlayOnDetached: false,
    cloneIntoCgroup: false,
    cgroupKill: false,
    seccomp: true,
  },
  cgroups: {
    prefix: 'caisson',
    v1: [
      v1('cpu,cpuacct'),
      v1('cpuset'),
      v1('memory', '/system.slice/caisson.service'),
      v1('devices', '/system.slice'),
      v1('freezer'),
      v1('pids'),
      { ...NAMED, base: '/sys/fs/cgroup/systemd/system.slice/caisson.service' },
    ],
    v2: null,
    delegate: ['cgroup.procs', 'cgroup.threads', 'cgroup.subtree_control'],
  },
  bpfDevicePolicy: false,
};

/** Debian 12: as above, but a layer of an overlay must be attached (6.15). */
export const DEBIAN_12: HostFacts = {
  ...PURE_V2,
  kernel: { release: '6.1.0-37-amd64', major: 6, minor: 1 },
  features: { ...PURE_V2.features, overlayOnDetached: false },
  apparmor: { parser: '/usr/sbin/apparmor_parser' },
};

/** The same, run by systemd: each container has a scope. */
export const SYSTEMD: HostFacts = { ...DEBIAN_12, systemd: { root: '/sys/fs/cgroup' } };

/** Debian 13 with LXCFS 6: `pressure` beside the files it always had, and all of /sys/devices/system/cpu. */
export const LXCFS: HostFacts = {
  ...PURE_V2,
  kernel: { release: '6.12.63-amd64', major: 6, minor: 12 },
  features: { ...PURE_V2.features, overlayOnDetached: false },
  lxcfs: {
    state: 'alive',
    path: '/var/lib/lxcfs',
    proc: [
      ...['cpuinfo', 'diskstats', 'loadavg', 'meminfo', 'pressure/cpu', 'pressure/io', 'pressure/memory'],
      ...['slabinfo', 'stat', 'swaps', 'uptime'],
    ],
    cpu: null,
  },
};

/** Debian 11: cgroup v2, Linux 5.10, which has neither idmapped mounts (5.12) nor cgroup.kill (5.14). */
export const NO_IDMAP: HostFacts = {
  ...PURE_V2,
  kernel: { release: '5.10.0-34-amd64', major: 5, minor: 10 },
  features: {
    cgroupNamespace: true,
    idmappedMounts: false,
    overlayOnIdmapped: false,
    overlayOnDetached: false,
    cloneIntoCgroup: true,
    cgroupKill: false,
    seccomp: true,
  },
};

/** Linux 5.4 on cgroup v2: no CLONE_INTO_CGROUP either, so the child joins by itself. */
export const NO_BIRTH_CGROUP: HostFacts = {
  ...NO_IDMAP,
  kernel: { release: '5.4.0-216-generic', major: 5, minor: 4 },
  features: { ...NO_IDMAP.features, cloneIntoCgroup: false },
};

/** The supervisor itself in a container's user namespace: mknod fails, no BPF, host nodes narrower than the table. */
export const NESTED: HostFacts = {
  ...PURE_V2,
  cgroups: {
    prefix: 'caisson',
    v1: [],
    v2: { base: '/sys/fs/cgroup/init.scope', controllers: ['memory', 'pids'] },
    delegate: DELEGATE,
  },
  mknod: false,
  deviceNodes: { ...NODES, fuse: { mode: 0o600 }, 'net/tun': { mode: 0o660 } },
  bpfDevicePolicy: false,
};

/** Before Linux 4.6, or built without CONFIG_CGROUPS namespaces. */
export const NO_CGROUP_NAMESPACE: HostFacts = {
  ...PURE_V1,
  features: { ...PURE_V1.features, cgroupNamespace: false },
};

/** As the first, but the supervisor was started by a login, with a small container's rights and limits. */
export const NO_SYS_RESOURCE: HostFacts = {
  ...PURE_V2,
  loginuid: 1000,
  capabilities: CAPABILITIES.filter(name => name !== 'sys_resource'),
  rlimits: {
    ...RLIMITS,
    nofile: both(4096),
    memlock: both(65_536),
    core: { soft: 0, hard: 0 },
    nproc: { soft: 1000, hard: 2000 },
    msgqueue: both(1000),
  },
};

/** Kinds of host a container can be started on, by the name their golden files bear. */
export const HOSTS: Readonly<Record<string, HostFacts>> = {
  v2: PURE_V2,
  hybrid: HYBRID,
  v1: PURE_V1,
  'debian-12': DEBIAN_12,
  systemd: SYSTEMD,
  lxcfs: LXCFS,
  'no-idmap': NO_IDMAP,
  'no-birth-cgroup': NO_BIRTH_CGROUP,
  nested: NESTED,
  'no-sys-resource': NO_SYS_RESOURCE,
};
