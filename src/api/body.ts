/** What a request says, read within limits and checked. */
import * as v from 'valibot';
import { CaissonError } from '../spec/errors.js';
import { isRecord } from '../spec/schema/values.js';

/** The largest that is asked for are credentials; the rest are some hundred bytes. */
export const BODY_LIMIT = 4 * 1024 * 1024;
/** What recurses over a value must not run out of stack. */
const DEPTH_LIMIT = 32;

function refuse(message: string, field?: string): never {
  throw new CaissonError('REQUEST_INVALID', message, { field });
}

function tooLarge(): never {
  throw new CaissonError('REQUEST_TOO_LARGE', `the body is longer than ${BODY_LIMIT} bytes`);
}

export async function readText(request: Request): Promise<string> {
  if (Number(request.headers.get('content-length') ?? 0) > BODY_LIMIT) tooLarge();
  if (request.body === null) return '';
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of request.body as unknown as AsyncIterable<Uint8Array>) {
    bytes += chunk.length;
    if (bytes > BODY_LIMIT) tooLarge();
    chunks.push(chunk);
  }
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(Buffer.concat(chunks));
  } catch {
    return refuse('the body is not UTF-8');
  }
}

function isDeeper(value: unknown, depth: number): boolean {
  if (typeof value !== 'object' || value === null) return false;
  return depth === 0 || Object.values(value).some(inner => isDeeper(inner, depth - 1));
}

/** @param text without one, the empty object. */
export function parseJson(text: string, type: string | null): unknown {
  if (text === '') return {};
  // A form of a web page cannot have this type: another guard against requests that a browser is tricked into.
  if (!/^application\/([\w.-]+\+)?json\s*(;|$)/i.test(type ?? ''))
    refuse('the body must be JSON, and its content type application/json', 'content-type');
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    refuse(`the body is no JSON: ${(error as Error).message}`);
  }
  if (!isRecord(value)) refuse('the body must be an object');
  if (isDeeper(value, DEPTH_LIMIT)) refuse(`the body is nested more than ${DEPTH_LIMIT} deep`);
  return value;
}

/** @throws CaissonError REQUEST_INVALID that names the field. */
export function check<S extends v.GenericSchema<unknown, unknown>>(
  schema: S,
  value: unknown,
  what: string,
): v.InferOutput<S> {
  const result = v.safeParse(schema, value, { abortEarly: true });
  if (result.success) return result.output;
  const [issue] = result.issues;
  const field = v.getDotPath(issue) ?? '';
  return refuse(`${field || what}: ${issue.message}`, field);
}

/** One value a key: what is given twice is no longer clear. */
export function queryOf(url: string): Record<string, string> {
  const query: Record<string, string> = Object.create(null);
  const at = url.indexOf('?');
  for (const [key, value] of new URLSearchParams(at === -1 ? '' : url.slice(at))) {
    if (key in query) refuse(`${key}: is given twice`, key);
    query[key] = value;
  }
  return { ...query };
}
