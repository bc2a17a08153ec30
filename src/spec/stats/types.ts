/** What a container uses, as callers see it. A value is null where this kernel or host does not tell it: it is never 0. */

/** What can be asked for. `memory-detail` costs about as much as two others, and is read only when it is named. */
export const STATS_PARTS = ['cpu', 'memory', 'memory-detail', 'pids', 'io', 'network', 'pressure'] as const;
export type StatsPart = (typeof STATS_PARTS)[number];
export const DEFAULT_STATS_PARTS: readonly StatsPart[] = STATS_PARTS.filter(part => part !== 'memory-detail');

export interface CpuStats {
  /** Processor time of all its processes in this life. */
  readonly usageNs: number | null;
  readonly userNs: number | null;
  readonly systemNs: number | null;
  /** For how long its processes were held back by a quota. Null without the cpu controller. */
  readonly throttledNs: number | null;
}

export interface MemoryStats {
  /** With the page cache of its files. */
  readonly currentBytes: number;
  /** Most so far. Null on cgroup v2 before Linux 5.19. */
  readonly peakBytes: number | null;
  /** Null where the kernel does not count swap by cgroup. */
  readonly swapBytes: number | null;
  /** Processes killed since the start because memory ran out. */
  readonly oomKills: number | null;
}

export interface MemoryDetail {
  readonly anonymousBytes: number;
  /** Page cache, shared memory included. */
  readonly fileBytes: number | null;
  readonly sharedBytes: number | null;
  /** Page cache that the kernel would drop first. */
  readonly inactiveFileBytes: number | null;
  /** Null on cgroup v1. */
  readonly kernelBytes: number | null;
}

export interface IoStats {
  /** Of all block devices together. */
  readonly readBytes: number;
  readonly writtenBytes: number;
  readonly reads: number;
  readonly writes: number;
}

export interface LinkCounters {
  readonly receivedBytes: number;
  readonly receivedPackets: number;
  readonly receiveErrors: number;
  readonly receiveDropped: number;
  readonly sentBytes: number;
  readonly sentPackets: number;
  readonly sendErrors: number;
  readonly sendDropped: number;
}

export interface NetworkStats extends LinkCounters {
  /** Each interface by its name inside; the totals are of these without `lo`. The first 64. */
  readonly interfaces: Readonly<Record<string, LinkCounters>>;
}

export interface Stall {
  /** Percent of the last 10, 60, 300 seconds. */
  readonly avg10: number;
  readonly avg60: number;
  readonly avg300: number;
  /** Since the start. */
  readonly totalNs: number;
}

/** How long its processes waited for a resource: at least one of them (`some`), all of them (`full`). */
export interface Pressure {
  readonly some: Stall;
  /** Null for `cpu` before Linux 5.13. */
  readonly full: Stall | null;
}

export interface ContainerStats {
  readonly name: string;
  /** PID 1 on the host. Another one is another life: its counters began at 0. */
  readonly pid: number;
  /** When it was read, by CLOCK_MONOTONIC. */
  readonly timeNs: number;
  readonly cpu: CpuStats | null;
  readonly memory: MemoryStats | null;
  readonly memoryDetail: MemoryDetail | null;
  /** Processes and threads. */
  readonly pids: { readonly current: number } | null;
  readonly io: IoStats | null;
  readonly network: NetworkStats | null;
  /** Null without a cgroup v2 tree, or where the kernel was built or started without PSI. */
  readonly pressure: { readonly cpu: Pressure; readonly memory: Pressure; readonly io: Pressure } | null;
}
