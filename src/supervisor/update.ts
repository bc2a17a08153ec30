/** Changes of a container's spec: written down, and made in the running container where it runs (HST-19). */
import type { StateName } from '../machines/states.js';
import type { HostFacts } from '../plan/facts.js';
import { compileLiveLimits } from '../plan/limits.js';
import { compileLiveCredentials } from '../plan/live-credentials.js';
import type { Plan } from '../plan/step.js';
import { isCredentialAlias } from '../spec/aliases.js';
import { type ContainerSpec, resolveSpec } from '../spec/container.js';
import { CaissonError } from '../spec/errors.js';
import { type ContainerSpecInput, containerSpecSchema, parseSpecInput } from '../spec/schema.js';
import { readRecord, type StoredContainer, writeRecord } from './store.js';

/** What may change: each key by what makes it so in a running container. */
const LIVE = {
  limits: compileLiveLimits,
  credentials: compileLiveCredentials,
} as const satisfies Partial<
  Record<keyof ContainerSpec, (spec: ContainerSpec, before: ContainerSpec, facts: HostFacts) => Plan>
>;
type LiveKey = keyof typeof LIVE;

/** Each key that is given replaces what the container has of it. */
export type ContainerUpdate = Pick<ContainerSpecInput, LiveKey> & {
  readonly [alias: `systemd.credential.${string}` | `systemd.credential-binary.${string}`]: string;
};

export interface UpdateTarget {
  readonly name: string;
  /** Its own directory. */
  readonly directory: string;
  readonly facts: HostFacts;
  state(): StateName;
  /** It has been removed, or is about to be: its directory may be that of another by now. */
  isGone(): boolean;
  spec(): ContainerSpec;
  adopt(spec: ContainerSpec): void;
  /** Changes something in the running container. */
  change(plan: Plan): Promise<void>;
}

function keyOf(given: string): string {
  return isCredentialAlias(given) ? 'credentials' : given;
}

/** @throws CaissonError SPEC_INVALID that names what cannot change. */
function changedKeys(update: unknown): LiveKey[] {
  // As a spec, so that what is wrong with a value is told in the same words.
  const base = { name: 'update', rootfs: '/' };
  if (typeof update !== 'object' || update === null || Array.isArray(update))
    throw new CaissonError('SPEC_INVALID', 'the update: must be an object', { field: '' });
  const keys = [...new Set(Object.keys(update).map(keyOf))];
  const known = Object.keys(containerSpecSchema.pipe[1].entries);
  for (const key of keys) {
    if (key in LIVE || !known.includes(key)) continue;
    throw new CaissonError('SPEC_INVALID', `${key}: cannot be changed in a container that is there`, {
      field: key,
      hint: `what can be changed: ${Object.keys(LIVE).join(', ')}; remove the container and create it anew for the rest`,
    });
  }
  parseSpecInput({ ...base, ...update });
  return keys as LiveKey[];
}

export class Updates {
  private last: Promise<void> = Promise.resolve();

  constructor(private readonly target: UpdateTarget) {}

  /** One after the other: each begins with what the one before has written. */
  apply(update: ContainerUpdate): Promise<void> {
    const run = this.last.then(() => this.applyNow(update)).catch((error: unknown) => this.fail(error));
    this.last = run.catch(() => undefined);
    return run;
  }

  private async applyNow(update: ContainerUpdate): Promise<void> {
    const { target } = this;
    const keys = changedKeys(update);
    if (keys.length === 0) return;
    this.runs();
    const before = target.spec();
    const stored = await readRecord(target.directory, target.name);
    const kept = Object.entries(stored.spec).filter(([key]) => !keys.includes(keyOf(key) as LiveKey));
    const fresh: StoredContainer = { ...stored, spec: { ...Object.fromEntries(kept), ...update } };
    const spec = resolveSpec(fresh.spec, () => stored.idmap ?? (before.idmap as NonNullable<ContainerSpec['idmap']>));
    // What this host cannot do is refused while nothing has been changed.
    const plans = keys.map(key => LIVE[key](spec, before, target.facts));
    // Written first: should all end here, the next start has what was asked for.
    await writeRecord(target.directory, fresh);
    const changed: LiveKey[] = [];
    try {
      // As it is by now: a start that has begun meanwhile goes by what was.
      const runs = this.runs();
      target.adopt(spec);
      for (const [index, plan] of (runs ? plans : []).entries()) {
        await target.change(plan);
        changed.push(keys[index] as LiveKey);
      }
    } catch (error) {
      target.adopt(before);
      if (!target.isGone()) await writeRecord(target.directory, stored);
      // The error that is told is the first; it may be that the container has ended.
      for (const key of changed.reverse())
        await target.change(LIVE[key](before, spec, target.facts)).catch(() => undefined);
      throw error;
    }
  }

  private fail(error: unknown): never {
    // What was read or written may have gone with it.
    if (this.target.isGone()) this.refuseGone();
    throw error;
  }

  private refuseGone(): never {
    throw new CaissonError('CONTAINER_NOT_FOUND', `container ${this.target.name} has been removed`, { field: 'name' });
  }

  private runs(): boolean {
    if (this.target.isGone()) this.refuseGone();
    const state = this.target.state();
    if (state === 'stopped' || state === 'failed') return false;
    if (state === 'running' || state === 'frozen') return true;
    throw new CaissonError('INVALID_TRANSITION', `${this.target.name} cannot be updated while ${state}`, {
      field: 'state',
      hint: 'wait until it runs or has ended',
    });
  }
}
