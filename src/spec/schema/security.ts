/** What PID 1 may not do, beyond what its namespaces say. */
import * as v from 'valibot';
import { CAPABILITIES, DROPPED_BY_DEFAULT } from '../capabilities.js';
import { flag, object } from './values.js';

export const security = object({
  /** The calls a payload is refused (ENV-62). */
  seccomp: v.optional(v.picklist(['default', 'none'], 'must be default or none')),
  /** `auto`: a profile of our own where the host has AppArmor; or the name of one that is loaded (ENV-39). */
  apparmor: v.optional(
    v.pipe(
      v.string('must be auto, none or the name of a profile'),
      v.regex(/^[A-Za-z0-9][A-Za-z0-9_.:/+-]{0,127}$/, 'must be auto, none or the name of a profile'),
    ),
  ),
  /** Containers can be started inside: nothing of /proc is hidden, since a user namespace must see all of it. */
  nesting: v.optional(flag),
});

const capability = v.picklist(CAPABILITIES, 'must be a capability, without cap_ before it: sys_admin');
const keepable = v.picklist(
  DROPPED_BY_DEFAULT,
  `must be one of those that are dropped by default: ${DROPPED_BY_DEFAULT.join(', ')}`,
);

export const capabilities = object({
  /** Left to the payload although they are dropped by default. Not a list of all it has. */
  keep: v.optional(v.array(keepable, 'must be a list of capabilities')),
  /** Taken from it besides. */
  drop: v.optional(v.array(capability, 'must be a list of capabilities')),
});
