/** The journal of a container on the host. Done by a worker thread. */
import type { Register } from './register.js';

export type JournalAction =
  | {
      readonly op: 'journal.link';
      readonly root: Register;
      /** `guest`: the host gets a symlink. `host`: a directory of the host is mounted inside. `auto`: what is there already. */
      readonly mode: 'guest' | 'host' | 'auto';
      /** What cannot be linked is told by a notice, and is no error. */
      readonly optional: boolean;
      /** The host's directory of journals. */
      readonly directory: string;
      /** The tree as a directory of the host's; null where it is none. */
      readonly rootfs: string | null;
      /** The uuid that PID 1 is told, for an image without a machine id. */
      readonly fallback: string | null;
      readonly hostUuid: string | null;
      /** Host id of the container's root. */
      readonly owner: number;
      readonly attributes: readonly string[];
      /** Where it is written down what was made. */
      readonly record: string;
      /** `mount` and `target` are filled where something is to be mounted, `made` where something was made on the host. */
      readonly save: { readonly mount: Register; readonly target: Register; readonly made: Register };
    }
  /** Takes back what the record says; nothing while `made`, if it is given, is empty. */
  | { readonly op: 'journal.unlink'; readonly record: string; readonly made: Register | null };
