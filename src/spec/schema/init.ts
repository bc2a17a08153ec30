/** What PID 1 is given: variables, limits, signals, ids. */
import * as v from 'valibot';
import { RLIMIT_NAMES, type RlimitName } from '../rlimits.js';
import { signalNumber } from '../signals.js';
import { sysctlFault } from '../sysctls.js';
import { isRecord, object, whole } from './values.js';

const LAST_ID = 0xffff_fffe;

const VARIABLE = /^[A-Za-z_][A-Za-z0-9_]*$/;

/** What is wrong with a variable of PID 1's environment. */
function variableFault(name: string, value: unknown): string | undefined {
  if (!VARIABLE.test(name)) return 'must be a variable name';
  if (name === 'container') return 'must not be set here: use type';
  if (name === 'container_ttys') return 'must not be set here: use ttys';
  if (name === 'CREDENTIALS_DIRECTORY') return 'must not be set here: use credentials';
  if (typeof value !== 'string') return 'must be a string';
  return value.includes('\0') ? 'must not contain a NUL byte' : undefined;
}

/** Not v.record: that drops keys called constructor or prototype without a word. */
function dictionary<T>(fault: (key: string, value: unknown) => string | undefined) {
  return v.pipe(
    v.custom<Record<string, T>>(isRecord, 'must be an object'),
    v.rawCheck(({ dataset, addIssue }) => {
      if (!dataset.typed) return;
      for (const [key, value] of Object.entries(dataset.value)) {
        const message = fault(key, value);
        if (message === undefined) continue;
        addIssue({ message, path: [{ type: 'object', origin: 'value', input: dataset.value, key, value }] });
        return;
      }
    }),
  );
}

export const environment = dictionary<string>(variableFault);
export const sysctls = dictionary<string | number>(sysctlFault);

export const signal = v.pipe(
  v.union([v.string(), v.number()], 'must be a signal name or number'),
  v.check(name => signalNumber(name) !== undefined, 'must be a signal: a name, SIGRTMIN+n, or 1 to 64'),
);
export const idMap = object({
  /** First host id; ids 0 … count - 1 inside are this one and the following ones. */
  first: whole(1, LAST_ID),
  count: whole(1, LAST_ID),
});

const RLIMIT_RULE = 'must be a whole number of at least 0, or unlimited';
const rlimitValue = v.pipe(
  v.union([v.literal('unlimited'), v.number()], RLIMIT_RULE),
  v.check(value => value === 'unlimited' || (Number.isSafeInteger(value) && value >= 0), RLIMIT_RULE),
);
const rlimit = v.pipe(
  object({ soft: rlimitValue, hard: rlimitValue }),
  v.check(
    ({ soft, hard }) => hard === 'unlimited' || (soft !== 'unlimited' && soft <= hard),
    'must not have a soft limit above the hard one',
  ),
);
export const rlimits = object(
  Object.fromEntries(RLIMIT_NAMES.map(name => [name, v.optional(rlimit)])) as Record<
    RlimitName,
    v.OptionalSchema<typeof rlimit, undefined>
  >,
);
