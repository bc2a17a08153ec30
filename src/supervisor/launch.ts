/** A start under way in a worker: its phases as they are done, and what it made. */

import type { Phase } from '../machines/states.js';
import type { Assigned } from '../plan/compile.js';
import { START_PHASES } from '../plan/step.js';
import type { ContainerSpec } from '../spec/container.js';
import { Progress } from '../workers/progress.js';
import { now } from '../workers/record.js';
import type { StartResult } from '../workers/start.js';
import type { Host } from './host.js';
import type { LxcfsInUse } from './lxcfs/lxcfs.js';

export interface PhaseTimes {
  readonly start: number;
  readonly end: number;
}

export class Launch {
  private readonly progress = new Progress();
  /** Which keeper it was handed to. */
  readonly keeperGeneration: number | undefined;
  private readonly begun = now();
  /** The end of the whole start. */
  readonly result: Promise<StartResult>;

  constructor(host: Host, spec: ContainerSpec, assigned: Assigned, lxcfs: LxcfsInUse | null) {
    const { progress } = this;
    this.keeperGeneration = host.keeper?.generation;
    const arena = host.arenas.take(spec);
    const launch = { address: arena.address, size: arena.size };
    this.result = host.pool
      .start(
        {
          spec,
          assigned,
          launch,
          lxcfs: lxcfs?.facts ?? null,
          held: lxcfs?.held ?? {},
          faults: host.faults,
          progress: progress.memory,
          registers: host.keeper?.registersOf(spec.name) ?? {},
        },
        host.facts,
      )
      .then(outcome => {
        // A child that could not be killed may still run in this memory: then it is never used again.
        if (outcome.error?.cleanupErrors === undefined) host.arenas.give(arena);
        return outcome;
      })
      .finally(() => {
        lxcfs?.release();
        progress.finish();
      });
    // Awaited when its last phase is; until then a rejection must not count as unhandled.
    this.result.catch(() => undefined);
  }

  cancel(): void {
    this.progress.cancel();
  }

  /** Resolves when `phase` is done, or never will be: true when the start as a whole has ended. */
  async reached(phase: Phase): Promise<boolean> {
    const index = START_PHASES.indexOf(phase);
    const last = index === START_PHASES.length - 1;
    if (!last) await this.progress.after(index);
    return last || this.progress.done <= index;
  }

  /** CLOCK_MONOTONIC, ns; of a phase that is done. */
  timesOf(phase: Phase): PhaseTimes {
    const index = START_PHASES.indexOf(phase);
    return { start: index === 0 ? this.begun : this.progress.endOf(index - 1), end: this.progress.endOf(index) };
  }
}
