/** systemd's manager on the system bus: transient scopes (org.freedesktop.systemd1). */
import type { ScopeAction } from '../../plan/actions/scope.js';
import { CaissonError } from '../../spec/errors.js';
import { BusConnection, SYSTEM_BUS } from '../../syscalls/dbus/connection.js';
import { DBusError } from '../../syscalls/dbus/error.js';
import type { Value } from '../../syscalls/dbus/types.js';
import { retryFor } from '../sleep.js';

const MANAGER = {
  destination: 'org.freedesktop.systemd1',
  path: '/org/freedesktop/systemd1',
  interface: 'org.freedesktop.systemd1.Manager',
};
const UNIT = 'org.freedesktop.systemd1.Unit';
const SCOPE = 'org.freedesktop.systemd1.Scope';
const JOB_REMOVED = `type='signal',sender='${MANAGER.destination}',interface='${MANAGER.interface}',member='JobRemoved'`;
const UNLIMITED = (1n << 64n) - 1n;

function onBus<T>(deadline: number, work: (bus: BusConnection) => T): T {
  const bus = BusConnection.open(SYSTEM_BUS, deadline);
  try {
    return work(bus);
  } finally {
    bus.close();
  }
}

/** Undefined instead of the error with that code. */
function unless<T>(code: string, work: () => T): T | undefined {
  try {
    return work();
  } catch (error) {
    if (error instanceof DBusError && error.code === code) return undefined;
    throw error;
  }
}

/** The cgroup of systemd itself, below which its slices are; from the root of the cgroup tree, '' for that root. */
export function managerCgroup(timeoutMs: number): string {
  const deadline = performance.now() + timeoutMs;
  const group = onBus(deadline, bus => bus.property(MANAGER, 'ControlGroup', deadline));
  return group === '/' ? '' : String(group);
}

/** The object path of a loaded unit; undefined when there is none of that name. */
function unitPath(bus: BusConnection, unit: string, deadline: number): string | undefined {
  const call = { ...MANAGER, member: 'GetUnit', signature: 's', args: [unit] };
  return unless('ENOENT', () => String(bus.call(call, deadline)[0]));
}

function isGone(bus: BusConnection, unit: string, deadline: number): boolean {
  const path = unitPath(bus, unit, deadline);
  if (path === undefined) return true;
  const at = { destination: MANAGER.destination, path, interface: UNIT };
  const state = unless('EINVAL', () => bus.property(at, 'ActiveState', deadline));
  // What failed stays, to be looked at, until it is told that somebody has.
  if (state === 'failed')
    unless('ENOENT', () => bus.call({ ...MANAGER, member: 'ResetFailedUnit', signature: 's', args: [unit] }, deadline));
  return false;
}

/** Waits for the end of a job, and returns its result. */
function jobResult(bus: BusConnection, job: Value, deadline: number): Value | undefined {
  return bus.signal(({ member, body }) => member === 'JobRemoved' && body[1] === job, deadline).body[3];
}

type Start = Extract<ScopeAction, { op: 'scope.start' }>;

function propertiesOf(action: Start, pid: number): Value[] {
  const of = (name: string, signature: string, value: Value): Value => [name, { signature, value }];
  return [
    of('PIDs', 'au', [pid]),
    of('Description', 's', action.description),
    of('Slice', 's', action.slice),
    of('Delegate', 'b', true),
    of('KillMode', 's', 'mixed'),
    of('KillSignal', 'i', action.killSignal),
    of('CollectMode', 's', 'inactive-or-failed'),
    // systemd's default is a share of the host's, which nobody asked for.
    of('TasksMax', 't', UNLIMITED),
  ];
}

/** @throws DBusError, SyscallError, CaissonError STEP_FAILED when systemd did something else than it was asked for. */
export function startScope(action: Start, pid: number): void {
  const { unit, path, timeoutMs } = action;
  const deadline = performance.now() + timeoutMs;
  onBus(deadline, bus => {
    bus.match(JOB_REMOVED, deadline);
    const args = [unit, 'fail', propertiesOf(action, pid), []];
    const call = { ...MANAGER, member: 'StartTransientUnit', signature: 'ssa(sv)a(sa(sv))', args };
    let job: Value | undefined;
    // The scope of the last life may be on its way out still.
    retryFor(timeoutMs, () => {
      job = unless('EEXIST', () => bus.call(call, deadline)[0]);
      return job !== undefined || (isGone(bus, unit, deadline) && false);
    });
    if (job === undefined) throw new CaissonError('STEP_FAILED', `${unit} exists already, and does not end`);
    const result = jobResult(bus, job, deadline);
    if (result !== 'done') throw new CaissonError('STEP_FAILED', `systemd could not start ${unit}: ${String(result)}`);
    const object = unitPath(bus, unit, deadline);
    const at = { destination: MANAGER.destination, path: object ?? '/', interface: SCOPE };
    const group = String(bus.property(at, 'ControlGroup', deadline));
    if (!path.endsWith(group) || group === '')
      throw new CaissonError('STEP_FAILED', `systemd put ${unit} at ${group}, not at ${path}`);
  });
}

/** Ends a scope and everything in it, and waits until systemd has forgotten it. Nothing to do when there is none. */
export function stopScope({ unit, timeoutMs }: Extract<ScopeAction, { op: 'scope.stop' }>): void {
  const deadline = performance.now() + timeoutMs;
  onBus(deadline, bus => {
    if (isGone(bus, unit, deadline)) return;
    bus.match(JOB_REMOVED, deadline);
    const kill = { ...MANAGER, member: 'KillUnit', signature: 'ssi', args: [unit, 'all', 9] };
    // ESRCH: there is nobody in it.
    unless('ENOENT', () => unless('ESRCH', () => bus.call(kill, deadline)));
    const stop = { ...MANAGER, member: 'StopUnit', signature: 'ss', args: [unit, 'replace'] };
    const job = unless('ENOENT', () => bus.call(stop, deadline)[0]);
    if (job !== undefined) jobResult(bus, job, deadline);
    if (!retryFor(timeoutMs, () => isGone(bus, unit, deadline)))
      throw new CaissonError('CLEANUP_FAILED', `${unit} is still there ${timeoutMs} ms after it was stopped`);
  });
}
