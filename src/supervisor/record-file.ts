/** A small record in a container's or group's directory: written whole, and a little later than it has changed. */
import { readFile } from 'node:fs/promises';
import { CaissonError } from '../spec/errors.js';
import { writeAtomic } from './store.js';

/**
 * What is over sooner than this costs no write, and what comes up leaves the disk to the others that do. What a supervisor
 * learnt less than this before it was killed is lost.
 */
const DELAY_MS = 500;

/** Undefined: there is none. @throws CaissonError STATE_INVALID for one that is torn, or that `accepts` does not take. */
export async function readRecordFile<T extends object>(
  path: string,
  accepts: (record: Partial<T>) => boolean,
): Promise<T | undefined> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
  let cause: unknown;
  try {
    const record = JSON.parse(text) as Partial<T> | null;
    if (typeof record === 'object' && record !== null && accepts(record)) return record as T;
  } catch (error) {
    cause = error;
  }
  throw new CaissonError('STATE_INVALID', `${path} is not a record of this version`, { field: path, cause });
}

/** One after the other, where many would keep all of Node's few I/O threads waiting for the disk. */
export class WriteQueue {
  private last: Promise<void> = Promise.resolve();

  /** @param write must not reject. */
  add(write: () => Promise<void>): Promise<void> {
    this.last = this.last.then(write);
    return this.last;
  }
}

export interface RecordSource {
  readonly path: string;
  /** As it is when it is written; undefined: there is nothing to write. */
  readonly record: () => object | undefined;
  readonly failed: (error: Error) => void;
}

export class RecordFile {
  private timer: NodeJS.Timeout | undefined;
  private written: Promise<void> = Promise.resolve();
  private onDisk: string | undefined;

  constructor(
    private readonly source: RecordSource,
    private readonly queue = new WriteQueue(),
  ) {}

  /** What was read is what is there. */
  found(record: object | undefined): void {
    this.onDisk = record === undefined ? undefined : JSON.stringify(record);
  }

  soon(): void {
    this.timer ??= setTimeout(() => void this.now(), DELAY_MS).unref();
  }

  /** Resolves when it is written, or has failed. */
  now(): Promise<void> {
    this.forget();
    this.written = this.queue.add(() => this.write());
    return this.written;
  }

  /** Writes what waits to be written. */
  flush(): Promise<void> {
    return this.timer === undefined ? this.written : this.now();
  }

  /** Nothing is written any more, and what is being written has been when this resolves. */
  async drop(): Promise<void> {
    this.forget();
    await this.written;
  }

  private forget(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
  }

  private async write(): Promise<void> {
    try {
      const text = JSON.stringify(this.source.record());
      if (text === undefined || text === this.onDisk) return;
      await writeAtomic(this.source.path, `${text}\n`);
      this.onDisk = text;
    } catch (error) {
      // The container does not need it: a full disk must not be its end.
      this.source.failed(error as Error);
    }
  }
}
