/** What the benchmark asks of everything it measures. */

export const MODES = ['privileged', 'userns'] as const;
/** Without and with a user namespace. */
export type Mode = (typeof MODES)[number];

/** One start; all in milliseconds after the call. */
export interface Sample {
  /** PID 1's first instruction. */
  readonly first: number;
  /** PID 1 reaped; null where only the runtime knows. */
  readonly reaped: number | null;
  /** Cgroups and everything else cleaned up, the runtime's own process, if it has one, gone. */
  readonly gone: number;
  /** Where the contender tells. */
  readonly phases?: readonly PhaseSample[];
}

/** Milliseconds of one phase of a start. */
export interface PhaseSample {
  readonly name: string;
  /** From the end of the phase before it to its own. */
  readonly wall: number;
  /** The steps of each side added up; they work side by side. */
  readonly host: number;
  readonly init: number;
}

export interface Batch {
  /** From the first call to the last end, clean-up between the starts included. */
  readonly wall: number;
  readonly samples: readonly Sample[];
}

export interface Context {
  /** Distinguishes this run's cgroups and names from everybody else's. */
  readonly id: string;
  /** Compiled C programs. */
  readonly bin: string;
  /** A tmpfs of our own mount namespace: gone when the benchmark ends. */
  readonly work: string;
  /** A directory on a real disk, for state that a supervisor keeps durably. */
  readonly disk: string;
  /** Owned by root. */
  readonly rootfs: string;
  /** The same, owned by the host ids of the container's root, for contenders that cannot map owners. */
  readonly shifted: string;
  /** Our directory in each cgroup hierarchy, below the cgroup the benchmark was started in. */
  readonly cgroups: readonly string[];
  /** Where the cgroup2 tree is mounted beside v1 hierarchies; null on a host that is not hybrid. */
  readonly hybrid: string | null;
}

export interface Kept {
  /** One per container, milliseconds from the call, in order. */
  readonly starts: readonly number[];
  /** What the times end at. */
  readonly until: 'first instruction' | 'command returned';
}

export interface Session {
  /** A difference that showed itself only here, on this host. */
  readonly note?: string;
  /** Output of the probe payload (payload/probe.c). */
  probe(): Promise<string>;
  once(): Promise<Sample>;
  batch(count: number, atOnce: number): Promise<Batch>;
  /** Starts containers that stay; absent where the contender cannot leave one running. */
  readonly keep?: (count: number) => Promise<Kept>;
  /** Stops all of them and waits until nothing is left; milliseconds. */
  readonly stopKept?: () => Promise<number>;
  /** Processes that supervise the kept containers. */
  readonly supervisors?: () => Promise<readonly number[]>;
  /** Lets a garbage-collected supervisor tidy up, so that its memory can be compared. */
  readonly settle?: () => Promise<void>;
  close(): Promise<void>;
}

export interface Contender {
  readonly id: string;
  readonly title: string;
  /** A peer is bounded in the scenario of many kept containers: each costs it a process or tens of milliseconds. */
  readonly keepAtMost: number;
  /** What its containers lack or do otherwise. */
  readonly notes: readonly string[];
  /** null: not installed. */
  version(): string | null;
  /** @throws Refusal when this mode cannot be had here. */
  open(mode: Mode, context: Context): Promise<Session>;
}

/** A combination that cannot run here; its message is printed, never left out. */
export class Refusal extends Error {}

export const ID_FIRST = 1_000_000;
export const ID_COUNT = 65_536;
