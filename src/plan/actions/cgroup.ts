/** Cgroups and the device policy on them. Done by a worker thread, in the host's namespaces. */

import type { Register } from './register.js';

export type CgroupAction =
  | { readonly op: 'cpuset.inherit'; readonly path: string }
  | { readonly op: 'cgroup.remove'; readonly path: string; readonly timeoutMs: number }
  | { readonly op: 'policy.bpf'; readonly cgroup: string; readonly program: readonly number[] }
  /** Reclaims what is above it, and is refused where that is not possible: nothing is killed. */
  | {
      readonly op: 'memory.limit';
      readonly group: string;
      readonly path: string;
      readonly version: 1 | 2;
      readonly bytes: number;
    }
  /** An eventfd that tells when a v1 group is out of memory. */
  | { readonly op: 'oom.event'; readonly group: string; readonly save: Register }
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
