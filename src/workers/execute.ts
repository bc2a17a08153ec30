/**
 * Executes steps: host steps here, consecutive init steps as one batch in the child, which works on it while the host
 * goes on. Each step's start, end and outcome is recorded; when one fails, everything done so far is undone in
 * reverse, and the failing step is named.
 */
import { explainAction } from '../plan/explain.js';
import type { HostStep, InitStep, Phase, PlanNotice, Step } from '../plan/step.js';
import { CaissonError, type ErrorJSON } from '../spec/errors.js';
import { SyscallError } from '../syscalls/libc.js';
import { type LaunchMemory, type Registers, StepContext, type Texts } from './context.js';
import { errnoOf, failureOf } from './failure.js';
import { runHostAction } from './host/actions.js';
import { type Answer, type Awaited, InitBatches } from './init/batch.js';
import { now, type StepRecord } from './record.js';
import { rollBack, type UndoEntry } from './undo.js';

export interface ExecuteRequest {
  readonly steps: readonly Step[];
  readonly registers: Registers;
  /** Memory for the child, when the steps launch one. */
  readonly launch: LaunchMemory | null;
  /** Descriptors that the supervisor holds until this has ended, by name. */
  readonly held?: Readonly<Record<string, number>>;
  /** Fault injection: errno number by step id. */
  readonly faults: Readonly<Record<string, number>>;
  /** `all-or-nothing`: the first failure undoes everything. `best-effort`: every step is tried. */
  readonly mode: 'all-or-nothing' | 'best-effort';
  /** The last batch of the child is not waited for: it is up to the payload how long that takes. */
  readonly detached?: boolean;
}

export interface ExecuteHooks {
  /** Called in order, once each, when every step of a phase is done. */
  phaseDone?(phase: Phase, time: number): void;
  /** True: give up before the next phase. */
  cancelled?(): boolean;
}

export interface ExecuteResult {
  readonly ok: boolean;
  readonly records: StepRecord[];
  readonly registers: Registers;
  readonly texts: Texts;
  readonly notices: readonly PlanNotice[];
  /** Why it was undone. */
  readonly error: ErrorJSON | null;
  /** Errors while undoing, or of single steps where all are tried. */
  readonly cleanupErrors: ErrorJSON[];
  /** What a detached child still works on. */
  readonly awaited?: Awaited;
}

type Group = { readonly phase: Phase; readonly host: HostStep } | { readonly phase: Phase; readonly init: InitStep[] };

/** Splits steps where the executor or the phase changes: init steps in a row are one batch. */
function groups(steps: readonly Step[]): Group[] {
  const out: Group[] = [];
  for (const step of steps) {
    const last = out.at(-1);
    if (step.executor === 'host') out.push({ phase: step.phase, host: step });
    else if (last !== undefined && 'init' in last && last.phase === step.phase) last.init.push(step);
    else out.push({ phase: step.phase, init: [step] });
  }
  return out;
}

/** The child's calls do not block, but a file server behind a mount may: nothing may hang a worker for ever. */
const CHILD_TIMEOUT_MS = 30_000;
const LOOK_EVERY_MS = 20;

class Execution {
  readonly records: StepRecord[] = [];
  readonly undo: UndoEntry[] = [];
  readonly cleanupErrors: ErrorJSON[] = [];
  readonly context: StepContext;
  private readonly batches: InitBatches;
  /** Phases whose steps have all been begun, and the batches of the child each still waits for. */
  private readonly open: { readonly phase: Phase; batches: number; end: number }[] = [];

  constructor(
    private readonly request: ExecuteRequest,
    private readonly hooks: ExecuteHooks,
  ) {
    this.context = new StepContext({ ...request.registers }, request.launch, request.held);
    this.batches = new InitBatches(this.context, request.faults);
  }

  run(): void {
    for (const group of groups(this.request.steps)) {
      this.enter(group.phase);
      if ('init' in group) this.send(group.init);
      else this.host(group.host);
      this.collect(false);
    }
    this.collect(this.request.detached !== true);
    this.close();
  }

  get awaited(): Awaited | undefined {
    return this.batches.awaited;
  }

  private enter(phase: Phase): void {
    if (this.open.at(-1)?.phase === phase) return;
    this.announce(false);
    if (this.hooks.cancelled?.() === true)
      throw new CaissonError('CANCELLED', `the start was cancelled before phase ${phase}`);
    this.open.push({ phase, batches: 0, end: now() });
  }

