/** What became of a step, and when. */
export interface StepRecord {
  readonly id: string;
  /** CLOCK_MONOTONIC, ns. */
  readonly start: number;
  readonly end: number;
  readonly outcome: 'done' | 'tolerated' | 'skipped' | 'failed' | 'undone';
  readonly errno?: string;
}

/** CLOCK_MONOTONIC in ns: what the child's stamps are in, too. */
export function now(): number {
  return Number(process.hrtime.bigint());
}
