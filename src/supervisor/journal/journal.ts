/**
 * The journal: events on disk, in order, to be read from any sequence number that is still kept. A record is stored
 * into memory that is the file, before anybody is told of its event: a supervisor killed at any instant has lost
 * nothing that a reader can have seen. What a crash of the whole host may lose is the last second.
 */
import { asCaissonError, CaissonError } from '../../spec/errors.js';
import type { FileMap } from '../../syscalls/file-map.js';
import { encodeRecord, lastRecord, type Numbered, recordsBack, recordsIn, usedBytes } from './record.js';
import { Segments } from './segments.js';

const PAGE = 4096;
const SYNC_EVERY_MS = 1000;

export interface JournalOptions {
  /** Bytes of one file, rounded up to whole pages. Default 1 MiB, some 5,000 events. */
  readonly segmentBytes?: number;
  /** Files kept, the oldest being removed for each new one. Default 16. */
  readonly segments?: number;
}

export class Journal<E extends Numbered> {
  /** Sequence number of the newest record; 0 in an empty journal. */
  private newest = 0;
  private used = 0;
  private next: FileMap | undefined;
  private preparing: Promise<void> | undefined;
  /** Records for which the next file is not yet ready. */
  private readonly backlog: Buffer[] = [];
  private readonly firsts = new Map<number, number>();
  private timer: NodeJS.Timeout | undefined;
  private syncing: Promise<void> = Promise.resolve();
  private failure: CaissonError | undefined;

  private constructor(
    private readonly segments: Segments,
    private readonly kept: number,
    private current: number,
    private map: FileMap,
    private readonly failed: (error: CaissonError) => void,
  ) {}

  /**
   * @param failed called once if no new file can be made, as on a full disk: events are then no longer recorded.
   * @throws an error of the file system, when the current file cannot be made or read.
   */
  static async open<E extends Numbered>(
    dir: string,
    { segmentBytes = 1024 * 1024, segments: kept = 16 }: JournalOptions,
    failed: (error: CaissonError) => void,
  ): Promise<Journal<E>> {
    const segments = new Segments(dir, Math.ceil(segmentBytes / PAGE) * PAGE);
    const numbers = await segments.list();
    const current = numbers.at(-1) ?? 1;
    const map = await segments.map(current);
    const journal = new Journal<E>(segments, Math.max(2, kept), current, map, failed);
    journal.used = usedBytes(map.bytes);
    // A record that was cut off, or pages that a host's crash brought to disk without those before them.
    map.bytes.fill(0, journal.used);
    journal.newest = await journal.findNewest(numbers);
    return journal;
  }

  get seq(): number {
    return this.newest;
  }

  append(event: E): void {
    this.newest = event.seq;
    if (this.failure !== undefined) return;
    let record = encodeRecord(event);
    if (record.length > this.segments.size) record = encodeRecord(tooLarge(event, record.length));
    if (this.backlog.length > 0 || this.used + record.length > this.segments.size) {
      this.backlog.push(record);
      if (this.next !== undefined) this.rotate();
      else this.prepareNext();
      return;
    }
    this.store(record);
    if (this.used > this.segments.size / 2) this.prepareNext();
  }

  /**
   * Events from `seq` on, as many as one file holds; empty when there are none.
   * @throws CaissonError CLOSED when `seq` is older than what is kept; STATE_INVALID when its record is damaged.
   */
  async read(seq: number): Promise<E[]> {
    const numbers = (await this.segments.list()).filter(index => index <= this.current);
    for (const index of numbers.reverse()) {
      const first = await this.firstOf(index);
      if (first === undefined || first > seq) continue;
      return await this.readFrom(index, seq);
    }
    throw noLongerKept(seq);
  }

  /** The newest events, the newest first, at most `count`. */
  async newestFirst(count: number): Promise<E[]> {
    const events: E[] = [];
    const numbers = (await this.segments.list()).filter(index => index <= this.current);
    for (const index of numbers.reverse()) {
      const bytes = await this.segments.bytes(index);
      for (const event of recordsBack(bytes.subarray(0, usedBytes(bytes)))) {
        if (events.length === count) return events;
        events.push(event as E);
      }
    }
    return events;
  }

