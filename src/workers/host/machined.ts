/** systemd-machined on the system bus: machines that it is told of (org.freedesktop.machine1(5)). */
import type { MachineAction } from '../../plan/actions/machine.js';
import { BusConnection, SYSTEM_BUS } from '../../syscalls/dbus/connection.js';
import { DBusError } from '../../syscalls/dbus/error.js';
import { SyscallError } from '../../syscalls/libc.js';
import type { StepContext } from '../context.js';
import type { Executors } from './executors.js';

const MANAGER = {
  destination: 'org.freedesktop.machine1',
  path: '/org/freedesktop/machine1',
  interface: 'org.freedesktop.machine1.Manager',
};
const MACHINE = 'org.freedesktop.machine1.Machine';
const UNREACHABLE = 'org.freedesktop.DBus.Error.ServiceUnknown';

type Register = Extract<MachineAction, { op: 'machine.register' }>;
type Unregister = Extract<MachineAction, { op: 'machine.unregister' }>;

function onBus(timeoutMs: number, work: (bus: BusConnection, deadline: number) => void): void {
  const deadline = performance.now() + timeoutMs;
  const bus = BusConnection.open(SYSTEM_BUS, deadline);
  try {
    work(bus, deadline);
  } catch (error) {
    // Masked, or it cannot be started: systemd has many words for that it is not there.
    if (error instanceof DBusError && error.code === undefined) throw new DBusError(UNREACHABLE, error.message);
    throw error;
  } finally {
    bus.close();
  }
}

/** The unit of the machine of that name; undefined when there is none. */
function unitOf(bus: BusConnection, name: string, deadline: number): string | undefined {
  try {
    const [path] = bus.call({ ...MANAGER, member: 'GetMachine', signature: 's', args: [name] }, deadline);
    const at = { destination: MANAGER.destination, path: String(path), interface: MACHINE };
    return String(bus.property(at, 'Unit', deadline));
  } catch (error) {
    // NoSuchMachine, or UnknownObject: it went between the two calls.
    if (error instanceof DBusError && error.code === 'ENXIO') return undefined;
    throw error;
  }
}

/** Only one of ours: two supervisors may have a container of the same name, and machined has one machine of it. */
function forget(bus: BusConnection, { name, unit }: Pick<Unregister, 'name' | 'unit'>, deadline: number): boolean {
  if (unitOf(bus, name, deadline) !== unit) return false;
  try {
    bus.call({ ...MANAGER, member: 'UnregisterMachine', signature: 's', args: [name] }, deadline);
  } catch (error) {
    if (!(error instanceof DBusError) || error.code !== 'ENXIO') throw error;
  }
  return true;
}

function register(action: Register, context: StepContext): void {
  const { name, root, timeoutMs } = action;
  const id = [...Buffer.from(context.text(action.uuid).replaceAll('-', ''), 'hex')];
  const args = [name, id, 'caisson', 'container', context.get(action.leader), root];
  const call = { ...MANAGER, member: 'RegisterMachine', signature: 'sayssus', args };
  onBus(timeoutMs, (bus, deadline) => {
    try {
      bus.call(call, deadline);
    } catch (error) {
      // Left by a life whose supervisor was killed.
      if (!(error instanceof DBusError) || error.code !== 'EEXIST' || !forget(bus, action, deadline)) throw error;
      bus.call(call, deadline);
    }
  });
}

/** machined forgets a machine with its unit, if we cannot make it: no start and no stop is to fail by that. */
function unregister(action: Unregister): void {
  try {
    onBus(action.timeoutMs, (bus, deadline) => void forget(bus, action, deadline));
  } catch (error) {
    if (!(error instanceof DBusError) && !(error instanceof SyscallError)) throw error;
  }
}

export const MACHINE_ACTIONS: Executors<MachineAction> = {
  'machine.register': (action, context) => register(action, context),
  'machine.unregister': action => unregister(action),
};
