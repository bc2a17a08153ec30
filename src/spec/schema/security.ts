/** What PID 1 may not do, beyond what its namespaces say. */
import * as v from 'valibot';
import { flag, object } from './values.js';

export const security = object({
  /** The calls a payload is refused (ENV-62). */
  seccomp: v.optional(v.picklist(['default', 'none'], 'must be default or none')),
  /** Containers can be started inside: nothing of /proc is hidden, since a user namespace must see all of it. */
  nesting: v.optional(flag),
});
