/** File systems of the container, made detached and filled through descriptors: no path of the container is walked. Done by a worker thread, in the host's namespaces. */
import type { Register, Text } from './register.js';

export type TreeAction =
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
  /** A node of no use to anybody, or an empty file: devices get the number 0:0. */
  | {
      readonly op: 'tree.special';
      readonly dir: Register;
      readonly path: string;
      readonly kind: 'S_IFREG' | 'S_IFIFO' | 'S_IFSOCK' | 'S_IFCHR' | 'S_IFBLK';
      readonly mode: number;
      readonly uid: number;
      readonly gid: number;
    }
  | {
      readonly op: 'tree.write';
      readonly dir: Register;
      readonly path: string;
      readonly text: Text;
      readonly newline?: boolean;
      readonly mode: number;
      readonly uid: number;
      readonly gid: number;
    }
  /** A file with a new random uuid (RFC 9562, version 4) and a newline. */
  | {
      readonly op: 'tree.uuid';
      readonly dir: Register;
      readonly path: string;
      readonly mode: number;
      readonly uid: number;
      readonly gid: number;
    }
  | {
      readonly op: 'tree.open';
      readonly dir: Register;
      readonly path: string;
      readonly flags: readonly string[];
      readonly save: Register;
    }
  /** A datagram socket bound there, which tells who sends. */
  | {
      readonly op: 'datagram.bind';
      readonly dir: Register;
      readonly name: string;
      readonly mode: number;
      readonly uid: number;
      readonly gid: number;
      /** `refused`, where the kernel can: nobody who listens there has use for descriptors. */
      readonly descriptors: 'taken' | 'refused';
      readonly save: Register;
    }
  /** A detached copy of a path with everything mounted below it, severed from the host's, with flags of its own. */
  | {
      readonly op: 'bind.tree';
      readonly path: string;
      readonly attributes: readonly string[];
      readonly save: Register;
    }
  /** The same of something that the supervisor holds a descriptor of, by the name it gave it: no path is walked. */
  | {
      readonly op: 'bind.held';
      readonly name: string;
      readonly attributes: readonly string[];
      readonly save: Register;
    }
  /** A detached copy of the first of `paths` that exists. */
  | { readonly op: 'bind.first'; readonly paths: readonly string[]; readonly save: Register };
