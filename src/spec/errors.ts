/**
 * The one error class of the project. Every error that leaves Caisson carries a stable `code`, says what was
 * attempted, and, where we know it, what to do about it. It survives a trip between threads or over a wire by
 * `toJSON` and `CaissonError.from`: own fields of a thrown error are lost in a structured clone.
 */

/** The failing step of a plan: its id, phase, human label and symbolic operands. */
export interface StepRef {
  readonly id: string;
  readonly phase: string;
  readonly label: string;
  readonly executor: 'host' | 'init';
  readonly operands: string;
}

export interface ErrorDetails {
  /** The field of a spec, option or file that is wrong, as a path: `rootfs.path`. */
  readonly field?: string | undefined;
  readonly step?: StepRef | undefined;
  /** Symbolic errno: `ENOENT`. */
  readonly errno?: string | undefined;
  /** What a person can do about it. */
  readonly hint?: string | undefined;
  readonly cause?: unknown;
  /** Errors met while cleaning up after this one. */
  readonly cleanupErrors?: readonly ErrorJSON[] | undefined;
}

export interface ErrorJSON {
  code: string;
  message: string;
  field?: string;
  step?: StepRef;
  errno?: string;
  hint?: string;
  cause?: string;
  cleanupErrors?: readonly ErrorJSON[];
}

/** Stable error codes; a code is never renamed, and its text in docs/errors.md says how to mend it. */
export const ERROR_CODES = [
  'SPEC_INVALID',
  'STATE_INVALID',
  'STATE_LOCKED',
  'HOST_UNSUPPORTED',
  'UNSUPPORTED',
  'CONTAINER_EXISTS',
  'CONTAINER_NOT_FOUND',
  'GROUP_EXISTS',
  'GROUP_NOT_FOUND',
  'INVALID_TRANSITION',
  'BUSY',
  'CANCELLED',
  'TIMEOUT',
  'STEP_FAILED',
  'EXEC_FAILED',
  'OUTPUT_TOO_LONG',
  'CHILD_DIED',
  'CLEANUP_FAILED',
  'UNKILLABLE',
  'RESTART_LIMIT',
  'CLOSED',
  'ID_RANGE_EXHAUSTED',
  'SHIFT_UNSUPPORTED',
  'MOUNT_TARGET_REFUSED',
  'CGROUP_NS_REQUIRED',
  'DEVICE_POLICY_REFUSED',
  'SECCOMP_UNAVAILABLE',
  'TEMPLATE_UNKNOWN',
  'TEMPLATE_FAILED',
  'ARCHIVE_MISSING',
  'ARCHIVE_INVALID',
  'ARCHIVE_UNSUPPORTED',
  'ARCHIVE_TOO_LARGE',
  'ARCHIVE_FAILED',
  'ROOTFS_MISSING',
  'ROOTFS_NOT_DIR',
  'ROOTFS_NOEXEC',
  'ROOTFS_DEV_MISSING',
  'ROOTFS_DEV_NOT_DIR',
  'ROOTFS_PROC_MISSING',
  'ROOTFS_PROC_NOT_DIR',
  'ROOTFS_SYS_MISSING',
  'ROOTFS_SYS_NOT_DIR',
  'ROOTFS_INIT_MISSING',
  'ROOTFS_INIT_NOT_FILE',
  'ROOTFS_INIT_NOT_EXECUTABLE',
  'ROOTFS_INIT_DANGLING',
  'ROOTFS_INIT_INTERPRETER',
  'ROOTFS_INIT_ARCH',
  'ROOTFS_SHARES_HOST_SUPERBLOCK',
  'ROOTFS_OVERMOUNTED',
  'ROOTFS_IMAGE_MISSING',
  'ROOTFS_IMAGE_NOT_FILE',
  'ROOTFS_IMAGE_TYPE',
  'ROOTFS_IMAGE_UNSUPPORTED',
  'ROOTFS_IMAGE_REFUSED',
  'ROOTFS_IMAGE_READ_ONLY',
  'ROOTFS_IMAGE_IN_USE',
  'ROOTFS_IMAGE_NO_LOOP',
  'JOURNAL_REFUSED',
  'PAYLOAD_FAILED',
  'REQUEST_INVALID',
  'REQUEST_TOO_LARGE',
  'UNAUTHORIZED',
  'FORBIDDEN',
  'NOT_FOUND',
  'METHOD_NOT_ALLOWED',
  'IDEMPOTENCY_CONFLICT',
  'EVENTS_GONE',
  'SOCKET_IN_USE',
  'DAEMON_UNREACHABLE',
  'INTERNAL',
] as const;
export type ErrorCode = (typeof ERROR_CODES)[number];

const BRAND = Symbol.for('caisson.error');

export class CaissonError extends Error {
  readonly code: ErrorCode;
  readonly field: string | undefined;
  readonly step: StepRef | undefined;
  readonly errno: string | undefined;
  readonly hint: string | undefined;
  readonly cleanupErrors: readonly ErrorJSON[] | undefined;

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.name = 'CaissonError';
    this.code = code;
    this.field = details.field;
    this.step = details.step;
    this.errno = details.errno;
    this.hint = details.hint;
    this.cleanupErrors = details.cleanupErrors;
    Object.defineProperty(this, BRAND, { value: true });
  }

  /** True for a CaissonError of any copy of this package: `instanceof` fails when two copies are loaded. */
  static is(value: unknown): value is CaissonError {
    return typeof value === 'object' && value !== null && (value as Record<symbol, unknown>)[BRAND] === true;
  }

  toJSON(): ErrorJSON {
    const out: ErrorJSON = { code: this.code, message: this.message };
    if (this.field !== undefined) out.field = this.field;
    if (this.step !== undefined) out.step = this.step;
    if (this.errno !== undefined) out.errno = this.errno;
    if (this.hint !== undefined) out.hint = this.hint;
    if (this.cause !== undefined) out.cause = String(this.cause);
    if (this.cleanupErrors !== undefined) out.cleanupErrors = this.cleanupErrors;
    return out;
  }

  static from(json: ErrorJSON): CaissonError {
    const { code, message, ...details } = json;
    const known = (ERROR_CODES as readonly string[]).includes(code) ? (code as ErrorCode) : 'INTERNAL';
    return new CaissonError(known, message, details);
  }
}

/** Any thrown value as a CaissonError; one that already is comes back as it was. */
export function asCaissonError(error: unknown, code: ErrorCode = 'INTERNAL'): CaissonError {
  if (CaissonError.is(error)) return error;
  return new CaissonError(code, error instanceof Error ? error.message : String(error), { cause: error });
}
