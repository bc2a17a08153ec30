import { CaissonError, type ErrorCode } from '../../../spec/errors.js';

/** Throws what is wrong with a root file system. */
export function refuse(code: ErrorCode, message: string, hint: string, cause?: unknown): never {
  throw new CaissonError(code, message, { field: 'rootfs', hint, cause });
}
