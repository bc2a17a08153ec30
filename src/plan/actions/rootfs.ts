/** Making the root file system's mount. Done by a worker thread, in the host's namespaces. */
import type { InitName, InitSigns } from '../../spec/inits.js';
import type { Register } from './register.js';

/** The host ids that the files of a tree are given to, and where that is remembered. */
export interface ShiftTarget {
  readonly record: string;
  readonly first: number;
  readonly count: number;
}

export type RootfsAction =
  | { readonly op: 'rootfs.open'; readonly path: string; readonly save: Register }
  | {
      readonly op: 'rootfs.check';
      readonly dir: Register;
      readonly path: string;
      readonly init: string;
      readonly createMissing: boolean;
      /** Host id that the tree must belong to, where owners cannot be mapped. */
      readonly owner: number | null;
      /** Host id that is given what is made. */
      readonly giveTo: number | null;
    }
  /** The directory of an overlay's upper layer; `save` is filled when it was there before. */
  | { readonly op: 'layer.make'; readonly path: string; readonly save: Register }
  | { readonly op: 'rootfs.clone'; readonly dir: Register; readonly save: Register }
  | {
      readonly op: 'rootfs.overlay';
      readonly lower: Register;
      readonly layer: string;
      readonly owner: number;
      /** The lower mount has to be attached somewhere while the overlay is made. */
      readonly attached: boolean;
      readonly attributes?: readonly string[];
      readonly save: Register;
    }
  | { readonly op: 'userns.open'; readonly pid: Register; readonly save: Register }
  | {
      readonly op: 'mount.idmap';
      readonly mount: Register;
      readonly userns: Register;
      /** What is done where the file system has no id-mapped mounts, or the tree has been shifted before. */
      readonly otherwise?: ShiftTarget;
    }
  | ({ readonly op: 'rootfs.shift'; readonly dir: Register } & ShiftTarget)
  | ({ readonly op: 'rootfs.unshift'; readonly path: string } & ShiftTarget)
  /** Which init the program `init` of the tree is, as registers that are filled where it has that property. */
  | {
      readonly op: 'init.detect';
      readonly root: Register;
      readonly init: string;
      /** `auto`: by what the tree holds. */
      readonly profile: InitName | 'auto';
      readonly save: { readonly [property in keyof InitSigns]: Register };
    }
  /** The uuid that the tree's /etc/machine-id stands for, or `fallback` where it holds none. */
  | {
      readonly op: 'machine-id.read';
      readonly root: Register;
      readonly fallback: string;
      /** The host's own. */
      readonly host: string | null;
      readonly save: Register;
    }
  /** The path of the first of the usual programs that the tree has. */
  | { readonly op: 'init.find'; readonly root: Register; readonly save: Register };
