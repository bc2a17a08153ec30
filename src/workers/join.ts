/** Joining a container in one task: the plan compiled, its host steps done, its child on its way. */
import { compileWish, type JoinWish } from '../plan/exec.js';
import type { HostFacts } from '../plan/facts.js';
import type { ContainerSpec } from '../spec/container.js';
import type { LaunchMemory, Registers } from './context.js';
import { type ExecuteResult, execute } from './execute.js';
import { hostFacts, learnFacts } from './plans.js';

export interface JoinRequest {
  readonly spec: ContainerSpec;
  readonly wish: JoinWish;
  /** Left out when the thread is thought to know them. */
  readonly facts?: HostFacts;
  readonly registers: Registers;
  readonly launch: LaunchMemory;
  readonly faults: Readonly<Record<string, number>>;
}

/** @returns undefined, having done nothing, when this thread does not know the host's facts yet. */
export function join({ spec, wish, facts, ...rest }: JoinRequest): ExecuteResult | undefined {
  if (!learnFacts(facts)) return undefined;
  const { steps } = compileWish(spec, hostFacts(), wish);
  return execute({ ...rest, steps, mode: 'all-or-nothing', detached: true });
}
