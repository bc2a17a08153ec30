/**
 * The child's side of a plan: batches are written, sent through the gates, and answered in order. The parent need not
 * wait for one before it sends the next: while the child mounts, the host already fills /dev.
 */
import type { InitStep } from '../../plan/step.js';
import { errnoName } from '../../spec/errno.js';
import { CaissonError } from '../../spec/errors.js';
import { SyscallError } from '../../syscalls/libc.js';
import { poll } from '../../syscalls/process.js';
import { receiveByte, sendDescriptors } from '../../syscalls/socket.js';
import type { StepContext } from '../context.js';
import { now, type StepRecord } from '../record.js';
import { encodeBatch } from './encode.js';

const EAGAIN = -11;

interface Sent {
  readonly steps: readonly InitStep[];
  /** First entry of each step, and after the last one the number of entries. */
  readonly bounds: readonly number[];
  /** Address of the first entry. */
  readonly first: number;
  readonly begun: number;
  readonly final: boolean;
}

/** A batch that has not been answered: the ids of its steps, and where they are in the child's memory. */
export interface Awaited {
  readonly first: number;
  readonly bounds: readonly number[];
  readonly steps: readonly string[];
}

export interface Answer {
  readonly records: StepRecord[];
  readonly failure?: { readonly step: InitStep; readonly error: unknown };
}

export class InitBatches {
  private readonly sent: Sent[] = [];
  private lastEnd = 0;

  constructor(
    private readonly context: StepContext,
    private readonly faults: Readonly<Record<string, number>>,
  ) {}

  get waiting(): boolean {
    return this.sent.length > 0;
  }

  get awaited(): Awaited | undefined {
    const [oldest] = this.sent;
    return oldest && { first: oldest.first, bounds: oldest.bounds, steps: oldest.steps.map(({ id }) => id) };
  }

  /** Writes a batch and opens its gate. A child that has died meanwhile is found out by its answer. */
  send(steps: readonly InitStep[]): void {
    const { context, faults } = this;
    const { program, arena } = context.program;
    const last = steps.at(-1)?.action.op;
    const final = last === 'execve' || last === 'exit';
    const batch = encodeBatch(
      steps,
      arena,
      index => program.descriptorAddress(index),
      faults,
      text => context.text(text),
    );
    const first = program.arm(batch.entries, final);
    this.sent.push({ steps, bounds: batch.bounds, first, begun: now(), final });
    try {
      sendDescriptors(
        context.get('fd:gate'),
        batch.descriptors.map(register => context.get(register)),
      );
    } catch (error) {
      if (!(error instanceof SyscallError && ['EPIPE', 'ECONNRESET', 'ENOTCONN'].includes(error.errno))) throw error;
    }
  }

  /**
   * The answer to the oldest batch. It is read from the memory shared with the child, which reports nothing between
   * its batches: each wake-up of ours would take a processor from it.
   * @param waitMs how long to wait for the child to exec or die; undefined is returned when it has done neither.
   */
  answer(waitMs: number): Answer | undefined {
    const oldest = this.sent[0];
    if (oldest === undefined) return undefined;
    const ended = waitMs > 0 && !this.isAnswered(oldest) && this.waitForEnd(waitMs);
    if (this.isAnswered(oldest)) return this.judge(oldest, undefined);
    if (!ended) return undefined;
    // The end of the last batch is exec; that of another one is death.
    const died = oldest.final
      ? undefined
      : new CaissonError('CHILD_DIED', 'the child died before it finished this phase');
    return this.judge(oldest, died);
  }

  /** True when the child has left this batch behind, or has failed in it. */
  private isAnswered({ first, bounds, final }: Sent): boolean {
    const { program } = this.context.program;
    if (program.failedIndex(first) !== undefined) return true;
    return !final && program.isBeyond(first, bounds.at(-1) ?? 0);
  }

  /** True at end of file, or when the child is dead (our own copy of its end may still hide its end of file). */
  private waitForEnd(waitMs: number): boolean {
    const gate = this.context.get('fd:gate');
    const [readable, dead] = poll([gate, this.context.get('fd:pidfd')], waitMs);
    if (readable === 0) return dead !== 0;
    let report = receiveByte(gate);
    while (report > 0) report = receiveByte(gate);
    return report !== EAGAIN || dead !== 0;
  }

  private judge(batch: Sent, trouble: CaissonError | undefined): Answer {
    this.sent.shift();
    const { program } = this.context.program;
    const { steps, bounds, first } = batch;
    const failed = program.failedIndex(first);
    const records: StepRecord[] = [];
    let start = Math.max(batch.begun, this.lastEnd);
    for (const [index, step] of steps.entries()) {
      const from = bounds[index] ?? 0;
      const to = bounds[index + 1] ?? 0;
      if (failed !== undefined && failed >= from && failed < to) {
        const { result } = program.read(first, failed);
        records.push({ id: step.id, start, end: now(), outcome: 'failed', errno: errnoName(-result) });
        return { records, failure: { step, error: new SyscallError(step.action.op, -result) } };
      }
      // execve does not return when it succeeds, and leaves no stamp.
      const outcome = this.outcomeOf(first, from, to, start);
      const end = batch.final && index === steps.length - 1 ? now() : outcome.end;
      records.push({ id: step.id, start, ...outcome, end });
      start = end;
    }
    this.lastEnd = start;
    const last = steps.at(-1);
    if (trouble !== undefined && last !== undefined) return { records, failure: { step: last, error: trouble } };
    return { records };
  }

  private outcomeOf(
    first: number,
    from: number,
    to: number,
    start: number,
  ): { end: number; outcome: 'done' | 'tolerated'; errno?: string } {
    const { program } = this.context.program;
    let end = start;
    let errno: string | undefined;
    for (let index = from; index < to; index++) {
      const { result, stamp } = program.read(first, index);
      if (stamp > end) end = stamp;
      if (result < 0 && result > -4096) errno = errnoName(-result);
    }
    return errno === undefined ? { end, outcome: 'done' } : { end, outcome: 'tolerated', errno };
  }
}
