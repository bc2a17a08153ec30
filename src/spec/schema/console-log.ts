/** What is kept of a console on disk. */
import * as v from 'valibot';
import { object, whole } from './values.js';

const limits = object({
  /** Bytes of one file; what the pipe on the way there holds fits in the smallest. */
  maxBytes: v.optional(whole(64 * 1024, 1024 * 1024 * 1024)),
  files: v.optional(whole(1, 1000)),
});

/** `false`: nothing. */
export const consoleLog = v.lazy(input => (input === false ? v.literal(false) : limits));
