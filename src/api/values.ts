/** Kinds of value in queries, where everything is text. */
import * as v from 'valibot';
import { text } from '../spec/schema/values.js';

const MOST = Number.MAX_SAFE_INTEGER;

export function query<T extends v.ObjectEntries>(entries: T) {
  return v.strictObject(entries, issue => (issue.expected === 'never' ? 'is not a known parameter' : 'is missing'));
}

export const number = v.pipe(
  text,
  v.regex(/^\d{1,16}$/, 'must be a whole number'),
  v.transform(Number),
  v.maxValue(MOST, `must be at most ${MOST}`),
);

export const yesNo = v.pipe(
  v.picklist(['true', 'false'], 'must be true or false'),
  v.transform(value => value === 'true'),
);

/** `a,b` */
export const words = v.pipe(
  text,
  v.regex(/^[A-Za-z0-9-]+(,[A-Za-z0-9-]+)*$/, 'must be words with commas between them'),
  v.transform(value => value.split(',')),
);
