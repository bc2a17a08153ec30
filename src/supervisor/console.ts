/**
 * A container's console: the master of its pty, read at all times, or PID 1 would block once the pty is full
 * (ENV-25). What it prints goes into a ring; any number of readers follow at their own pace.
 */
import { Duplex } from 'node:stream';
import { CaissonError } from '../spec/errors.js';
import { readNow, writeNow } from '../syscalls/io.js';
import { setWindowSize } from '../syscalls/pty.js';
import { type Watch, watch } from '../syscalls/watch.js';
import type { Registers } from '../workers/context.js';
import type { Recorder } from './console-log/recorder.js';
import { Ring } from './ring.js';

export interface ConsoleReadOptions {
  /** Absolute byte offset to begin at; default: the oldest byte kept. `now` skips what was printed so far. */
  readonly from?: number | 'now';
  readonly signal?: AbortSignal;
}

export interface ConsoleChunk {
  /** Absolute offset of the first byte. */
  readonly offset: number;
  readonly data: Buffer;
  /** Bytes between the last chunk and this one that were overwritten before they could be read. */
  readonly lost: number;
}

/** More than a terminal and the pipe to the log hold: who was sent the other side of the terminal may go on printing. */
const MOST_LEFT = 256 * 1024;

interface PendingWrite {
  data: Uint8Array;
  readonly done: (error?: Error | null) => void;
}

export class Console {
  private readonly ring: Ring;
  private readonly listeners = new Set<() => void>();
  private readonly pending: PendingWrite[] = [];
  private master: number | undefined;
  private watching: Watch | undefined;

  /** Bytes are on their way to the log; no more than this is under way at once. */
  private moving: Promise<void> | undefined;

  /** @param recorder keeps what is printed on disk. */
  constructor(
    capacity: number,
    private readonly recorder: Recorder | null = null,
  ) {
    this.ring = new Ring(capacity);
  }

  /** True while PID 1 has a console of ours. */
  get connected(): boolean {
    return this.master !== undefined;
  }

  /** Everything that is still kept, oldest byte first. */
  history(): Buffer {
    return this.ring.read(0).data;
  }

  /** What is kept from `offset` on, now; at most `limit` bytes. */
  since(offset: number, limit?: number): ConsoleChunk {
    const { data, next, lost } = this.ring.read(offset, limit);
    return { offset: next - data.length, data, lost };
  }

  /** Absolute offset one past the newest byte; grows over restarts. */
  get end(): number {
    return this.ring.end;
  }

  /** Called by the container: what earlier supervisors have recorded ends at `end`, with these bytes. */
  recall(end: number, data: Uint8Array): void {
    this.ring.skipTo(end - data.length);
    this.ring.write(data);
  }

  /** What the keeper is to hold of the way to the log. */
  get kept(): Registers {
    return this.recorder?.registers ?? {};
  }

  /**
   * Called by the container: `master` is the non-blocking master side.
   * @param kept what a former supervisor recorded with; it is taken over.
   */
  connect(master: number, kept: Registers = {}): void {
    this.master = master;
    this.recorder?.resume(kept);
    this.watching = watch(master, () => this.pump());
    if (this.recorder !== null && Object.keys(kept).length > 0) this.record(this.recorder);
  }

  /**
   * Lets go of the pty; the caller closes the descriptor.
   * @param ended nobody can write there any more: takes what is still in it. Else that is for the next supervisor.
   */
  async disconnect(ended: boolean): Promise<void> {
    const { master, recorder } = this;
    if (master === undefined) return;
    this.watching?.close();
    this.watching = undefined;
    this.master = undefined;
    for (const { done } of this.pending.splice(0))
      done(new CaissonError('CLOSED', 'the container ended before it read this input'));
    await this.moving;
    if (ended) await this.drain(master);
    recorder?.close();
    this.notify();
  }

  /** Types `data` on the console. Resolves when the pty has taken all of it. */
  write(data: Uint8Array | string): Promise<void> {
    const bytes = typeof data === 'string' ? Buffer.from(data) : data;
    return new Promise((resolve, reject) => {
      this.enqueue(bytes, error => (error ? reject(error) : resolve()));
    });
  }

