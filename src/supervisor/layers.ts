/**
 * Trees that archives were unpacked to, shared by all containers that name the same content, each in a directory named
 * after the SHA-256 of the archive. The last container that is removed takes its layer along.
 */
import { readdir, rename, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import { CaissonError } from '../spec/errors.js';
import { type Layer, type UnpackLimits, type UnpackOptions, unpackLayer } from '../workers/unpacker.js';
import type { Discard } from './store.js';

/** A container's name cannot begin with a dot. */
const LAYERS = '.layers';
/** Being made or removed; one that is still there when a supervisor opens was left by a crash. */
const UNFINISHED = '.unfinished-';

/** Far more than any distribution; less than what a file that unpacks to nothing but zeros could fill. */
export const DEFAULT_ARCHIVE_LIMITS: UnpackLimits = { bytes: 32 * 1024 ** 3, members: 2_000_000 };

export function isDigest(value: unknown): value is string {
  return typeof value === 'string' && /^[0-9a-f]{64}$/.test(value);
}

/** The tree of the layer named `digest` below a state directory. */
export function treeOf(stateDir: string, digest: string): string {
  return join(stateDir, LAYERS, digest, 'tree');
}

export class Layers {
  private readonly dir: string;
  private readonly users = new Map<string, string>();
  private readonly closing = new AbortController();
  /** One at a time: who comes second for the same content finds it there. */
  private queue: Promise<unknown> = Promise.resolve();

  constructor(
    stateDir: string,
    private readonly limits: UnpackLimits,
    private readonly discard: Discard,
  ) {
    this.dir = join(stateDir, LAYERS);
  }

  /** `owner` has been using this layer. */
  claim(owner: string, digest: string): void {
    this.users.set(owner, digest);
  }

  /** Unpacks an archive unless that has been done, for `owner`. @throws CaissonError ARCHIVE_…, CANCELLED */
  acquire(owner: string, archive: string, { signal, onProgress }: UnpackOptions): Promise<Layer> {
    const either = AbortSignal.any([this.closing.signal, ...(signal === undefined ? [] : [signal])]);
    const given = (): CaissonError => new CaissonError('CANCELLED', 'unpacking was given up');
    let begun = false;
    const layer = this.inTurn(async () => {
      if (either.aborted) throw given();
      begun = true;
      const request = { archive, layers: this.dir, limits: this.limits };
      const made = await unpackLayer(request, { signal: either, onProgress });
      this.claim(owner, made.digest);
      return made;
    });
    return new Promise((resolve, reject) => {
      layer.then(resolve, reject);
      // What is under way is waited for, until nothing of it is left; what only waits for its turn is not.
      either.addEventListener('abort', () => {
        if (!begun) reject(given());
      });
    });
  }

  /** `owner` needs it no more. */
  release(owner: string): Promise<void> {
    const digest = this.users.get(owner);
    if (digest === undefined) return Promise.resolve();
    return this.inTurn(async () => {
      this.users.delete(owner);
      if (![...this.users.values()].includes(digest)) await this.remove(digest);
    });
  }

  /** Removes what a crash has left; and what nobody uses, if `all` containers are known. */
  async sweep(all: boolean): Promise<void> {
    const entries = await readdir(this.dir).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT') throw error;
      return [];
    });
    const used = new Set(this.users.values());
    for (const entry of entries) {
      if (entry.startsWith(UNFINISHED)) await this.discard(join(this.dir, entry));
      else if (all && isDigest(entry) && !used.has(entry)) await this.remove(entry);
    }
  }

  /** Gives up what is being unpacked, and leaves no empty directory. */
  async close(): Promise<void> {
    this.closing.abort();
    await this.queue;
    await rmdir(this.dir).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT' && error.code !== 'ENOTEMPTY') throw error;
    });
  }

  /** Under another name first: half of a layer must not be taken for a whole one. */
  private async remove(digest: string): Promise<void> {
    const doomed = join(this.dir, `${UNFINISHED}${digest}`);
    await this.discard(doomed);
    await rename(join(this.dir, digest), doomed).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT') throw error;
    });
    await this.discard(doomed);
  }

  private inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.queue.then(work);
    this.queue = result.catch(() => undefined);
    return result;
  }
}
