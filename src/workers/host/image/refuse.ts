import { CaissonError, type ErrorCode } from '../../../spec/errors.js';

/** Throws what is wrong with an image. */
export function refuseImage(code: ErrorCode, message: string, hint: string, cause?: unknown): never {
  throw new CaissonError(code, message, { field: 'rootfs.image', hint, cause });
}
