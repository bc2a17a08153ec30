/**
 * A plan is an ordered list of steps, and a step is data: what is done, who does it, what may go wrong without
 * harm, and what undoes it. Executors are in src/workers; nothing here calls anything.
 */
import type { ErrnoName } from '../spec/errno.js';
import type { RlimitName } from '../spec/rlimits.js';

export const START_PHASES = ['creating', 'mounting', 'devices', 'network', 'running'] as const;
export type StartPhase = (typeof START_PHASES)[number];
export type Phase = StartPhase | 'teardown' | 'prepare';

/** The name of a register: a place where one step leaves a number for later ones. `fd:` registers are descriptors. */
export type Register = string;

export interface IdMapEntry {
  readonly inside: number;
  readonly outside: number;
  readonly count: number;
}

/** Done by a worker thread, in the host's namespaces. */
export type HostAction =
  | { readonly op: 'rootfs.open'; readonly path: string; readonly save: Register }
  | {
      readonly op: 'rootfs.check';
      readonly dir: Register;
      readonly path: string;
      readonly init: string;
      readonly createMissing: boolean;
      readonly owner: number | null;
    }
  | { readonly op: 'rootfs.clone'; readonly dir: Register; readonly save: Register }
  | {
      readonly op: 'rootfs.overlay';
      readonly lower: Register;
      readonly scratch: string;
      readonly owner: number;
      readonly save: Register;
    }
  | { readonly op: 'mkdir'; readonly path: string; readonly mode: number }
  | { readonly op: 'mkdirs'; readonly path: string; readonly mode: number }
  | { readonly op: 'cpuset.inherit'; readonly path: string }
  | { readonly op: 'rmdir'; readonly path: string }
  | { readonly op: 'cgroup.remove'; readonly path: string; readonly timeoutMs: number }
  | { readonly op: 'rmtree'; readonly path: string }
  | { readonly op: 'open'; readonly path: string; readonly flags: readonly string[]; readonly save: Register }
  | { readonly op: 'close'; readonly registers: readonly Register[] }
  | { readonly op: 'write'; readonly path: string; readonly text: string }
  | { readonly op: 'write.lines'; readonly path: string; readonly lines: readonly string[] }
  | { readonly op: 'chown'; readonly path: string; readonly uid: number; readonly gid: number }
  | { readonly op: 'socketpair'; readonly save: readonly [Register, Register] }
  | {
      readonly op: 'launch';
      readonly namespaces: readonly string[];
      readonly sync: Register;
      readonly cgroup: Register | null;
      readonly save: { readonly pid: Register; readonly pidfd: Register };
    }
  | { readonly op: 'sync.close'; readonly sync: Register }
  | { readonly op: 'raise'; readonly registers: readonly Register[]; readonly from: number }
  | { readonly op: 'kill'; readonly pidfd: Register }
  | { readonly op: 'record'; readonly path: string; readonly pid: Register }
  | { readonly op: 'unlink'; readonly path: string }
  | {
      readonly op: 'idmap.write';
      readonly pid: Register;
      readonly uid: readonly IdMapEntry[];
      readonly gid: readonly IdMapEntry[];
    }
  | { readonly op: 'userns.open'; readonly pid: Register; readonly save: Register }
  | { readonly op: 'mount.idmap'; readonly mount: Register; readonly userns: Register }
  | {
      readonly op: 'fs.mount';
      readonly fstype: string;
      readonly options: Readonly<Record<string, string>>;
      readonly attributes: readonly string[];
      readonly save: Register;
    }
  | {
      readonly op: 'tree.mkdir';
      readonly dir: Register;
      readonly path: string;
      readonly mode: number;
      readonly uid: number;
      readonly gid: number;
    }
  | {
      readonly op: 'tree.mknod';
      readonly dir: Register;
      readonly path: string;
      readonly major: number;
      readonly minor: number;
      readonly mode: number;
      readonly uid: number;
      readonly gid: number;
    }
  | {
      readonly op: 'tree.file';
      readonly dir: Register;
      readonly path: string;
      readonly mode: number;
      readonly uid: number;
      readonly gid: number;
    }
  | {
      readonly op: 'tree.symlink';
      readonly dir: Register;
      readonly path: string;
      readonly target: string;
      readonly uid: number;
      readonly gid: number;
    }
  | {
      readonly op: 'tree.chown';
      readonly dir: Register;
      readonly path: string;
      readonly uid: number;
      readonly gid: number;
    }
  | { readonly op: 'bind.open'; readonly path: string; readonly save: Register }
  | {
      readonly op: 'pty.open';
      readonly devpts: Register;
      readonly rows: number;
      readonly cols: number;
      readonly uid: number;
      readonly gid: number;
      readonly save: { readonly master: Register; readonly slave: Register };
    }
  | { readonly op: 'policy.bpf'; readonly cgroup: string; readonly program: readonly number[] }
  | {
      readonly op: 'rlimits';
      readonly pid: Register;
      readonly limits: Readonly<Partial<Record<RlimitName, readonly [number | null, number | null]>>>;
    }
  | { readonly op: 'oom'; readonly pid: Register; readonly adj: number }
  | { readonly op: 'dumpable'; readonly value: number }
  | {
      readonly op: 'cgroup.freeze';
      readonly path: string;
      readonly version: 1 | 2;
      readonly frozen: boolean;
      readonly timeoutMs: number;
    }
  | {
      readonly op: 'cgroup.kill';
      readonly paths: readonly string[];
      readonly v2: string | null;
      readonly timeoutMs: number;
    };