  /** Brings everything to disk and lets go of it. */
  async close(): Promise<void> {
    while (this.preparing !== undefined) await this.preparing;
    this.sync();
    await this.syncing;
    this.map.release();
    this.next?.release();
    this.next = undefined;
  }

  private store(record: Buffer): void {
    this.map.bytes.set(record, this.used);
    this.used += record.length;
    this.timer ??= setTimeout(() => this.sync(), SYNC_EVERY_MS).unref();
  }

  private sync(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
    const { current } = this;
    this.syncing = this.syncing.then(() => this.segments.sync(current)).catch((error: unknown) => this.fail(error));
  }

  private prepareNext(): void {
    if (this.next !== undefined || this.preparing !== undefined || this.failure !== undefined) return;
    const index = this.current + 1;
    this.preparing = this.makeNext(index)
      .catch((error: unknown) => this.fail(error))
      .finally(() => {
        this.preparing = undefined;
        if (this.backlog.length > 0 && this.next !== undefined) this.rotate();
      });
  }

  private async makeNext(index: number): Promise<void> {
    const oldest = index - this.kept;
    for (const old of await this.segments.list()) {
      if (old > oldest) break;
      await this.segments.remove(old);
      this.firsts.delete(old);
    }
    this.next = await this.segments.map(index);
  }

  /** The prepared file becomes the current one, and takes what waits. */
  private rotate(): void {
    const { map, next } = this;
    if (next === undefined) return;
    this.sync();
    map.release();
    this.map = next;
    this.next = undefined;
    this.current++;
    this.used = 0;
    for (;;) {
      const record = this.backlog[0];
      if (record === undefined) break;
      if (this.used + record.length > this.segments.size) {
        this.prepareNext();
        break;
      }
      this.backlog.shift();
      this.store(record);
    }
  }

  private fail(error: unknown): void {
    if (this.failure !== undefined) return;
    const cause = asCaissonError(error);
    this.failure = new CaissonError('STATE_INVALID', `events are no longer recorded: ${cause.message}`, {
      cause,
      hint: 'make room where the state directory is, and open the supervisor again',
    });
    this.backlog.length = 0;
    this.failed(this.failure);
  }

  private async findNewest(numbers: readonly number[]): Promise<number> {
    const own = lastRecord(this.map.bytes.subarray(0, this.used));
    if (own !== undefined) return own.seq;
    // Prepared, and nothing written to it yet.
    for (const index of numbers.filter(other => other < this.current).reverse()) {
      const bytes = await this.segments.bytes(index);
      const last = lastRecord(bytes.subarray(0, usedBytes(bytes)));
      if (last !== undefined) return last.seq;
    }
    return 0;
  }

  private async firstOf(index: number): Promise<number | undefined> {
    const known = this.firsts.get(index);
    if (known !== undefined) return known;
    const first = await this.segments.first(index);
    if (first !== undefined) this.firsts.set(index, first.seq);
    return first?.seq;
  }

  private async readFrom(index: number, seq: number): Promise<E[]> {
    const events: E[] = [];
    let wanted = seq;
    for (let at = index; at <= this.current && events.length === 0; at++) {
      for (const event of recordsIn(await this.segments.bytes(at))) {
        if (event.seq < wanted) continue;
        if (event.seq !== wanted) break;
        events.push(event as E);
        wanted++;
      }
    }
    if (events.length === 0 && seq <= this.newest) {
      // It was there a moment ago: removed for a newer one before it could be read.
      if (!(await this.segments.list()).includes(index)) throw noLongerKept(seq);
      throw new CaissonError('STATE_INVALID', `the record of event ${seq} in ${this.segments.path(index)} is damaged`, {
        hint: 'begin again from the current state',
      });
    }
    return events;
  }
}

function noLongerKept(seq: number): CaissonError {
  return new CaissonError('CLOSED', `event ${seq} is no longer kept`, { hint: 'begin again from the current state' });
}

/** Its place in the order is kept, and what it was about. */
function tooLarge<E extends Numbered>(event: E, bytes: number): Numbered {
  const { seq, time, container, type } = event as Numbered & Record<string, unknown>;
  const message = `a ${String(type)} event of ${bytes} bytes was too large to be recorded`;
  return { seq, time, container, type: 'notice', code: 'event-too-large', message } as Numbered;
}
