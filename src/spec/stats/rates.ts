/** What happened between two looks at a container. */
import type { ContainerStats } from './types.js';

/** Null: a counter that is not told, or went back. */
export interface StatsRates {
  readonly seconds: number;
  /** Processors in use: 1.5 is one and a half of them. */
  readonly cpuCores: number | null;
  /** Share of the time for which a quota held it back: more than 1 when several processors were. */
  readonly cpuThrottled: number | null;
  readonly readBytesPerSecond: number | null;
  readonly writtenBytesPerSecond: number | null;
  readonly readsPerSecond: number | null;
  readonly writesPerSecond: number | null;
  readonly receivedBytesPerSecond: number | null;
  readonly sentBytesPerSecond: number | null;
  readonly receivedPacketsPerSecond: number | null;
  readonly sentPacketsPerSecond: number | null;
  /** Share of the time, 0 to 1, in which at least one of its processes waited for the resource. */
  readonly cpuStalled: number | null;
  readonly memoryStalled: number | null;
  readonly ioStalled: number | null;
}

const NS = 1e9;

/** Null when the two are not of the same life, or not in order: then nothing can be said. */
export function statsRates(before: ContainerStats, after: ContainerStats): StatsRates | null {
  const elapsedNs = after.timeNs - before.timeNs;
  if (before.name !== after.name || before.pid !== after.pid || elapsedNs <= 0) return null;
  const per = (unitNs: number, value: (stats: ContainerStats) => number | null | undefined): number | null => {
    const was = value(before);
    const is = value(after);
    // An interface that was removed takes its counters with it.
    if (was == null || is == null || is < was) return null;
    return ((is - was) * unitNs) / elapsedNs;
  };
  return {
    seconds: elapsedNs / NS,
    cpuCores: per(1, ({ cpu }) => cpu?.usageNs),
    cpuThrottled: per(1, ({ cpu }) => cpu?.throttledNs),
    readBytesPerSecond: per(NS, ({ io }) => io?.readBytes),
    writtenBytesPerSecond: per(NS, ({ io }) => io?.writtenBytes),
    readsPerSecond: per(NS, ({ io }) => io?.reads),
    writesPerSecond: per(NS, ({ io }) => io?.writes),
    receivedBytesPerSecond: per(NS, ({ network }) => network?.receivedBytes),
    sentBytesPerSecond: per(NS, ({ network }) => network?.sentBytes),
    receivedPacketsPerSecond: per(NS, ({ network }) => network?.receivedPackets),
    sentPacketsPerSecond: per(NS, ({ network }) => network?.sentPackets),
    cpuStalled: per(1, ({ pressure }) => pressure?.cpu.some.totalNs),
    memoryStalled: per(1, ({ pressure }) => pressure?.memory.some.totalNs),
    ioStalled: per(1, ({ pressure }) => pressure?.io.some.totalNs),
  };
}
