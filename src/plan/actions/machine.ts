/** systemd-machined's list of machines (org.freedesktop.machine1). Done by a worker thread, over the system bus. */
import type { Register, Text } from './register.js';

export type MachineAction =
  | {
      readonly op: 'machine.register';
      readonly name: string;
      /** Dashed. */
      readonly uuid: Text;
      /** PID 1 of the container; machined finds the unit that it is in. */
      readonly leader: Register;
      /** The unit by which one that is registered already is known to be ours. */
      readonly unit: string;
      /** As it is shown; nobody opens it. */
      readonly root: string;
      readonly timeoutMs: number;
    }
  | { readonly op: 'machine.unregister'; readonly name: string; readonly unit: string; readonly timeoutMs: number };
