/** Plans this thread has compiled: a container that restarts has the same plan again. */
import { type Assigned, compile } from '../plan/compile.js';
import type { HostFacts, LxcfsFacts } from '../plan/facts.js';
import type { Plan } from '../plan/step.js';
import type { ContainerSpec } from '../spec/container.js';

/** A plan takes some 60 KB. */
const KEPT = 4;

let known: HostFacts | undefined;
const plans = new Map<string, { readonly spec: string; readonly plan: Plan }>();

/** Facts are told once to each thread; false when this one has not been told yet. */
export function learnFacts(facts: HostFacts | undefined): boolean {
  known ??= facts;
  return known !== undefined;
}

/** What was learnt. */
export function hostFacts(): HostFacts {
  if (known === undefined) throw new Error('the facts of the host are not known here');
  return known;
}

/** The plan of a start; `learnFacts` must have been true. */
export function planOf(spec: ContainerSpec, assigned: Assigned, lxcfs: LxcfsFacts | null): Plan {
  const { runDir } = assigned;
  const text = JSON.stringify([spec, assigned, lxcfs]);
  const kept = plans.get(runDir);
  if (kept?.spec === text) return kept.plan;
  const plan = compile(spec, { ...hostFacts(), lxcfs }, assigned);
  plans.delete(runDir);
  plans.set(runDir, { spec: text, plan });
  const [oldest] = plans.keys();
  if (plans.size > KEPT && oldest !== undefined) plans.delete(oldest);
  return plan;
}
