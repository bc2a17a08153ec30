/** Mounting a file that holds a file system. Done by a worker thread, in the host's namespaces. */
import type { Register, Text } from './register.js';

export type ImageAction =
  /** Opens and locks the file, and finds out what it holds. */
  | {
      readonly op: 'image.open';
      readonly path: string;
      /** By this container, and then by nobody else. */
      readonly writable: boolean;
      readonly save: { readonly file: Register; readonly type: Register };
    }
  /** A loop device on the file: the kernel frees it, and with it the lock, when nothing uses it any more. */
  | {
      readonly op: 'image.attach';
      readonly file: Register;
      readonly path: string;
      readonly writable: boolean;
      /** Written on the device: whose it is. */
      readonly label: string;
      readonly save: { readonly device: Register; readonly name: Register };
    }
  | {
      readonly op: 'image.mount';
      readonly device: Text;
      readonly type: Text;
      readonly path: string;
      readonly writable: boolean;
      readonly attributes: readonly string[];
      readonly save: Register;
    }
  /** Waits until the kernel has written everything back to the file. */
  | { readonly op: 'image.released'; readonly label: string; readonly timeoutMs: number };