  /** Tells the payload its window size; it gets SIGWINCH. */
  resize(rows: number, cols: number): void {
    if (this.master !== undefined) setWindowSize(this.master, rows, cols);
  }

  /** Chunks as they come, until `signal` aborts. A reader that falls behind the ring is told what it lost. */
  async *read(options: ConsoleReadOptions = {}): AsyncGenerator<ConsoleChunk, void, void> {
    let offset = options.from === 'now' ? this.ring.end : (options.from ?? this.ring.start);
    while (options.signal?.aborted !== true) {
      const { data, next, lost } = this.ring.read(offset, 64 * 1024);
      offset = next;
      if (data.length > 0) yield { offset: next - data.length, data, lost };
      else await this.more(options.signal);
    }
  }

  /** The bytes alone, for `for await (const bytes of container.console)`. */
  async *[Symbol.asyncIterator](): AsyncGenerator<Buffer, void, void> {
    for await (const { data } of this.read()) yield data;
  }

  /** A Node stream: read what the payload prints, write what it reads. Ends by `destroy()` or the abort signal. */
  stream(options: ConsoleReadOptions = {}): Duplex {
    const stop = new AbortController();
    const signal = options.signal === undefined ? stop.signal : AbortSignal.any([options.signal, stop.signal]);
    const chunks = this.read({ ...options, signal });
    return new Duplex({
      read() {
        chunks.next().then(
          ({ done, value }) => this.push(done === true ? null : value.data),
          (error: unknown) => this.destroy(error as Error),
        );
      },
      write: (chunk: Buffer, _encoding, callback) => this.enqueue(chunk, callback),
      destroy(error, callback) {
        stop.abort();
        callback(error);
      },
    });
  }

  private enqueue(data: Uint8Array, done: (error?: Error | null) => void): void {
    if (this.master === undefined) {
      done(
        new CaissonError(
          'CLOSED',
          'the container does not run, or was started by another supervisor: its console takes no input here',
        ),
      );
      return;
    }
    this.pending.push({ data, done });
    this.flush();
  }

  private flush(): void {
    while (this.master !== undefined) {
      const first = this.pending[0];
      if (first === undefined) break;
      const written = writeNow(this.master, first.data);
      first.data = first.data.subarray(written);
      if (first.data.length > 0 && written === 0) break;
      if (first.data.length > 0) continue;
      this.pending.shift();
      first.done();
    }
    this.watching?.writable(this.pending.length > 0);
  }

  private pump(): void {
    if (this.master === undefined) return;
    if (this.recorder !== null) this.record(this.recorder);
    else {
      const data = readNow(this.master);
      if (data) this.add(data);
    }
    if (this.pending.length > 0) this.flush();
  }

  /** Moves what there is to the log, and looks again when that is done. */
  private record(recorder: Recorder): void {
    const { watching } = this;
    if (this.moving !== undefined) return;
    watching?.readable(false);
    this.moving = this.move(recorder).finally(() => {
      this.moving = undefined;
      watching?.readable(true);
    });
  }

  private async move(recorder: Recorder): Promise<void> {
    while (this.master !== undefined) {
      const data = await recorder.take(this.master, this.ring.end);
      if (data.length === 0) return;
      this.add(data);
    }
  }

  private async drain(master: number): Promise<void> {
    const end = this.ring.end + MOST_LEFT;
    while (this.ring.end < end) {
      const data = this.recorder === null ? readNow(master) : await this.recorder.take(master, this.ring.end);
      if (!data || data.length === 0) return;
      this.ring.write(data);
    }
  }

  private add(data: Buffer): void {
    this.ring.write(data);
    this.notify();
  }

  private notify(): void {
    for (const listener of [...this.listeners]) listener();
  }

  /** Resolves when more than `offset` bytes have been printed, or the signal aborts. */
  async beyond(offset: number, signal: AbortSignal | undefined): Promise<void> {
    while (this.ring.end <= offset && signal?.aborted !== true) await this.more(signal);
  }

  private more(signal: AbortSignal | undefined): Promise<void> {
    return new Promise(resolve => {
      const wake = (): void => {
        this.listeners.delete(wake);
        signal?.removeEventListener('abort', wake);
        resolve();
      };
      this.listeners.add(wake);
      signal?.addEventListener('abort', wake, { once: true });
    });
  }
}
