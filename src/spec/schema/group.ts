/** What a user may say about a group: OTP's words for OTP's rules. */
import * as v from 'valibot';
import { CaissonError } from '../errors.js';
import { isContainerName, NAME_RULE } from '../names.js';
import { isRecord, object, text, whole } from './values.js';

export const STRATEGIES = ['one_for_one', 'one_for_all', 'rest_for_one'] as const;
export type Strategy = (typeof STRATEGIES)[number];
export const RESTART_TYPES = ['permanent', 'transient', 'temporary'] as const;
export type RestartType = (typeof RESTART_TYPES)[number];

const PRIORITY = 1_000_000;
const DAY_MS = 86_400_000;
const name = v.pipe(text, v.check(isContainerName, NAME_RULE));

const child = object({
  name,
  restart: v.optional(v.picklist(RESTART_TYPES, 'must be permanent, transient or temporary')),
  /** Milliseconds it may take from running to ready. */
  readyTimeout: v.optional(whole(1, DAY_MS)),
});
const childOrName = v.lazy(input => (isRecord(input) ? child : name));

const groupSchema = object({
  name,
  strategy: v.optional(v.picklist(STRATEGIES, 'must be one_for_one, one_for_all or rest_for_one')),
  /** More restarts than this within the period, and the group gives up. */
  intensity: v.optional(whole(0, 1000)),
  /** Milliseconds. */
  period: v.optional(whole(1, DAY_MS)),
  /** Containers and groups, in the order in which they start. */
  children: v.pipe(v.array(childOrName, 'must be a list'), v.minLength(1, 'must not be empty')),
  boot: v.optional(
    object({
      autostart: v.optional(v.union([v.boolean(), v.literal('last-state')], 'must be true, false or last-state')),
      priority: v.optional(whole(-PRIORITY, PRIORITY)),
      delay: v.optional(whole(0, DAY_MS)),
      stopPriority: v.optional(whole(-PRIORITY, PRIORITY)),
    }),
  ),
});
export type GroupInput = v.InferInput<typeof groupSchema>;

export interface ChildSpec {
  readonly name: string;
  readonly restart: RestartType;
  readonly readyTimeout: number;
}

export interface GroupSpec {
  readonly name: string;
  readonly strategy: Strategy;
  readonly intensity: number;
  readonly period: number;
  readonly children: readonly ChildSpec[];
  readonly boot: {
    readonly autostart: boolean | 'last-state';
    readonly priority: number | null;
    readonly delay: number;
    readonly stopPriority: number;
  };
}

/** OTP's defaults, but for the time to become ready, which it has no word for. @throws CaissonError SPEC_INVALID */
export function resolveGroup(input: unknown): GroupSpec {
  const result = v.safeParse(groupSchema, input, { abortEarly: true });
  if (!result.success) {
    const issue = result.issues[0];
    const field = v.getDotPath(issue) ?? '';
    throw new CaissonError('SPEC_INVALID', `${field || 'the group'}: ${issue.message}`, {
      field,
      hint: 'docs/supervision.md lists every field of a group',
    });
  }
  const { output } = result;
  const children = output.children.map((one): ChildSpec => {
    const { name, restart, readyTimeout } = typeof one === 'string' ? { name: one } : one;
    return { name, restart: restart ?? 'permanent', readyTimeout: readyTimeout ?? 60_000 };
  });
  const twice = children.findIndex(({ name }, index) => children.findIndex(other => other.name === name) !== index);
  if (twice !== -1) {
    throw new CaissonError('SPEC_INVALID', `children.${twice}: ${children[twice]?.name} is there already`, {
      field: `children.${twice}`,
    });
  }
  const { autostart = 'last-state', priority = null, delay = 0, stopPriority = 0 } = output.boot ?? {};
  return {
    name: output.name,
    strategy: output.strategy ?? 'one_for_one',
    intensity: output.intensity ?? 1,
    period: output.period ?? 5_000,
    children,
    boot: { autostart, priority, delay, stopPriority },
  };
}