/** Done by the container's first process before its exec: no stack, no libc, raw system calls only. */
export type InitAction =
  | { readonly op: 'write'; readonly fd: Register; readonly text: string }
  | { readonly op: 'unshare'; readonly flags: readonly string[] }
  | {
      readonly op: 'mount';
      readonly source: string | null;
      readonly target: string;
      readonly fstype: string | null;
      readonly flags: readonly string[];
      readonly data?: string;
    }
  | { readonly op: 'move_mount'; readonly mount: Register; readonly target: string }
  | { readonly op: 'umount'; readonly target: string; readonly flags: readonly string[] }
  | { readonly op: 'fchdir'; readonly fd: Register }
  | { readonly op: 'chdir'; readonly path: string }
  | { readonly op: 'pivot_root'; readonly newRoot: string; readonly putOld: string }
  | { readonly op: 'mkdir'; readonly path: string; readonly mode: number }
  | { readonly op: 'symlink'; readonly path: string; readonly target: string }
  | { readonly op: 'link.up'; readonly name: string }
  | { readonly op: 'sethostname'; readonly name: string }
  | { readonly op: 'setsid' }
  | { readonly op: 'dup'; readonly fd: Register; readonly to: number }
  | { readonly op: 'controlling_tty' }
  | { readonly op: 'capabilities'; readonly keep: readonly string[]; readonly drop: readonly string[] }
  | { readonly op: 'identity'; readonly uid: number; readonly gid: number }
  | { readonly op: 'umask'; readonly mask: number }
  | { readonly op: 'default_signals'; readonly signals: readonly string[] }
  | { readonly op: 'unblock_signals' }
  | { readonly op: 'close_on_exec'; readonly from: number }
  | { readonly op: 'execve'; readonly path: string; readonly argv: readonly string[]; readonly env: readonly string[] };

export interface Tolerance {
  readonly errno: ErrnoName;
  /** Why the start may go on without this. */
  readonly why: string;
}

interface StepBase {
  /** Stable and unique within a plan: `mounting.proc`. */
  readonly id: string;
  readonly phase: Phase;
  readonly label: string;
  readonly tolerate?: readonly Tolerance[];
}

export interface HostStep extends StepBase {
  readonly executor: 'host';
  readonly action: HostAction;
  /** Puts back what this step changed; run in reverse order when a later step fails. */
  readonly undo?: HostAction;
}

export interface InitStep extends StepBase {
  readonly executor: 'init';
  readonly action: InitAction;
}

export type Step = HostStep | InitStep;

/** Something the user should know about this plan before it runs. */
export interface PlanNotice {
  readonly code: 'device-degraded' | 'rlimit-capped' | 'device-policy-none' | 'oom-late' | 'rootfs-not-empty';
  readonly message: string;
}

export interface Plan {
  readonly container: string;
  readonly steps: readonly Step[];
  readonly notices: readonly PlanNotice[];
  /** Registers that outlive the start: the supervisor owns them afterwards. */
  readonly exports: readonly Register[];
}

/** Registers holding descriptors; they are closed on rollback. */
export function isDescriptor(register: Register): boolean {
  return register.startsWith('fd:');
}

/** The registers an action saves. */
export function savedRegisters(action: HostAction): Register[] {
  if (!('save' in action)) return [];
  const { save } = action;
  if (typeof save === 'string') return [save];
  return Object.values(save);
}

/** The descriptor registers an init action uses: these must be handed to the child. */
export function usedDescriptors(action: InitAction): Register[] {
  if (action.op === 'move_mount') return [action.mount];
  if ('fd' in action) return [action.fd];
  return [];
}
