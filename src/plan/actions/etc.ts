/**
 * Files of the host's that the container's /etc follows. Done by a worker thread in the tree by its descriptor, with the
 * rights of the container's own root. What the tree does not let be done is told by a notice, and is no error.
 */
import type { Register } from './register.js';

export type EtcAction =
  | {
      readonly op: 'localtime.follow';
      readonly root: Register;
      /** The host's /etc/localtime. */
      readonly source: string;
      readonly how: 'symlink' | 'copy';
      /** Host id that the file is given to. */
      readonly owner: number;
    }
  | {
      readonly op: 'resolv-conf.write';
      readonly root: Register;
      readonly source: string;
      /** `copy` leaves a symlink in the tree as it is, `replace` does not. */
      readonly how: 'copy' | 'replace';
      readonly owner: number;
    }
  | { readonly op: 'resolv-conf.delete'; readonly root: Register; readonly owner: number }
  /** A read-only detached copy of the file's mount; nothing is saved where there is no place to attach it. */
  | {
      readonly op: 'resolv-conf.bind';
      readonly root: Register;
      readonly source: string;
      readonly owner: number;
      readonly attributes: readonly string[];
      readonly save: Register;
    };
