/**
 * Shared memory between a start in a worker and its container: how many phases are done, when each was, and whether
 * the start is to be given up. The worker need not wait for the event loop between phases.
 */
import { START_PHASES } from '../plan/step.js';

const DONE = 0;
const CANCEL = 1;
const FINISHED = 2;
const HEADER = 16;

export class Progress {
  private readonly words: Int32Array;
  private readonly times: Float64Array;

  constructor(readonly memory: SharedArrayBuffer = new SharedArrayBuffer(HEADER + 8 * START_PHASES.length)) {
    this.words = new Int32Array(memory, 0, 3);
    this.times = new Float64Array(memory, HEADER, START_PHASES.length);
  }

  /** Phases done so far. */
  get done(): number {
    return Atomics.load(this.words, DONE);
  }

  /** When a phase ended: CLOCK_MONOTONIC, ns. */
  endOf(phase: number): number {
    return this.times[phase] ?? 0;
  }

  /** Called by the worker at the end of each phase; `tell` wakes whoever waits for it. */
  advance(time: number, tell: boolean): void {
    const done = this.done;
    this.times[done] = time;
    Atomics.store(this.words, DONE, done + 1);
    if (tell) Atomics.notify(this.words, DONE);
  }

  cancel(): void {
    Atomics.store(this.words, CANCEL, 1);
  }

  get cancelled(): boolean {
    return Atomics.load(this.words, CANCEL) === 1;
  }

  /** No more phases will be done: wakes whoever waits for one. */
  finish(): void {
    Atomics.store(this.words, FINISHED, 1);
    Atomics.notify(this.words, DONE);
  }

  /** Resolves once more than `seen` phases are done, or none will be any more. */
  async after(seen: number): Promise<void> {
    while (this.done <= seen && Atomics.load(this.words, FINISHED) === 0) {
      const wait = Atomics.waitAsync(this.words, DONE, this.done);
      if (wait.async) await wait.value;
    }
  }
}
