/** Joining a running container. Done by a worker thread, in the host's namespaces. */
import type { Register } from './register.js';

export type JoinAction =
  /** Opens the v2 cgroup that PID 1 is in, if it lies below `payload`, or else `payload`; or its cgroup.procs. */
  | {
      readonly op: 'join.cgroup';
      readonly payload: string;
      readonly procs: boolean;
      readonly pid: Register;
      readonly save: Register;
    }
  /** A pipe for each standard descriptor; `theirs` belong to the user that is to have them, by host ids. */
  | {
      readonly op: 'join.pipes';
      readonly uid: number;
      readonly gid: number;
      readonly save: { readonly theirs: readonly Register[]; readonly ours: readonly Register[] };
    }
  /** A terminal in the instance of devpts that is mounted in the container. */
  | {
      readonly op: 'join.tty';
      readonly pidfd: Register;
      readonly rows: number;
      readonly cols: number;
      readonly uid: number;
      readonly gid: number;
      readonly save: { readonly master: Register; readonly slave: Register };
    }
  /** Clones the joiner; `sync` is its end of the gate, which is closed here. */
  | {
      readonly op: 'join.launch';
      readonly sync: Register;
      readonly save: { readonly pid: Register; readonly pidfd: Register };
    }
  /** Waits for the joiner's end, and opens the process that it has cloned. */
  | { readonly op: 'join.follow'; readonly pidfd: Register; readonly save: Register }
  /** Kills the joiner and what came of it. */
  | { readonly op: 'join.kill'; readonly pidfd: Register };
