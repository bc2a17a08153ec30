/** What the containers use (NET-28): one task of a worker for all of them, and rates between two looks. */
import { setTimeout as sleep } from 'node:timers/promises';
import { statsFiles, statsTarget } from '../plan/stats.js';
import type { ContainerSpec } from '../spec/container.js';
import { CaissonError } from '../spec/errors.js';
import { type StatsRates, statsRates } from '../spec/stats/rates.js';
import { SLOTS, statsOf } from '../spec/stats/slots.js';
import { type ContainerStats, DEFAULT_STATS_PARTS, STATS_PARTS, type StatsPart } from '../spec/stats/types.js';
import type { Host } from './host.js';

export interface StatsOptions {
  /** What is wanted; default: everything but `memory-detail`. What is left out costs nothing, and is null. */
  readonly parts?: readonly StatsPart[];
}

export interface WatchStatsOptions extends StatsOptions {
  /** Default: all that run. */
  readonly names?: readonly string[];
  /** Milliseconds from one look to the next, at least 10; default 1000. */
  readonly intervalMs?: number;
  /** Ends it. */
  readonly signal?: AbortSignal;
}

/** One look at all containers. */
export interface StatsSample {
  /** Milliseconds since the epoch. */
  readonly time: number;
  readonly containers: readonly {
    readonly stats: ContainerStats;
    /** Since the last look; null at the first one of each life. */
    readonly rates: StatsRates | null;
  }[];
}

/** What is looked at. */
export interface StatsSubject {
  readonly spec: ContainerSpec;
  readonly pid: number | undefined;
  /** PID 1 with this number is still alive. */
  isAlive(pid: number): boolean;
}

/** @throws CaissonError SPEC_INVALID */
function checkParts(parts: readonly StatsPart[]): readonly StatsPart[] {
  const wrong = parts.find(part => !STATS_PARTS.includes(part));
  if (wrong === undefined) return parts;
  throw new CaissonError('SPEC_INVALID', `parts: there is no ${JSON.stringify(wrong)}`, {
    field: 'parts',
    hint: `what there is: ${STATS_PARTS.join(', ')}`,
  });
}

/** Of those that run, in the order given. */
export async function collect(
  { pool, facts }: Host,
  subjects: readonly StatsSubject[],
  options: StatsOptions,
): Promise<ContainerStats[]> {
  const parts = checkParts(options.parts ?? DEFAULT_STATS_PARTS);
  const running = subjects.flatMap(subject =>
    subject.pid === undefined
      ? []
      : [{ subject, pid: subject.pid, target: statsTarget(subject.spec, facts, subject.pid) }],
  );
  if (running.length === 0) return [];
  const { rows, interfaces } = await pool.stats({
    files: statsFiles(facts, parts),
    network: parts.includes('network'),
    targets: running.map(({ target }) => target),
  });
  return running.flatMap(({ subject, pid, target }, index) => {
    // Its pid may be another's by now, and its cgroups those of its next life.
    if (!subject.isAlive(pid)) return [];
    const row = rows.subarray(index * SLOTS, (index + 1) * SLOTS);
    return [statsOf(target.name, pid, row, interfaces[index] ?? null)];
  });
}

const SHORTEST_MS = 10;
const DEFAULT_INTERVAL_MS = 1000;

/** @throws CaissonError SPEC_INVALID */
export function intervalOf({ intervalMs = DEFAULT_INTERVAL_MS }: WatchStatsOptions): number {
  if (Number.isFinite(intervalMs) && intervalMs >= SHORTEST_MS) return intervalMs;
  throw new CaissonError('SPEC_INVALID', `intervalMs: must be a number of at least ${SHORTEST_MS}`, {
    field: 'intervalMs',
  });
}

/** Looks again and again, until `signal` aborts; never twice at a time, and only when the reader asks for the next. */
export async function* samples(
  intervalMs: number,
  signal: AbortSignal,
  look: () => Promise<ContainerStats[]>,
): AsyncGenerator<StatsSample, void, void> {
  let last = new Map<string, ContainerStats>();
  for (let due = performance.now(); ; due = Math.max(due + intervalMs, performance.now())) {
    await sleep(Math.max(0, due - performance.now()), undefined, { signal }).catch(() => undefined);
    if (signal.aborted) return;
    const all = await look();
    if (signal.aborted) return;
    const containers = all.map(stats => {
      const before = last.get(stats.name);
      return { stats, rates: before === undefined ? null : statsRates(before, stats) };
    });
    last = new Map(all.map(stats => [stats.name, stats]));
    yield { time: Date.now(), containers };
  }
}
