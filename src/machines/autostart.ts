/** What starts when the host has come up, in which order (LIF-44, LIF-45), and what stops in which when it goes (LIF-46). */
import { CaissonError } from '../spec/errors.js';
import type { BootSpec } from '../spec/schema/boot.js';
import type { RestartPolicy } from '../spec/schema/restart.js';

/** Whether it is to run, as last known. */
export interface PowerRecord {
  readonly version: 1;
  readonly power: 'running' | 'stopped';
  /** A caller has stopped it: that is not undone, also not by its group. */
  readonly asked?: true;
  /** Of the host, when this was written: whether it has booted since. */
  readonly bootId: string;
  /** It could not be started when the host came up (NET-37): why, and when, in ms since the epoch. */
  readonly warning?: { readonly message: string; readonly time: number };
  /** Starts by the host that have begun, and whose end no supervisor has lived to see: it may be they that end it. */
  readonly unfinished?: number;
}

export interface BootItem {
  readonly name: string;
  readonly boot: Pick<BootSpec, 'autostart' | 'priority' | 'delay' | 'stopPriority'>;
  readonly policy: RestartPolicy;
  /** undefined: it has never been started. */
  readonly power: Pick<PowerRecord, 'power' | 'bootId' | 'unfinished'> | undefined;
}

/**
 * What ran last runs again. What is to run at every boot does so even when it had been stopped, but only once the host
 * has booted since: a supervisor that merely comes back does not undo a deliberate stop.
 */
export function startsAtBoot({ boot, policy, power }: BootItem, bootId: string): boolean {
  if (boot.autostart === false) return false;
  if (power?.power === 'running') return true;
  const always = boot.autostart === true || policy === 'always';
  return always && power?.bootId !== bootId;
}

export interface AutostartPlan {
  /** Not at all: so many supervisors have ended while they started it that it counts as the reason. */
  readonly givenUp: readonly string[];
  /** Side by side. */
  readonly together: readonly string[];
  /** One after the other, each with the ms to wait after it. */
  readonly inTurn: readonly { readonly name: string; readonly delay: number }[];
}

function byName(a: { readonly name: string }, b: { readonly name: string }): number {
  return a.name < b.name ? -1 : 1;
}

/** What a supervisor was starting when it ended is started alone, and last: what is not to blame is through by then. */
export function planAutostart(items: readonly Pick<BootItem, 'name' | 'boot' | 'power'>[]): AutostartPlan {
  const unfinished = ({ power }: Pick<BootItem, 'power'>): number => power?.unfinished ?? 0;
  const isFree = ({ boot }: Pick<BootItem, 'boot'>): boolean => boot.priority === null && boot.delay === 0;
  const sorted = [...items].sort((a, b) => (b.boot.priority ?? 0) - (a.boot.priority ?? 0) || byName(a, b));
  const clear = sorted.filter(item => unfinished(item) === 0);
  const suspect = sorted.filter(item => unfinished(item) > 0 && unfinished(item) < AUTOSTART_TRIES);
  return {
    givenUp: sorted.filter(item => unfinished(item) >= AUTOSTART_TRIES).map(({ name }) => name),
    together: clear.filter(isFree).map(({ name }) => name),
    inTurn: [...clear.filter(item => !isFree(item)), ...suspect].map(({ name, boot }) => ({ name, delay: boot.delay })),
  };
}

/** Batches of names: each is stopped, side by side, before the next. */
export function planShutdown(items: readonly { readonly name: string; readonly stopPriority: number }[]): string[][] {
  const priorities = [...new Set(items.map(({ stopPriority }) => stopPriority))].sort((a, b) => b - a);
  return priorities.map(priority =>
    items
      .filter(({ stopPriority }) => stopPriority === priority)
      .sort(byName)
      .map(({ name }) => name),
  );
}

/** How often a start is tried, and how long between (LIF-45). */
export const AUTOSTART_TRIES = 3;
export const AUTOSTART_PAUSE_MS = 5_000;

export interface AutostartPort {
  /** How many are started side by side. */
  readonly width: number;
  /** Resolves true when it runs, false when it is not to be tried again; rejects when it may be. */
  start(name: string): Promise<boolean>;
  /** All tries have failed. */
  failed(name: string, error: unknown): void;
  /** Resolves early when it is over. */
  sleep(ms: number): Promise<void>;
  isOver(): boolean;
}

export interface AutostartOutcome {
  readonly name: string;
  readonly started: boolean;
}

async function tryStart(name: string, port: AutostartPort): Promise<AutostartOutcome> {
  for (let tries = 1; !port.isOver(); tries++) {
    try {
      return { name, started: await port.start(name) };
    } catch (error) {
      if (tries === AUTOSTART_TRIES) {
        port.failed(name, error);
        break;
      }
      await port.sleep(AUTOSTART_PAUSE_MS);
    }
  }
  return { name, started: false };
}

/** Does `work` for each of `names`, at most `width` at a time; the results are in the order of the names. */
export async function sideBySide<T>(
  names: readonly string[],
  width: number,
  work: (name: string) => Promise<T>,
): Promise<T[]> {
  const results: T[] = [];
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < names.length) {
      const index = next++;
      results[index] = await work(names[index]!);
    }
  };
  await Promise.all(Array.from({ length: Math.min(width, names.length) }, worker));
  return results;
}

export async function runAutostart(plan: AutostartPlan, port: AutostartPort): Promise<AutostartOutcome[]> {
  const outcomes: AutostartOutcome[] = plan.givenUp.map(name => ({ name, started: false }));
  const why = `${AUTOSTART_TRIES} supervisors have ended while they started it`;
  for (const name of plan.givenUp) port.failed(name, new CaissonError('CLOSED', why));
  outcomes.push(...(await sideBySide(plan.together, port.width, name => tryStart(name, port))));
  for (const { name, delay } of plan.inTurn) {
    outcomes.push(await tryStart(name, port));
    if (delay > 0 && !port.isOver()) await port.sleep(delay);
  }
  return outcomes;
}