  private send(all: InitStep[]): void {
    const steps = all.filter(step => !this.skips(step));
    if (steps.length === 0) return;
    this.batches.send(steps);
    const phase = this.open.at(-1);
    if (phase !== undefined) phase.batches++;
    // What follows the exec needs to know that it happened.
    if (steps.at(-1)?.action.op === 'execve' && this.request.detached !== true) this.collect(true);
  }

  /** Takes the answers that are there; all of them when `all` is set, looking now and then how far a slow child is. */
  private collect(all: boolean): void {
    const deadline = all ? performance.now() + CHILD_TIMEOUT_MS : 0;
    while (this.batches.waiting) {
      const answer = this.batches.answer(all ? LOOK_EVERY_MS : 0);
      if (answer !== undefined) this.take(answer);
      else if (!all) return;
      else if (performance.now() > deadline) {
        throw new CaissonError('TIMEOUT', `the child did not finish within ${CHILD_TIMEOUT_MS} ms`, {
          hint: 'a mount inside may wait for a file server that does not answer',
        });
      }
    }
  }

  private take(answer: Answer): void {
    this.records.push(...answer.records);
    if (answer.failure !== undefined) throw failureOf(answer.failure.step, answer.failure.error);
    const phase = this.open.find(({ batches }) => batches > 0);
    if (phase === undefined) return;
    phase.batches--;
    phase.end = Math.max(phase.end, answer.records.at(-1)?.end ?? 0);
    this.announce(false);
  }

  /** Tells of phases that are complete; the newest one only when nothing more can come (`all`). */
  private announce(all: boolean): void {
    while (this.open[0] !== undefined && this.open[0].batches === 0 && (all || this.open.length > 1)) {
      const { phase, end } = this.open[0];
      this.hooks.phaseDone?.(phase, end);
      this.open.shift();
    }
  }

  private close(): void {
    this.announce(true);
  }

  /** True, and on record, when what the step needs is not there. */
  private skips(step: Step): boolean {
    if (step.needs === undefined || this.context.has(step.needs)) return false;
    const time = now();
    this.records.push({ id: step.id, start: time, end: time, outcome: 'skipped' });
    return true;
  }

  private host(step: HostStep): void {
    if (this.skips(step)) return;
    const start = now();
    const record = (outcome: StepRecord['outcome'], errno?: string): void => {
      const end = now();
      this.records.push({ id: step.id, start, end, outcome, ...(errno === undefined ? {} : { errno }) });
      const phase = this.open.at(-1);
      if (phase !== undefined) phase.end = end;
    };
    try {
      const fault = this.request.faults[step.id];
      if (fault !== undefined) throw new SyscallError('injected fault', fault, explainAction(step.action));
      runHostAction(step.action, this.context);
      record('done');
    } catch (error) {
      const errno = errnoOf(error);
      if (errno !== undefined && step.tolerate?.some(tolerance => tolerance.errno === errno)) {
        record('tolerated', errno);
        return;
      }
      record('failed', errno);
      const failure = failureOf(step, error);
      if (this.request.mode === 'all-or-nothing') throw failure;
      this.cleanupErrors.push(failure.toJSON());
      return;
    }
    if (step.undo !== undefined) this.undo.push({ id: step.id, action: step.undo });
  }
}

export function execute(request: ExecuteRequest, hooks: ExecuteHooks = {}): ExecuteResult {
  const execution = new Execution(request, hooks);
  const { records, undo, context, cleanupErrors } = execution;
  try {
    execution.run();
    return {
      ok: cleanupErrors.length === 0,
      records,
      registers: context.registers,
      texts: context.texts,
      notices: context.notices,
      error: null,
      cleanupErrors,
      ...(execution.awaited === undefined ? {} : { awaited: execution.awaited }),
    };
  } catch (error) {
    const cleanup = rollBack(undo, context);
    records.push(...cleanup.records);
    if (!CaissonError.is(error)) throw error;
    return {
      ok: false,
      records,
      registers: context.registers,
      texts: context.texts,
      notices: context.notices,
      error: error.toJSON(),
      cleanupErrors: cleanup.errors,
    };
  }
}
