/** Errors of an archive; they name the member, whose name is a stranger's. */
import { CaissonError, type ErrorCode } from '../../spec/errors.js';
import { type Name, shown } from '../../syscalls/tree.js';

/** A name as it may be printed to a terminal. */
export function printable(name: Name): string {
  return JSON.stringify(shown(name)).replaceAll(
    /[\u007f-\u009f]/g,
    character => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

export function refuse(code: ErrorCode, message: string, hint: string, cause?: unknown): never {
  throw new CaissonError(code, message, { field: 'rootfs.archive', hint, cause });
}

export function invalid(message: string, cause?: unknown): never {
  refuse('ARCHIVE_INVALID', message, 'make the archive again; tar -tvf FILE shows whether tar can read it', cause);
}
