/** A whole start in one task: compiled, executed, told phase by phase; undone as one if any step fails. */
import { availableParallelism } from 'node:os';
import type { Assigned } from '../plan/compile.js';
import type { HostFacts, LxcfsFacts } from '../plan/facts.js';
import type { PlanNotice } from '../plan/step.js';
import type { ContainerSpec } from '../spec/container.js';
import type { ErrorJSON } from '../spec/errors.js';
import type { LaunchMemory, Registers, Texts } from './context.js';
import { execute } from './execute.js';
import { type PackedRecords, packRecords } from './packed.js';
import { learnFacts, planOf } from './plans.js';
import { Progress } from './progress.js';

export interface StartRequest {
  readonly spec: ContainerSpec;
  /** Left out when the thread is thought to know them. */
  readonly facts?: HostFacts;
  readonly assigned: Assigned;
  readonly launch: LaunchMemory;
  /** LXCFS as it is now; null: the container is not to have it. */
  readonly lxcfs: LxcfsFacts | null;
  /** Descriptors that the supervisor holds until this has ended, by name. */
  readonly held: Readonly<Record<string, number>>;
  /** Fault injection: errno number by step id. */
  readonly faults: Readonly<Record<string, number>>;
  readonly progress: SharedArrayBuffer;
  /** Numbers that steps may need and that are not the container's own: the keeper, and its place there. */
  readonly registers: Registers;
}

export interface StartResult {
  /** The registers that the plan exports; empty after a failure. */
  readonly registers: Registers;
  /** What the plan's text registers held. */
  readonly texts: Texts;
  readonly records: PackedRecords;
  /** Of the plan, and of its execution. */
  readonly notices: readonly PlanNotice[];
  readonly error: ErrorJSON | null;
}

/** ms. A start that takes longer is watched by somebody; with processors to spare it is told at once. */
const TELL_AFTER_MS = availableParallelism() > 2 ? 0 : 10;

/** @returns undefined, having done nothing, when this thread does not know the host's facts yet. */
export function start(request: StartRequest): StartResult | undefined {
  if (!learnFacts(request.facts)) return undefined;
  const { spec, assigned, launch, lxcfs, held, faults } = request;
  const progress = new Progress(request.progress);
  const begun = performance.now();
  const plan = planOf(spec, assigned, lxcfs);
  const result = execute(
    { steps: plan.steps, registers: request.registers, launch, held, faults, mode: 'all-or-nothing' },
    {
      // Telling wakes the main thread, which takes a processor from the child: a fast start is told in one go.
      phaseDone: (_, time) => progress.advance(time, performance.now() - begun > TELL_AFTER_MS),
      cancelled: () => progress.cancelled,
    },
  );
  const records = packRecords(plan.steps, result.records);
  const notices = [...plan.notices, ...result.notices];
  if (result.error !== null) {
    const { error, cleanupErrors } = result;
    return {
      registers: {},
      texts: {},
      records,
      notices,
      error: cleanupErrors.length === 0 ? error : { ...error, cleanupErrors },
    };
  }
  const registers = Object.fromEntries(
    Object.entries(result.registers).filter(([register]) => plan.exports.includes(register)),
  );
  return { registers, texts: result.texts, records, notices, error: null };
}
