/** Errors on the wire: problem details (RFC 9457) with the code, and all else that an error of ours tells. */
import { asCaissonError, CaissonError, type ErrorCode, type ErrorJSON } from '../spec/errors.js';

export const PROBLEM_TYPE = 'application/problem+json';

export interface Problem extends Omit<ErrorJSON, 'message'> {
  /** `urn:caisson:error:<code>`: docs/errors.md says how to mend it. */
  readonly type: string;
  readonly title: string;
  readonly status: number;
  /** The error's message. */
  readonly detail: string;
}

/** What is not here is the caller's fault or the payload's (422) when it speaks of a root file system or an archive. */
const STATUS: Readonly<Partial<Record<ErrorCode, number>>> = {
  SPEC_INVALID: 400,
  REQUEST_INVALID: 400,
  TEMPLATE_UNKNOWN: 400,
  UNAUTHORIZED: 401,
  FORBIDDEN: 403,
  CONTAINER_NOT_FOUND: 404,
  NOT_FOUND: 404,
  METHOD_NOT_ALLOWED: 405,
  CONTAINER_EXISTS: 409,
  INVALID_TRANSITION: 409,
  BUSY: 409,
  CANCELLED: 409,
  IDEMPOTENCY_CONFLICT: 409,
  EVENTS_GONE: 410,
  REQUEST_TOO_LARGE: 413,
  CLOSED: 503,
  ID_RANGE_EXHAUSTED: 507,
  TIMEOUT: 504,
  STATE_INVALID: 500,
  STEP_FAILED: 500,
  CHILD_DIED: 500,
  CLEANUP_FAILED: 500,
  UNKILLABLE: 500,
  INTERNAL: 500,
};
const UNPROCESSABLE = 422;

export function statusOf(code: ErrorCode): number {
  return STATUS[code] ?? UNPROCESSABLE;
}

/** SPEC_INVALID: Spec invalid. */
function titleOf(code: ErrorCode): string {
  const words = code.toLowerCase().replaceAll('_', ' ');
  return words.charAt(0).toUpperCase() + words.slice(1);
}

export function problemOf(error: unknown): Problem {
  const own = asCaissonError(error);
  const { message, code, ...details } = own.toJSON();
  return {
    type: `urn:caisson:error:${code}`,
    title: titleOf(own.code),
    status: statusOf(own.code),
    detail: message,
    code,
    ...details,
  };
}

export function problemResponse(error: unknown, headers: Readonly<Record<string, string>> = {}): Response {
  const problem = problemOf(error);
  // RFC 9110 §11.6.1 demands the challenge.
  const challenge: Record<string, string> =
    problem.status === 401 ? { 'www-authenticate': 'Bearer realm="caisson"' } : {};
  return new Response(JSON.stringify(problem), {
    status: problem.status,
    headers: { 'content-type': PROBLEM_TYPE, 'cache-control': 'no-store', ...challenge, ...headers },
  });
}

/** The error that a problem was made from, on the other side. */
export function errorOf(problem: Partial<Problem>, status: number): CaissonError {
  const { type: _type, title: _title, status: _status, detail, code, ...details } = problem;
  return CaissonError.from({
    ...details,
    code: code ?? 'INTERNAL',
    message: detail ?? `the daemon answered ${status}`,
  });
}
