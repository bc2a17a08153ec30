/**
 * LXCFS as the supervisor knows it (ENV-44, ENV-49). It may come, go and hang at any time, so it is asked at each start,
 * and now and then while containers use it. Only children that can be killed ask, never a thread.
 */
import type { LxcfsFacts } from '../../plan/facts.js';
import { CaissonError } from '../../spec/errors.js';
import { SyscallError } from '../../syscalls/libc.js';
import { listDirectory } from '../../syscalls/served.js';
import { Instance } from './instance.js';

const LXCFS_PATH = '/var/lib/lxcfs';

/** ms that it has to answer. */
const ANSWER_MS = 1000;
/** ms between looks while containers run that use it. */
const LOOK_EVERY_MS = 2000;
/** ms that a start takes it as hung without asking again: the looks do. */
const HUNG_FOR_MS = 5000;

/** What a start, or a change in a running container, works on; `release` it when done. */
export interface LxcfsInUse {
  readonly facts: LxcfsFacts;
  /** Descriptors by their names in the plan. */
  readonly held: Readonly<Record<string, number>>;
  /** Which life of it; null when it does not live. */
  readonly device: string | null;
  release(): void;
}

/** A running container. */
export interface LxcfsUser {
  /** Puts what LXCFS shows now in place of what it showed before. */
  replace(lxcfs: LxcfsInUse): Promise<void>;
}

export class Lxcfs {
  private state: LxcfsFacts['state'] = 'absent';
  private instance: Instance | undefined;
  private asking: Promise<void> | undefined;
  private hungUntil = 0;
  /** Which life of LXCFS each container has mounted: null none, undefined not known. */
  private readonly users = new Map<LxcfsUser, string | null | undefined>();
  private timer: NodeJS.Timeout | undefined;
  private settling: Promise<void> | undefined;
  private closed = false;

  /** @param path null: nobody is to have it. */
  private constructor(private readonly path: string | null) {}

  /** @throws CaissonError SPEC_INVALID */
  static at(path: string | false | undefined): Lxcfs {
    if (typeof path === 'string' && (!path.startsWith('/') || path.includes('\0'))) {
      throw new CaissonError('SPEC_INVALID', 'lxcfs: must be an absolute path', { field: 'lxcfs' });
    }
    return new Lxcfs(path === false ? null : (path ?? LXCFS_PATH));
  }

  get facts(): LxcfsFacts | null {
    const { path, state, instance } = this;
    if (path === null) return null;
    return state === 'alive' && instance !== undefined
      ? instance.facts
      : { state: state === 'alive' ? 'absent' : state, path };
  }

  /** Asks once. */
  async first(): Promise<LxcfsFacts | null> {
    (await this.take())?.release();
    return this.facts;
  }

  /** As it is now; null when nobody is to have it. */
  async take(): Promise<LxcfsInUse | null> {
    if (this.path === null) return null;
    if (this.state !== 'hung' || performance.now() > this.hungUntil) await this.ask();
    return this.current();
  }

  /** Keeps `user` up to date until the function that is returned is called. `device` as in LxcfsInUse. */
  follow(user: LxcfsUser, device: string | null | undefined): () => void {
    if (this.path === null) return () => undefined;
    this.users.set(user, device);
    this.timer ??= setInterval(() => void this.ask(), LOOK_EVERY_MS).unref();
    this.settle();
    return () => {
      this.users.delete(user);
      if (this.users.size > 0) return;
      clearInterval(this.timer);
      this.timer = undefined;
    };
  }

  async close(): Promise<void> {
    this.closed = true;
    clearInterval(this.timer);
    this.users.clear();
    await this.asking;
    await this.settling;
    this.retire();
  }

  /** Callers at the same time share one answer. */
  private ask(): Promise<void> {
    this.asking ??= this.look().finally(() => {
      this.asking = undefined;
    });
    return this.asking;
  }

  private async look(): Promise<void> {
    if (this.path === null) return;
    const found = await listDirectory(`${this.path}/proc`, ANSWER_MS).catch(noProcess);
    if (found === 'silent') this.conclude('hung');
    else if ('errno' in found)
      this.conclude(found.errno === 'ENOTCONN' || found.errno === 'ECONNABORTED' ? 'dead' : 'absent');
    else if (found.device === this.instance?.device) this.conclude('alive');
    else {
      const opened = await Instance.open(this.path, found, ANSWER_MS).catch(noProcess);
      if (opened instanceof Instance) {
        this.retire();
        this.instance = opened;
        this.conclude('alive');
      } else this.conclude(opened === 'silent' ? 'hung' : 'absent');
    }
  }

  private conclude(state: LxcfsFacts['state']): void {
    this.state = state;
    if (state === 'hung') this.hungUntil = performance.now() + HUNG_FOR_MS;
    // What has died or gone is mounted anew when it comes back: another file system, though perhaps of the same number.
    if (state === 'dead' || state === 'absent') this.retire();
    this.settle();
  }

  private retire(): void {
    this.instance?.release();
    this.instance = undefined;
  }

  private current(): LxcfsInUse | null {
    const { facts } = this;
    if (facts === null) return null;
    const instance = facts.state === 'alive' ? this.instance : undefined;
    if (instance === undefined) return { facts, held: {}, device: null, release: () => undefined };
    instance.use();
    return { facts, held: instance.held, device: instance.device, release: () => instance.release() };
  }

  /** Brings every container up to date, one after the other. */
  private settle(): void {
    if (this.settling !== undefined || this.next() === undefined) return;
    this.settling = this.bringUpToDate().finally(() => {
      this.settling = undefined;
      this.settle();
    });
  }

  private async bringUpToDate(): Promise<void> {
    for (let user = this.next(); user !== undefined; user = this.next()) {
      const now = this.current();
      if (now === null) return;
      this.users.set(user, now.device);
      try {
        await user.replace(now);
      } finally {
        now.release();
      }
    }
  }

  /** A container that has something else mounted than what there is. One that hangs may go on: nothing is changed then. */
  private next(): LxcfsUser | undefined {
    if (this.state === 'hung' || this.closed) return undefined;
    const device = this.state === 'alive' ? (this.instance?.device ?? null) : null;
    for (const [user, mounted] of this.users) if (mounted !== device) return user;
    return undefined;
  }
}

/** No process could be had to ask: what has been mounted may be as alive as before. */
function noProcess(error: unknown): 'silent' {
  if (error instanceof SyscallError) return 'silent';
  throw error;
}
