/** `ready` and `health`: how it is found out whether a container is up, and whether it still is (LIF-36). */
import * as v from 'valibot';
import { absolutePath, argument, flag, isRecord, object, text, whole } from './values.js';

const DAY_MS = 86_400_000;
const HOST = /^(\d{1,3}\.){3}\d{1,3}$/;
const PATH = /^\/[\x21-\x7e]{0,1023}$/;

const port = whole(1, 65_535);
const host = v.pipe(
  text,
  v.regex(HOST, 'must be an IPv4 address'),
  v.check(address => address.split('.').every(part => Number(part) < 256), 'must be an IPv4 address'),
);

/** What is looked at: one of them. */
const kinds = {
  /** There is such a file. */
  file: v.optional(absolutePath),
  /** A program that exits with 0. */
  exec: v.optional(v.pipe(v.array(argument, 'must be a list of strings'), v.minLength(1, 'must not be empty'))),
  /** Something listens. */
  tcp: v.optional(object({ port, host: v.optional(host) })),
  /** Something answers a GET with a status from 200 to 399. */
  http: v.optional(
    object({
      port,
      host: v.optional(host),
      path: v.optional(v.pipe(text, v.regex(PATH, 'must be a path: printable, without blanks'))),
    }),
  ),
  /** Milliseconds from one look to the next. */
  interval: v.optional(whole(10, DAY_MS)),
  /** Milliseconds that a look may take. */
  timeout: v.optional(whole(10, 600_000)),
};

const KINDS = ['file', 'exec', 'tcp', 'http'] as const;
type Kinds = Partial<Record<(typeof KINDS)[number], unknown>>;
const ONE = `must have one of ${KINDS.join(', ')}`;
const hasOne = (input: Kinds): boolean => KINDS.filter(kind => input[kind] !== undefined).length === 1;

const readyProbe = v.pipe(
  object(kinds),
  v.check(input => hasOne(input), ONE),
);
const readyWord = v.picklist(['none', 'notify'], 'must be none, notify or a probe');
export const ready = v.lazy(input => (isRecord(input) ? readyProbe : readyWord));

export const health = v.pipe(
  object({
    ...kinds,
    /** Looks in a row that fail before it counts as unhealthy. */
    retries: v.optional(whole(1, 1000)),
    /** Milliseconds after its start in which a look that fails does not count. */
    startPeriod: v.optional(whole(0, DAY_MS)),
    /** It is ended, and its end counts as a failure. */
    enforce: v.optional(flag),
  }),
  v.check(input => hasOne(input), ONE),
);

export type ProbeKind =
  | { readonly kind: 'file'; readonly path: string }
  | { readonly kind: 'exec'; readonly argv: readonly string[] }
  | { readonly kind: 'tcp'; readonly host: string; readonly port: number }
  | { readonly kind: 'http'; readonly host: string; readonly port: number; readonly path: string };

export interface ProbeRules {
  readonly probe: ProbeKind;
  readonly interval: number;
  readonly timeout: number;
}
export interface HealthRules extends ProbeRules {
  readonly retries: number;
  readonly startPeriod: number;
  readonly enforce: boolean;
}

type ReadyInput = v.InferOutput<typeof readyProbe>;

function kindOf({ file, exec, tcp, http }: ReadyInput): ProbeKind {
  if (file !== undefined) return { kind: 'file', path: file };
  if (exec !== undefined) return { kind: 'exec', argv: exec };
  if (tcp !== undefined) return { kind: 'tcp', host: tcp.host ?? '127.0.0.1', port: tcp.port };
  const { host = '127.0.0.1', port = 80, path = '/' } = http ?? {};
  return { kind: 'http', host, port, path };
}

export function resolveReady(input: 'none' | 'notify' | ReadyInput = 'none'): 'none' | 'notify' | ProbeRules {
  if (typeof input === 'string') return input;
  return { probe: kindOf(input), interval: input.interval ?? 500, timeout: input.timeout ?? 1_000 };
}

export function resolveHealth(input: v.InferOutput<typeof health> | undefined): HealthRules | null {
  if (input === undefined) return null;
  return {
    probe: kindOf(input),
    interval: input.interval ?? 10_000,
    timeout: input.timeout ?? 5_000,
    retries: input.retries ?? 3,
    startPeriod: input.startPeriod ?? 0,
    enforce: input.enforce ?? true,
  };
}
