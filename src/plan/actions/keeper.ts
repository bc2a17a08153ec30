/** What outlives the supervisor is handed to the keeper (syscalls/keeper). */
import type { Register } from './register.js';

export type KeeperAction =
  | { readonly op: 'end.make'; readonly path: string }
  | {
      readonly op: 'keeper.store';
      /** Our end of its socket, and the container's place in it: plain numbers. */
      readonly keeper: Register;
      readonly slot: Register;
      readonly pid: Register;
      /** In the order of their places; what is empty is left out. */
      readonly registers: readonly Register[];
      /** File in which the end of PID 1 is written down while nobody supervises. */
      readonly end: string;
      /** PID 1 is no child of this supervisor: the keeper writes down its end whenever it comes. */
      readonly orphan: boolean;
    }
  | {
      /** More of a container whose PID 1 is held. */
      readonly op: 'keeper.add';
      readonly keeper: Register;
      readonly slot: Register;
      /** In the order of their places, from `first` on; what is empty is left out. */
      readonly registers: readonly Register[];
      readonly first: number;
    }
  | { readonly op: 'keeper.drop'; readonly keeper: Register; readonly slot: Register };
