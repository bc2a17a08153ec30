/**
 * Step records as numbers: a start has over a hundred, they cross a thread boundary, and each container keeps those
 * of its last start. The ids are in the plan, which can be compiled again.
 */
import type { Step } from '../plan/step.js';
import { ERRNO, errnoName } from '../spec/errno.js';
import type { StepRecord } from './record.js';

const OUTCOMES = ['done', 'tolerated', 'failed', 'undone', 'skipped'] as const;
const FIELDS = 3;
/** ns a unit of time: 32 bits of them are seven minutes. */
const UNIT = 100;

/**
 * Three numbers a record: index of the step in its plan, with the outcome in bits 16-18 and the errno in bits 19-31;
 * start and end, in units of 100 ns since the first step began.
 */
export type PackedRecords = Uint32Array;

export function packRecords(steps: readonly Step[], records: readonly StepRecord[]): PackedRecords {
  const indices = new Map(steps.map((step, index) => [step.id, index]));
  const origin = records.reduce((earliest, { start }) => Math.min(earliest, start), Number.POSITIVE_INFINITY);
  const packed = new Uint32Array(records.length * FIELDS);
  records.forEach(({ id, start, end, outcome, errno }, at) => {
    const number = errno === undefined ? 0 : (ERRNO[errno as keyof typeof ERRNO] ?? 0);
    const what = (indices.get(id) ?? 0xffff) | (OUTCOMES.indexOf(outcome) << 16) | (number << 19);
    packed.set([what >>> 0, (start - origin) / UNIT, (end - origin) / UNIT], at * FIELDS);
  });
  return packed;
}

/** The records again; times in ns since the first step began. */
export function unpackRecords(steps: readonly Step[], packed: PackedRecords): { step: Step; record: StepRecord }[] {
  const out: { step: Step; record: StepRecord }[] = [];
  for (let at = 0; at < packed.length; at += FIELDS) {
    const [what = 0, start = 0, end = 0] = packed.subarray(at, at + FIELDS);
    const step = steps[what & 0xffff];
    if (step === undefined) continue;
    const errno = what >>> 19;
    const record = {
      id: step.id,
      start: start * UNIT,
      end: end * UNIT,
      outcome: OUTCOMES[(what >>> 16) & 7] ?? 'done',
    };
    out.push({ step, record: errno === 0 ? record : { ...record, errno: errnoName(errno) } });
  }
  return out;
}
