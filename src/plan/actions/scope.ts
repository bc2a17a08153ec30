/** Units of systemd on the host. Done by a worker thread, over the system bus. */
import type { Register } from './register.js';

export type ScopeAction =
  | {
      readonly op: 'scope.start';
      readonly unit: string;
      readonly slice: string;
      /** Absolute path of the cgroup it is to have. */
      readonly path: string;
      readonly pid: Register;
      readonly description: string;
      /** Number of the signal that asks PID 1 to halt. */
      readonly killSignal: number;
      readonly timeoutMs: number;
    }
  | { readonly op: 'scope.stop'; readonly unit: string; readonly path: string; readonly timeoutMs: number }
  | { readonly op: 'cgroup.attach'; readonly path: string; readonly pid: Register };
