/** What the unit tests share: specs, plans, golden files, and small queries over steps. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'vitest';
import { compile } from '#src/plan/compile.js';
import type { HostFacts } from '#src/plan/facts.js';
import type { HostAction, HostStep, InitAction, InitStep, Plan, Step } from '#src/plan/step.js';
import { type ContainerSpec, type IdMap, resolveSpec } from '#src/spec/container.js';
import { CaissonError, type ErrorCode } from '#src/spec/errors.js';

export const RANGE: IdMap = { first: 1_000_000, count: 65_536 };
export const RUN_DIR = '/run/caisson/web';
/** The container's own directory. */
export const DIR = '/var/lib/caisson/web';
export const LAYER = '/var/lib/caisson/.layers/e3b0c442/tree';
export const UUID = '0b1f6a52-3f1c-8d11-9a57-2f7f4f0c5d3e';

/** An unprivileged container unless `input` says otherwise. */
export function unprivileged(input: Record<string, unknown> = {}): ContainerSpec {
  return resolveSpec({ name: 'web', rootfs: '/srv/web', ...input }, () => RANGE);
}

export function privileged(input: Record<string, unknown> = {}): ContainerSpec {
  return unprivileged({ privileged: true, rootfs: { path: '/srv/web', overlay: 'ephemeral' }, ...input });
}

export function planOf(spec: ContainerSpec, facts: HostFacts): Plan {
  return compile(spec, facts, { runDir: RUN_DIR, dir: DIR, uuid: UUID, layer: LAYER });
}

type ActionOf<O extends string> = Extract<HostAction | InitAction, { op: O }>;

/** The actions of one kind, in plan order. */
export function actions<O extends (HostAction | InitAction)['op']>(plan: Plan, op: O): ActionOf<O>[] {
  return plan.steps.map(step => step.action).filter((action): action is ActionOf<O> => action.op === op);
}

export function stepOf(plan: Plan, id: string): Step {
  const step = plan.steps.find(candidate => candidate.id === id);
  if (step === undefined) throw new Error(`no step ${id} among ${plan.steps.map(candidate => candidate.id).join(' ')}`);
  return step;
}

export function hostStepOf(plan: Plan, id: string): HostStep {
  const step = stepOf(plan, id);
  if (step.executor !== 'host') throw new Error(`${id} is done by ${step.executor}`);
  return step;
}

export function initStepOf(plan: Plan, id: string): InitStep {
  const step = stepOf(plan, id);
  if (step.executor !== 'init') throw new Error(`${id} is done by ${step.executor}`);
  return step;
}

/** Position of a step in the plan; an unknown id is an error, so that no order test passes for want of a step. */
export function at(plan: Plan, id: string): number {
  return plan.steps.indexOf(stepOf(plan, id));
}

export function has(plan: Plan, id: string): boolean {
  return plan.steps.some(step => step.id === id);
}

/** The CaissonError that `act` throws. */
export function errorOf(act: () => unknown): CaissonError {
  try {
    act();
  } catch (error) {
    if (CaissonError.is(error)) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

export function expectError(act: () => unknown, code: ErrorCode, field?: string): CaissonError {
  const error = errorOf(act);
  expect({ code: error.code, field: error.field }).toEqual({ code, field });
  return error;
}

/** Freezes everything reachable, so that a mutation throws. */
export function deepFreeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value);
    for (const part of Object.values(value)) deepFreeze(part);
  }
  return value;
}

/**
 * Compares with test/unit/golden/<name>; a mismatch prints the diff. UPDATE_GOLDEN=1 writes the file instead: read
 * what it changed before you commit it. A missing file fails.
 */
export function expectGolden(name: string, actual: string): void {
  const path = fileURLToPath(new URL(`./golden/${name}`, import.meta.url));
  const text = `${actual}\n`;
  if (process.env.UPDATE_GOLDEN === '1') {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, text);
    return;
  }
  expect(text).toBe(readFileSync(path, 'utf8'));
}
