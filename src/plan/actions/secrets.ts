/** Secrets of the payload. Done by a worker thread; no value is ever printed (explain.ts). */
import type { Register } from './register.js';

export type SecretAction =
  /** A detached file system that is never swapped out, filled with one file a secret, then read-only for good. */
  {
    readonly op: 'credentials.mount';
    /** Base64 by name. */
    readonly secrets: Readonly<Record<string, string>>;
    readonly uid: number;
    readonly gid: number;
    readonly save: Register;
  };
