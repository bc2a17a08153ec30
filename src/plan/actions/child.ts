/** The child's birth, and what is set on it from outside. Done by a worker thread, in the host's namespaces. */
import type { RlimitName } from '../../spec/rlimits.js';
import type { IdMapEntry, Register } from './register.js';

export type ChildAction =
  | { readonly op: 'socketpair'; readonly save: readonly [Register, Register] }
  | {
      readonly op: 'launch';
      readonly namespaces: readonly string[];
      readonly sync: Register;
      readonly cgroup: Register | null;
      readonly save: { readonly pid: Register; readonly pidfd: Register };
    }
  | { readonly op: 'loginuid.unset' }
  | { readonly op: 'apparmor.load'; readonly parser: string; readonly name: string; readonly text: string }
  | { readonly op: 'sync.close'; readonly sync: Register }
  | { readonly op: 'kill'; readonly pidfd: Register }
  | {
      readonly op: 'record';
      readonly path: string;
      readonly pid: Register;
      /** Its place with the keeper, and what is there, in order; empty without a keeper. */
      readonly slot: Register;
      readonly registers: readonly Register[];
    }
  | {
      readonly op: 'idmap.write';
      readonly pid: Register;
      readonly uid: readonly IdMapEntry[];
      readonly gid: readonly IdMapEntry[];
    }
  | {
      readonly op: 'rlimits';
      readonly pid: Register;
      readonly limits: Readonly<Partial<Record<RlimitName, readonly [number | null, number | null]>>>;
    }
  | { readonly op: 'oom'; readonly pid: Register; readonly adj: number }
  /** Nobody may read our memory, as long as anybody holds that. */
  | { readonly op: 'undumpable.hold' }
  | { readonly op: 'undumpable.release' };
