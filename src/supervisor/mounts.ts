/** Mounts that come and go while the container runs (HST-34). They end with the life they were made in. */
import { compileLiveMount, compileLiveUnmount, TARGET } from '../plan/live-mount.js';
import type { Plan, PlanNotice } from '../plan/step.js';
import type { ContainerSpec } from '../spec/container.js';
import { CaissonError } from '../spec/errors.js';
import { duplicate } from '../syscalls/fs.js';
import type { Registers } from '../workers/context.js';
import type { Host } from './host.js';

export interface MountOptions {
  /** A directory or file of the host. */
  readonly source: string;
  /** Absolute path inside, made where it is missing. No part of it may be a symlink. */
  readonly target: string;
  /** Default false. A container's root may lift it for its own view: what must not be written needs its own rights. */
  readonly readOnly?: boolean;
  /** Owners are shown through the container's id map: host root's files become container root's. Default false. */
  readonly shift?: boolean;
}

function checkPath(field: string, path: unknown): string {
  const fault =
    typeof path !== 'string' || !path.startsWith('/')
      ? 'must be an absolute path'
      : path.includes('\0') || path.split('/').includes('..')
        ? 'must not contain .. or a NUL byte'
        : undefined;
  if (fault !== undefined) throw new CaissonError('SPEC_INVALID', `${field}: ${fault}`, { field });
  return path as string;
}

/** The plan of attaching `options`. @throws CaissonError SPEC_INVALID */
export function planOfMount(spec: ContainerSpec, options: MountOptions): Plan {
  const source = checkPath('source', options.source);
  return compileLiveMount(spec, {
    source,
    target: checkTarget(options.target),
    readOnly: options.readOnly ?? false,
    shift: options.shift ?? false,
  });
}

export function planOfUnmount(spec: ContainerSpec, target: string): Plan {
  return compileLiveUnmount(spec, checkTarget(target));
}

/** HST-48. */
const VIRTUAL_TERMINAL = /^\/+(?:\.\/+)*dev\/+(?:\.\/+)*(?:tty\d|vcs)/;

function checkTarget(target: unknown): string {
  const path = checkPath('target', target);
  if (VIRTUAL_TERMINAL.test(path)) {
    throw new CaissonError('SPEC_INVALID', 'target: must not be the name of a virtual terminal', {
      field: 'target',
      hint: 'programs that find one take the container for a machine with a screen: use ttys',
    });
  }
  if (/^[/.]*$/.test(path)) throw new CaissonError('SPEC_INVALID', 'target: must not be the root', { field: 'target' });
  return path;
}

export interface LiveResult {
  readonly notices: readonly PlanNotice[];
  /** Registers that the plan exports. */
  readonly exported: Registers;
}

function exportsOf(plan: Plan, registers: Registers): Registers {
  return Object.fromEntries(Object.entries(registers).filter(([register]) => plan.exports.includes(register)));
}

/** Executes `plan` in the container whose PID 1 `registers` hold; `held` as in ExecuteRequest. */
export async function performLive(
  host: Host,
  plan: Plan,
  { pid, 'fd:pidfd': pidfd }: Registers,
  held: Readonly<Record<string, number>> = {},
): Promise<LiveResult> {
  if (pid === undefined || pidfd === undefined) {
    throw new CaissonError('INVALID_TRANSITION', `${plan.container} does not run`, { field: 'state' });
  }
  const result = await host.pool.execute({
    steps: plan.steps,
    registers: { pid, [TARGET]: duplicate(pidfd, 3) },
    launch: null,
    held,
    faults: host.faults,
    mode: 'all-or-nothing',
  });
  if (result.error !== null) throw CaissonError.from(result.error);
  return { notices: result.notices, exported: exportsOf(plan, result.registers) };
}
