/**
 * A container's counters as a row of numbers: a thousand containers cross the thread boundary as one array. NaN is what
 * was not told.
 */
import type {
  ContainerStats,
  CpuStats,
  IoStats,
  LinkCounters,
  MemoryDetail,
  MemoryStats,
  NetworkStats,
  Pressure,
  Stall,
} from './types.js';

const STALL = ['avg10', 'avg60', 'avg300', 'total'] as const;
const RESOURCES = ['cpu', 'memory', 'io'] as const;
type Resource = (typeof RESOURCES)[number];

const NAMES = [
  'timeNs',
  ...(['usageNs', 'userNs', 'systemNs', 'throttledNs'] as const),
  ...(['currentBytes', 'peakBytes', 'swapBytes', 'memswBytes', 'oomKills'] as const),
  ...(['anonymousBytes', 'fileBytes', 'sharedBytes', 'inactiveFileBytes', 'kernelBytes'] as const),
  'pids',
  ...(['readBytes', 'writtenBytes', 'reads', 'writes'] as const),
] as const;
export type SlotName = (typeof NAMES)[number];

const OF = Object.fromEntries(NAMES.map((name, index) => [name, index])) as Record<SlotName, number>;
/** Some and full of each resource, four numbers each. */
const STALLS = NAMES.length;
/** Numbers in a row. */
export const SLOTS = STALLS + RESOURCES.length * 2 * STALL.length;

/** Numbers of an interface, in the order of /proc/net/dev's bytes, packets, errs and drop, received before sent. */
export const LINK_COUNTERS = 8;

export interface Interfaces {
  readonly names: readonly string[];
  /** LINK_COUNTERS for each name. */
  readonly counters: readonly number[];
}

export type Row = Float64Array;

export function emptyRow(): Row {
  return new Float64Array(SLOTS).fill(Number.NaN);
}

export function setSlot(row: Row, name: SlotName, value: number): void {
  row[OF[name]] = value;
}

export function setStall(row: Row, resource: Resource, kind: 'some' | 'full', values: readonly number[]): void {
  row.set(values, STALLS + (RESOURCES.indexOf(resource) * 2 + (kind === 'some' ? 0 : 1)) * STALL.length);
}

function valueAt(row: Row, at: number): number | null {
  const value = row[at] ?? Number.NaN;
  return Number.isNaN(value) ? null : value;
}

function stallAt(row: Row, at: number): Stall | null {
  const totalNs = valueAt(row, at + 3);
  if (totalNs === null) return null;
  return { avg10: row[at] ?? 0, avg60: row[at + 1] ?? 0, avg300: row[at + 2] ?? 0, totalNs };
}

function pressureAt(row: Row, at: number): Pressure | null {
  const some = stallAt(row, at);
  return some === null ? null : { some, full: stallAt(row, at + STALL.length) };
}

function pressuresOf(row: Row): ContainerStats['pressure'] {
  const cpu = pressureAt(row, STALLS);
  const memory = pressureAt(row, STALLS + 2 * STALL.length);
  const io = pressureAt(row, STALLS + 4 * STALL.length);
  return cpu && memory && io ? { cpu, memory, io } : null;
}

function linkCounters(numbers: readonly number[], at: number): LinkCounters {
  return {
    receivedBytes: numbers[at] ?? 0,
    receivedPackets: numbers[at + 1] ?? 0,
    receiveErrors: numbers[at + 2] ?? 0,
    receiveDropped: numbers[at + 3] ?? 0,
    sentBytes: numbers[at + 4] ?? 0,
    sentPackets: numbers[at + 5] ?? 0,
    sendErrors: numbers[at + 6] ?? 0,
    sendDropped: numbers[at + 7] ?? 0,
  };
}

function networkOf({ names, counters }: Interfaces): NetworkStats {
  const total = new Array<number>(LINK_COUNTERS).fill(0);
  // The payload chooses the names: one of them may be __proto__.
  const interfaces: Record<string, LinkCounters> = Object.create(null);
  for (const [index, name] of names.entries()) {
    const at = index * LINK_COUNTERS;
    interfaces[name] = linkCounters(counters, at);
    if (name === 'lo') continue;
    for (let column = 0; column < LINK_COUNTERS; column++)
      total[column] = (total[column] ?? 0) + (counters[at + column] ?? 0);
  }
  return { ...linkCounters(total, 0), interfaces };
}

function cpuOf(row: Row): CpuStats | null {
  const usageNs = valueAt(row, OF.usageNs);
  const throttledNs = valueAt(row, OF.throttledNs);
  if (usageNs === null && throttledNs === null) return null;
  return { usageNs, userNs: valueAt(row, OF.userNs), systemNs: valueAt(row, OF.systemNs), throttledNs };
}

function memoryOf(row: Row): MemoryStats | null {
  const currentBytes = valueAt(row, OF.currentBytes);
  if (currentBytes === null) return null;
  // v1 counts memory and swap together, and the two are not read in the same moment.
  const both = valueAt(row, OF.memswBytes);
  const swapBytes = both === null ? valueAt(row, OF.swapBytes) : Math.max(0, both - currentBytes);
  return { currentBytes, peakBytes: valueAt(row, OF.peakBytes), swapBytes, oomKills: valueAt(row, OF.oomKills) };
}

function memoryDetailOf(row: Row): MemoryDetail | null {
  const anonymousBytes = valueAt(row, OF.anonymousBytes);
  if (anonymousBytes === null) return null;
  return {
    anonymousBytes,
    fileBytes: valueAt(row, OF.fileBytes),
    sharedBytes: valueAt(row, OF.sharedBytes),
    inactiveFileBytes: valueAt(row, OF.inactiveFileBytes),
    kernelBytes: valueAt(row, OF.kernelBytes),
  };
}

function ioOf(row: Row): IoStats | null {
  const readBytes = valueAt(row, OF.readBytes);
  const writtenBytes = valueAt(row, OF.writtenBytes);
  const reads = valueAt(row, OF.reads);
  const writes = valueAt(row, OF.writes);
  if (readBytes === null || writtenBytes === null || reads === null || writes === null) return null;
  return { readBytes, writtenBytes, reads, writes };
}

/** What a row says. A part of which nothing is known is null. */
export function statsOf(name: string, pid: number, row: Row, interfaces: Interfaces | null): ContainerStats {
  const pids = valueAt(row, OF.pids);
  return {
    name,
    pid,
    timeNs: row[OF.timeNs] ?? 0,
    cpu: cpuOf(row),
    memory: memoryOf(row),
    memoryDetail: memoryDetailOf(row),
    pids: pids === null ? null : { current: pids },
    io: ioOf(row),
    network: interfaces === null ? null : networkOf(interfaces),
    pressure: pressuresOf(row),
  };
}
