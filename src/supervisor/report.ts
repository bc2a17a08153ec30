/** The start report: what of the full environment the container got, what it did without, and why. */
import type { NoticeCode, PlanNotice } from '../plan/notice.js';
import type { Plan } from '../plan/step.js';
import { type PackedRecords, unpackRecords } from '../workers/packed.js';

export interface ReportEntry {
  /** `skipped`: this host or image has no use for it. `degraded`: less than the container should have. */
  readonly outcome: 'done' | 'skipped' | 'degraded';
  /** A notice's code, or `step` for a step that could not be done and need not be. */
  readonly code: NoticeCode | 'step';
  readonly what: string;
  readonly why: string;
}

export interface StartReport {
  readonly steps: { readonly done: number; readonly skipped: number };
  readonly entries: readonly ReportEntry[];
  /** Whether the payload keeps the /run with /run/host in it, or seems to mount one of its own (HST-32). */
  readonly runHost: 'visible' | 'may-be-hidden';
}

export function reportOf(plan: Plan, packed: PackedRecords, notices: readonly PlanNotice[]): StartReport {
  const records = unpackRecords(plan.steps, packed);
  const count = (...outcomes: string[]): number =>
    records.filter(({ record }) => outcomes.includes(record.outcome)).length;
  const tolerated = records
    .filter(({ record }) => record.outcome === 'tolerated')
    .map(({ step, record }): ReportEntry => {
      const why = step.tolerate?.find(({ errno }) => errno === record.errno)?.why ?? '';
      return { outcome: 'skipped', code: 'step', what: step.label, why: `${record.errno}: ${why}` };
    });
  const told = notices.map(
    ({ code, outcome, message }): ReportEntry => ({ outcome: outcome ?? 'degraded', code, what: code, why: message }),
  );
  return {
    steps: { done: count('done'), skipped: count('tolerated', 'skipped') },
    entries: [...told, ...tolerated],
    runHost: notices.some(({ code }) => code === 'run-host') ? 'may-be-hidden' : 'visible',
  };
}
