/**
 * Changes in the mount namespace of a running container. Done by a child that a worker thread sends there and, when a file
 * server on the way does not answer, gives up.
 */
import type { Register } from './register.js';

export type LiveAction =
  /** A detached copy of the mount at `path` of the host, where a file server may hang, too. */
  | { readonly op: 'live.source'; readonly path: string; readonly save: Register }
  /** A detached mount gets flags, and is severed from the mount it is a copy of. */
  | { readonly op: 'mount.attributes'; readonly mount: Register; readonly attributes: readonly string[] }
  /** Opens the user namespace of a process that may end meanwhile. */
  | { readonly op: 'userns.of'; readonly pidfd: Register; readonly pid: Register; readonly save: Register }
  | {
      readonly op: 'live.mount';
      readonly pidfd: Register;
      readonly mount: Register;
      /** Path inside; no part of it may be a symlink (HST-35). What is missing of it is made. */
      readonly target: string;
      /** Host id that owns what is made. */
      readonly owner: number;
    }
  /** What is mounted on `target`, a directory, goes; the detached mount takes its place, if there is one. */
  | {
      readonly op: 'live.replace';
      readonly pidfd: Register;
      readonly mount: Register | null;
      readonly target: string;
    }
  /** A socket in place of one at /dev/`name` that nobody listens at: EADDRINUSE where somebody does. */
  | {
      readonly op: 'live.datagram';
      readonly pidfd: Register;
      readonly name: string;
      readonly mode: number;
      readonly uid: number;
      readonly gid: number;
      readonly descriptors: 'refused';
      readonly save: Register;
    }
  | { readonly op: 'live.umount'; readonly pidfd: Register; readonly target: string }
  /**
   * Takes away what is mounted on `targets` by a file server that has died, and attaches the mounts instead, also where
   * nothing is mounted. What is missing inside, or is a mount of somebody else, is left alone.
   */
  | {
      readonly op: 'live.revive';
      readonly pidfd: Register;
      /** A register that may be empty, and the path inside. */
      readonly mounts: readonly { readonly mount: Register; readonly target: string }[];
      readonly timeoutMs: number;
    };
