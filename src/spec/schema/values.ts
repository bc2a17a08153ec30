/** The kinds of value that a spec is made of; every message ends a sentence that begins with the field's name. */
import * as v from 'valibot';

/** Longest path the kernel takes, less its NUL (PATH_MAX). */
const MAX_PATH = 4095;

/** An object of a literal or of JSON: valibot would take an array for an object without keys. */
export function isRecord(value: unknown): value is Record<string, unknown> {
  return Object.prototype.toString.call(value) === '[object Object]';
}

export function object<T extends v.ObjectEntries>(entries: T) {
  const schema = v.strictObject(entries, issue => (issue.expected === 'never' ? 'is not a known key' : 'is missing'));
  return v.pipe(v.custom<v.InferInput<typeof schema>>(isRecord, 'must be an object'), schema);
}

export function whole(min: number, max = Number.MAX_SAFE_INTEGER) {
  return v.pipe(
    v.number('must be a number'),
    v.safeInteger('must be a whole number'),
    v.minValue(min, `must be at least ${min}`),
    v.maxValue(max, `must be at most ${max}`),
  );
}

export const text = v.string('must be a string');
export const flag = v.boolean('must be true or false');
export const noNul = v.check((value: string) => !value.includes('\0'), 'must not contain a NUL byte');
export const absolutePath = v.pipe(
  text,
  noNul,
  v.check(path => path.startsWith('/'), 'must be an absolute path'),
  v.maxBytes(MAX_PATH, `must be at most ${MAX_PATH} bytes long (PATH_MAX)`),
);
export const argument = v.pipe(text, noNul);
