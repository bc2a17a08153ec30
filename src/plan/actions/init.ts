/** Done by the container's first process before its exec: no stack, no libc, raw system calls only. */
import type { RlimitName } from '../../spec/rlimits.js';
import type { Register, Text } from './register.js';

export type InitAction =
  | { readonly op: 'write'; readonly fd: Register; readonly text: Text }
  /** By the child's own view: after its pivot. The file must be there. */
  | { readonly op: 'file.write'; readonly path: string; readonly text: string }
  | { readonly op: 'unshare'; readonly flags: readonly string[] }
  | {
      readonly op: 'mount';
      readonly source: string | null;
      readonly target: string;
      readonly fstype: string | null;
      readonly flags: readonly string[];
      readonly data?: string;
    }
  | { readonly op: 'move_mount'; readonly mount: Register; readonly target: Text }
  /** Fails with EXDEV when something is mounted over the root that the process sees. */
  | { readonly op: 'root.check' }
  | { readonly op: 'umount'; readonly target: string; readonly flags: readonly string[] }
  | { readonly op: 'fchdir'; readonly fd: Register }
  | { readonly op: 'chdir'; readonly path: string }
  | { readonly op: 'pivot_root'; readonly newRoot: string; readonly putOld: string }
  | { readonly op: 'mkdir'; readonly path: string; readonly mode: number }
  | { readonly op: 'symlink'; readonly path: string; readonly target: string }
  | { readonly op: 'link.up'; readonly name: string }
  | { readonly op: 'sethostname'; readonly name: string }
  | { readonly op: 'setdomainname'; readonly name: string }
  | { readonly op: 'setsid' }
  | { readonly op: 'dup'; readonly fd: Register; readonly to: number }
  | { readonly op: 'controlling_tty'; readonly fd: Register }
  | { readonly op: 'capabilities'; readonly keep: readonly string[]; readonly drop: readonly string[] }
  | { readonly op: 'session_keyring' }
  /** A classic BPF program that judges every system call of the process and its descendants from here on. */
  | { readonly op: 'seccomp'; readonly program: readonly number[] }
  | { readonly op: 'identity'; readonly uid: number; readonly gid: number }
  | { readonly op: 'umask'; readonly mask: number }
  | { readonly op: 'default_signals'; readonly signals: readonly string[] }
  | { readonly op: 'unblock_signals' }
  | { readonly op: 'close_on_exec'; readonly from: number }
  /** Descriptor 0. */
  | { readonly op: 'controlling_stdin' }
  | { readonly op: 'close_from'; readonly from: number }
  /** Of the process that calls it; null is unlimited. */
  | {
      readonly op: 'limits';
      readonly limits: Readonly<Partial<Record<RlimitName, readonly [number | null, number | null]>>>;
    }
  /** Enters namespaces of a process: its pid namespace is that of the children made from then on. */
  | { readonly op: 'setns'; readonly fd: Register; readonly namespaces: readonly string[] }
  /** Goes on as a child, whose parent is our parent; the process that calls it ends. `child` counts from 0. */
  | { readonly op: 'fork'; readonly child: number; readonly cgroup: Register | null }
  | { readonly op: 'user'; readonly uid: number; readonly gid: number; readonly groups: readonly number[] }
  /** Reads the start of a file, by a path below the root directory, into the memory that is shared with us. */
  | { readonly op: 'read'; readonly path: string }
  | { readonly op: 'exit' }
  /** Nobody inside may look into this process. */
  | { readonly op: 'undumpable' }
  | {
      readonly op: 'execve';
      readonly path: Text;
      /** Tried in turn when there is no program at `path`. */
      readonly others?: readonly string[];
      readonly argv: readonly Text[];
      readonly env: readonly Variable[];
    };

/** `NAME=value`, or the name of a variable whose value is known when the start runs. */
export type Variable = string | { readonly name: string; readonly from: Register };

/** The descriptor registers an init action uses: these must be handed to the child. */
export function usedDescriptors(action: InitAction): Register[] {
  if (action.op === 'move_mount') return [action.mount];
  if ('fd' in action) return [action.fd];
  if (action.op === 'fork') return action.cgroup === null ? [] : [action.cgroup];
  return [];
}
