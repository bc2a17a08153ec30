/**
 * What is true of the host, gathered once by a worker (workers/facts.ts) into plain data. `compile` reads nothing
 * else, so every kind of host is a fixture.
 */
import type { Capability } from '../spec/capabilities.js';
import type { HostKey } from '../spec/os-release.js';
import type { Rlimit, RlimitName } from '../spec/rlimits.js';

export interface CgroupV1Hierarchy {
  /** Directory name below /sys/fs/cgroup: `memory`, `cpu,cpuacct`, `systemd`. */
  readonly name: string;
  /** Options that mount this hierarchy again: `memory` or `name=systemd`. */
  readonly mountOptions: string;
  readonly controllers: readonly string[];
  /** Absolute path of the directory below which this supervisor makes its cgroups: the supervisor's own cgroup. */
  readonly base: string;
}

export interface CgroupV2Hierarchy {
  readonly base: string;
  /** Controllers that can be enabled for our cgroups. */
  readonly controllers: readonly string[];
}

/** What became of LXCFS when it was last asked (ENV-44). */
export type LxcfsFacts =
  | {
      readonly state: 'alive';
      /** Where it is mounted. */
      readonly path: string;
      /** What it shows below its `proc`: `meminfo`, `pressure/cpu`. */
      readonly proc: readonly string[];
      /** What it shows of /sys/devices/system/cpu; null: all of it. */
      readonly cpu: readonly string[] | null;
    }
  /** `dead`: mounted, but nobody serves it. `hung`: it did not answer in time. */
  | { readonly state: 'absent' | 'dead' | 'hung'; readonly path: string };

export interface HostFacts {
  readonly arch: 'x64' | 'arm64';
  readonly kernel: { readonly release: string; readonly major: number; readonly minor: number };
  readonly features: {
    readonly cgroupNamespace: boolean;
    /** mount_setattr(2) with MOUNT_ATTR_IDMAP (5.12). */
    readonly idmappedMounts: boolean;
    /** An overlay takes id-mapped mounts as layers (5.19). */
    readonly overlayOnIdmapped: boolean;
    /** An overlay takes detached mounts as layers (6.15). */
    readonly overlayOnDetached: boolean;
    /** clone3 with CLONE_INTO_CGROUP (5.7). */
    readonly cloneIntoCgroup: boolean;
    /** cgroup.kill on the v2 tree (5.14). */
    readonly cgroupKill: boolean;
    /** seccomp(2) takes filters that refuse with an errno (4.14, CONFIG_SECCOMP_FILTER). */
    readonly seccomp: boolean;
  };
  readonly cgroups: {
    /** Name of this supervisor's own directory below each hierarchy's base. */
    readonly prefix: string;
    readonly v1: readonly CgroupV1Hierarchy[];
    readonly v2: CgroupV2Hierarchy | null;
    /** Files that /sys/kernel/cgroup/delegate names. */
    readonly delegate: readonly string[];
  };
  /** systemd as the host's PID 1, with its bus: absolute path of its own cgroup, which its slices are in. */
  readonly systemd: { readonly root: string } | null;
  /** Whether a node made by mknod on a tmpfs of ours can be opened; `no` inside a user namespace (ENV-18, ENV-19). */
  readonly mknod: boolean;
  /** The uuid that the host's machine id stands for (HST-15). */
  readonly machineId: string | null;
  /** Directory of its journals. */
  readonly journals: string;
  /** What its os-release tells of the host (HST-17). */
  readonly osRelease: Readonly<Partial<Record<HostKey, string>>>;
  /** Host device nodes of the table that exist, by path below /dev. */
  readonly deviceNodes: Readonly<Record<string, { readonly mode: number }>>;
  readonly bpfDevicePolicy: boolean;
  /** null: AppArmor is not on. `parser`: path of apparmor_parser(8), where the host has it. */
  readonly apparmor: { readonly parser: string | null } | null;
  /** null: the supervisor was told not to look. It comes and goes: a start asks anew. */
  readonly lxcfs: LxcfsFacts | null;
  readonly capabilities: readonly Capability[];
  readonly rlimits: Readonly<Record<RlimitName, Rlimit>>;
  readonly pid1Rlimits: { readonly nproc: Rlimit; readonly sigpending: Rlimit };
  /** Signals the supervisor ignores: exec keeps that, so the child must reset them. */
  readonly ignoredSignals: readonly number[];
  readonly nrOpen: number;
  readonly oomScoreAdj: number;
  /** Who logged in to start the supervisor, as audit has it; null: nobody, or no audit. */
  readonly loginuid: number | null;
}
