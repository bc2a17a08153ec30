/**
 * What a user may say about a container: one strict schema. Unknown keys are errors that name the field, since a
 * misspelt limit that is silently ignored is worse than none.
 */
import * as v from 'valibot';
import { CaissonError } from './errors.js';
import { isContainerName, NAME_RULE } from './names.js';
import { RLIMIT_NAMES, type RlimitName } from './rlimits.js';
import { signalNumber } from './signals.js';

/** Longest path the kernel takes, less its NUL (PATH_MAX). */
const MAX_PATH = 4095;
const LAST_ID = 0xffff_fffe;

/** An object of a literal or of JSON: valibot would take an array for an object without keys. */
function isRecord(value: unknown): value is Record<string, unknown> {
  return Object.prototype.toString.call(value) === '[object Object]';
}

function object<T extends v.ObjectEntries>(entries: T) {
  const schema = v.strictObject(entries, issue => (issue.expected === 'never' ? 'is not a known key' : 'is missing'));
  return v.pipe(v.custom<v.InferInput<typeof schema>>(isRecord, 'must be an object'), schema);
}

function whole(min: number, max = Number.MAX_SAFE_INTEGER) {
  return v.pipe(
    v.number('must be a number'),
    v.safeInteger('must be a whole number'),
    v.minValue(min, `must be at least ${min}`),
    v.maxValue(max, `must be at most ${max}`),
  );
}

const text = v.string('must be a string');
const flag = v.boolean('must be true or false');
const noNul = v.check((value: string) => !value.includes('\0'), 'must not contain a NUL byte');
const absolutePath = v.pipe(
  text,
  noNul,
  v.check(path => path.startsWith('/'), 'must be an absolute path'),
  v.maxBytes(MAX_PATH, `must be at most ${MAX_PATH} bytes long (PATH_MAX)`),
);
const argument = v.pipe(text, noNul);
const VARIABLE = /^[A-Za-z_][A-Za-z0-9_]*$/;
const signal = v.pipe(
  v.union([v.string(), v.number()], 'must be a signal name or number'),
  v.check(name => signalNumber(name) !== undefined, 'must be a signal: a name, SIGRTMIN+n, or 1 to 64'),
);
const idMap = object({
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
const rlimits = object(
  Object.fromEntries(RLIMIT_NAMES.map(name => [name, v.optional(rlimit)])) as Record<
    RlimitName,
    v.OptionalSchema<typeof rlimit, undefined>
  >,
);

/** What is wrong with a variable of PID 1's environment. */
function variableFault(name: string, value: unknown): string | undefined {
  if (!VARIABLE.test(name)) return 'must be a variable name';
  if (name === 'container') return 'must not be set here: use type';
  if (typeof value !== 'string') return 'must be a string';
  return value.includes('\0') ? 'must not contain a NUL byte' : undefined;
}

// Not v.record: it drops variables called constructor or prototype without a word.
const environment = v.pipe(
  v.custom<Record<string, string>>(isRecord, 'must be an object'),
  v.rawCheck(({ dataset, addIssue }) => {
    if (!dataset.typed) return;
    for (const [key, value] of Object.entries(dataset.value)) {
      const message = variableFault(key, value);
      if (message === undefined) continue;
      addIssue({ message, path: [{ type: 'object', origin: 'value', input: dataset.value, key, value }] });
      return;
    }
  }),
);

const rootfs = object({
  path: absolutePath,
  /** Make missing /dev, /proc, /sys in the rootfs instead of refusing (ENV-03). */
  createMissing: v.optional(flag),
  /** `ephemeral`: changes go to a layer that is thrown away at each stop. */
  overlay: v.optional(v.picklist(['none', 'ephemeral'], 'must be none or ephemeral')),
  /** A privileged container on a plain directory can remount the host's file system read-only (ENV-70): say so. */
  allowSharedSuperblock: v.optional(flag),
});

const neitherRootfsNorPath = v.string('must be an absolute path or an object with a path');
/** Chosen by the kind of value, not by trial: so that an error names the field inside, not the whole. */
const rootfsOrPath = v.lazy(input => {
  if (isRecord(input)) return rootfs;
  return typeof input === 'string' ? absolutePath : neitherRootfsNorPath;
});

export const containerSpecSchema = object({
  name: v.pipe(text, v.check(isContainerName, NAME_RULE)),
  /** A directory holding a root file system, or that directory with options. */
  rootfs: rootfsOrPath,
  /** Program that becomes PID 1, a path inside the container. */
  init: v.optional(absolutePath),
  /** Arguments after the program's own name; none by default (ENV-50). */
  args: v.optional(v.array(argument, 'must be a list of strings')),
  /** Value of the `container` variable (ENV-51). */
  type: v.optional(v.pipe(text, v.regex(/^[a-z0-9-]{1,32}$/, 'must be a short lower-case word'))),
  /** Variables of PID 1 besides `container` (ENV-52). */
  environment: v.optional(environment),
  hostname: v.optional(v.pipe(text, v.regex(/^[A-Za-z0-9]([A-Za-z0-9.-]{0,62}[A-Za-z0-9])?$/, 'must be a host name'))),
  privileged: v.optional(flag),
  idmap: v.optional(idMap),
  devices: v.optional(
    object({
      mknod: v.optional(v.picklist(['any', 'table'], 'must be any or table')),
      /** Size of the /dev tmpfs in bytes (ENV-14). */
      size: v.optional(whole(1)),
    }),
  ),
  sys: v.optional(v.picklist(['ro', 'rw'], 'must be ro or rw')),
  cgroups: v.optional(
    object({
      layout: v.optional(
        v.picklist(['auto', 'unified', 'hybrid', 'legacy'], 'must be auto, unified, hybrid or legacy'),
      ),
    }),
  ),
  limits: v.optional(
    object({
      /** Bytes of memory for the whole container. */
      memory: v.optional(whole(1)),
      /** Processes and threads in the whole container. */
      pids: v.optional(whole(1)),
    }),
  ),
  rlimits: v.optional(rlimits),
  oomScoreAdj: v.optional(whole(-1000, 1000)),
  signals: v.optional(object({ halt: v.optional(signal), reboot: v.optional(signal) })),
  console: v.optional(
    object({
      /** Bytes of console output kept for later readers (ENV-25). */
      ring: v.optional(whole(0, 64 * 1024 * 1024)),
      /**
       * PID 1 has the console as its controlling terminal (ENV-54). An init that lets a shell have it instead needs
       * false: a terminal controls one session only, and ^C would go to PID 1, where it means reboot.
       */
      controlling: v.optional(flag),
      rows: v.optional(whole(1, 65535)),
      cols: v.optional(whole(1, 65535)),
    }),
  ),
});

export type ContainerSpecInput = v.InferInput<typeof containerSpecSchema>;

/** Checks what a user wrote; throws SPEC_INVALID naming the first wrong field and changes nothing. */
export function parseSpecInput(input: unknown): ContainerSpecInput {
  const result = v.safeParse(containerSpecSchema, input, { abortEarly: true });
  if (result.success) return result.output;
  const issue = result.issues[0];
  const field = v.getDotPath(issue) ?? '';
  throw new CaissonError('SPEC_INVALID', `${field || 'the spec'}: ${issue.message}`, {
    field,
    hint: 'docs/spec.md lists every field of a container spec',
  });
}
