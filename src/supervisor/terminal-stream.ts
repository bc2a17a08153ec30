/**
 * The master side of a pty as a Node stream. It reads only while somebody wants to: a terminal that is not read holds up
 * its program and nobody else.
 */
import { Duplex } from 'node:stream';
import { close, duplicate } from '../syscalls/fs.js';
import { readNow, writeNow } from '../syscalls/io.js';
import { type Watch, watch } from '../syscalls/watch.js';

/** Owns `master`, which must not block. It ends when nobody has the other side any more. */
export function terminalStream(master: number): Duplex {
  return new TerminalStream(master);
}

class TerminalStream extends Duplex {
  private reading: Watch | undefined;
  private writing: Watch | undefined;
  /** The event loop knows a descriptor once: writing has one of its own. */
  private readonly copy: number;

  constructor(private readonly master: number) {
    super({ allowHalfOpen: false });
    try {
      this.copy = duplicate(master, master);
    } catch (error) {
      // No descriptor is left: hung up, its program ends as when a line is cut.
      close(master);
      throw error;
    }
    // What is typed when the program has gone is nobody's loss.
    this.on('error', () => undefined);
  }

  override _read(): void {
    this.reading ??= watch(this.master, () => this.pump(), { ref: true });
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    let left: Uint8Array = chunk;
    const go = (): void => {
      try {
        left = left.subarray(writeNow(this.copy, left));
      } catch (error) {
        this.stopWriting();
        done(error as Error);
        return;
      }
      if (left.length === 0) {
        this.stopWriting();
        done();
      } else if (this.writing === undefined) {
        this.writing = watch(this.copy, go, { ref: true });
        this.writing.writable(true);
      }
    };
    go();
  }

  override _final(done: (error?: Error | null) => void): void {
    // What a person types to say so.
    this._write(Buffer.from('\x04'), 'latin1', () => done());
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.stopReading();
    this.stopWriting();
    close(this.copy);
    close(this.master);
    done(error);
  }

  private pump(): void {
    const data = readNow(this.master);
    if (data === undefined) return;
    if (data === null) {
      this.stopReading();
      this.push(null);
    } else if (!this.push(data)) this.stopReading();
  }

  private stopReading(): void {
    this.reading?.close();
    this.reading = undefined;
  }

  private stopWriting(): void {
    this.writing?.close();
    this.writing = undefined;
  }
}
