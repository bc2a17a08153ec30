/** The timeline of a start: the plan's steps with their measured times. */
import type { Plan } from '../plan/step.js';
import { type PackedRecords, unpackRecords } from '../workers/packed.js';

export interface TimelineEntry {
  readonly id: string;
  readonly phase: string;
  readonly label: string;
  readonly executor: 'host' | 'init';
  /** ns since the first step began. Host and init work side by side: entries may overlap. */
  readonly start: number;
  readonly end: number;
  readonly outcome: 'done' | 'tolerated' | 'skipped' | 'failed' | 'undone';
  readonly errno?: string;
}

export function timelineOf(plan: Plan, packed: PackedRecords): TimelineEntry[] {
  return unpackRecords(plan.steps, packed).map(({ step, record }) => {
    const { phase, label, executor } = step;
    return { phase, label, executor, ...record };
  });
}
