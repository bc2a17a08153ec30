/** bench/results/latest.json: everything measured, raw; the tables, the plots and the page are made from it alone. */
import type { Kept, Mode, PhaseSample } from './contender.js';
import type { HostReport, KernelMemory } from './system.js';

export interface Entry {
  readonly id: string;
  readonly title: string;
  readonly mode: Mode;
  readonly version: string | null;
  readonly notes: readonly string[];
  /** What had to be done otherwise on this host. */
  readonly here: string | null;
  /** Why this combination could not be measured here. */
  readonly refused: string | null;
  /** What the probe payload found in a container of this contender. */
  readonly probe: Readonly<Record<string, string>>;
}

export interface StartSamples {
  readonly id: string;
  readonly mode: Mode;
  /** Milliseconds after the call, one per run. */
  readonly first: number[];
  /** Empty for peers. */
  readonly reaped: number[];
  readonly gone: number[];
  /** One list per run; left out where the contender tells nothing of its phases. */
  phases?: (readonly PhaseSample[])[];
  readonly failures: string[];
}

export interface BatchSamples {
  readonly id: string;
  readonly mode: Mode;
  readonly atOnce: number;
  readonly count: number;
  /** Milliseconds for all of them, one per repetition. */
  readonly wall: number[];
  readonly first: number[];
  readonly failures: string[];
}

export interface KeptSamples {
  readonly id: string;
  readonly mode: Mode;
  readonly count: number;
  readonly starts: readonly number[];
  readonly until: Kept['until'];
  readonly stopMs: number;
  /** KiB. */
  readonly supervisor: { readonly processes: number; readonly before: number; readonly during: number };
  readonly kernel: { readonly before: KernelMemory; readonly during: KernelMemory; readonly after: KernelMemory };
  readonly failure: string | null;
}

export interface Results {
  readonly generated: string;
  readonly quick: boolean;
  readonly host: HostReport;
  readonly load: { readonly before: string; readonly after: string };
  readonly options: Readonly<Record<string, number | boolean>>;
  /** The host's namespaces, as the probe names them. */
  readonly namespaces: Readonly<Record<string, string>>;
  readonly entries: Entry[];
  readonly start: StartSamples[];
  readonly batches: BatchSamples[];
  readonly kept: KeptSamples[];
  readonly leftovers: readonly string[];
}

export function same<T extends { readonly id: string; readonly mode: Mode }>(
  list: readonly T[],
  id: string,
  mode: Mode,
): T | undefined {
  return list.find(item => item.id === id && item.mode === mode);
}
