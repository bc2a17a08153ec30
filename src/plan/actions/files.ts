/** Files, directories and descriptors on the host. Done by a worker thread, in the host's namespaces. */
import type { Register } from './register.js';

export type FileAction =
  | { readonly op: 'mkdir'; readonly path: string; readonly mode: number }
  | { readonly op: 'mkdirs'; readonly path: string; readonly mode: number }
  | { readonly op: 'rmdir'; readonly path: string }
  | { readonly op: 'rmtree'; readonly path: string }
  | { readonly op: 'open'; readonly path: string; readonly flags: readonly string[]; readonly save: Register }
  | { readonly op: 'close'; readonly registers: readonly Register[] }
  | { readonly op: 'write'; readonly path: string; readonly text: string }
  | { readonly op: 'write.lines'; readonly path: string; readonly lines: readonly string[] }
  | { readonly op: 'chown'; readonly path: string; readonly uid: number; readonly gid: number }
  | { readonly op: 'raise'; readonly registers: readonly Register[]; readonly from: number }
  | { readonly op: 'unlink'; readonly path: string }
  /** Makes a directory a mount of its own that shares what is mounted below it. */
  | { readonly op: 'mount.share'; readonly path: string }
  /** Undoes that where the directory is empty. */
  | { readonly op: 'mount.unshare'; readonly path: string };
