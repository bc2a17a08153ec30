/**
 * A console's way to its log. Its bytes are moved within the kernel, from the terminal into a pipe and from there to the
 * end of a file, and only then read back for those who follow: whenever this process is killed, each byte is in the
 * terminal, in the pipe (which the keeper holds, too) or in the file, and in one of them only.
 */
import { open as openCallback } from 'node:fs';
import { unlink } from 'node:fs/promises';
import { promisify } from 'node:util';
import { KEPT_FROM, LOG_FILE, LOG_PIPE } from '../../plan/kept.js';
import type { ConsoleLogSpec } from '../../spec/container.js';
import { asCaissonError } from '../../spec/errors.js';
import { O } from '../../syscalls/abi/constants.js';
import { close, duplicate } from '../../syscalls/fs.js';
import { readBack, readNow } from '../../syscalls/io.js';
import { bytesIn, openPipe, type Pipe, seekEnd, spliceNow, spliceToFile } from '../../syscalls/splice.js';
import type { Registers } from '../../workers/context.js';
import type { Segments } from './segments.js';

const openFile = promisify(openCallback);
/** What an unprivileged pipe holds, and more than a terminal has at once. */
const MOST_AT_ONCE = 64 * 1024;
/** A disk that was full is tried again after so long. */
const TRY_AGAIN_MS = 5000;

export interface RecorderEvents {
  /** Has the keeper hold what is opened; resolves when a death of ours loses none of it. */
  hold(registers: Registers): Promise<void>;
  /** The log is not written any more, or again. */
  notice(message: string): void;
}

interface Current {
  readonly fd: number;
  readonly path: string;
  size: number;
}

export class Recorder {
  private pipe: Pipe | undefined;
  private file: Current | undefined;
  /** When it is tried again, ms; undefined while all is well. */
  private failedUntil: number | undefined;

  constructor(
    private readonly segments: Segments,
    private readonly limits: ConsoleLogSpec,
    private readonly events: RecorderEvents,
  ) {}

  /** What the keeper is to hold. */
  get registers(): Registers {
    return {
      ...(this.pipe === undefined ? {} : { [LOG_PIPE.read]: this.pipe.read, [LOG_PIPE.write]: this.pipe.write }),
      ...(this.file === undefined ? {} : { [LOG_FILE]: this.file.fd }),
    };
  }

  /** Takes over what the last supervisor moved bytes with; what it has left on the way is the first to be taken. */
  resume(registers: Registers): void {
    const { [LOG_PIPE.read]: read, [LOG_PIPE.write]: write, [LOG_FILE]: file } = registers;
    if (read !== undefined && write !== undefined) this.pipe = { read, write };
    else for (const fd of [read, write]) if (fd !== undefined) close(fd);
    // It may have been replaced before the keeper heard of it: the newest is found by its name.
    if (file !== undefined) close(file);
  }

  /**
   * Moves what the terminal has.
   * @param offset absolute, of the next byte.
   * @returns what was moved, to be told to those who follow; empty when there was nothing.
   */
  async take(master: number, offset: number): Promise<Buffer> {
    if (this.failedUntil !== undefined && performance.now() < this.failedUntil) return readNow(master) ?? EMPTY;
    try {
      await this.prepare(offset);
    } catch (error) {
      await this.fail(error);
      return Buffer.concat([this.fromPipe(), readNow(master) ?? EMPTY]);
    }
    return await this.flush(master, offset);
  }

  close(): void {
    for (const fd of Object.values(this.registers)) close(fd);
    this.pipe = undefined;
    this.file = undefined;
    this.failedUntil = undefined;
  }

  private async flush(master: number, offset: number): Promise<Buffer> {
    const { pipe, file } = this;
    if (pipe === undefined || file === undefined) return EMPTY;
    let left = bytesIn(pipe.read);
    for (;;) {
      const moved = spliceNow(master, pipe.write, MOST_AT_ONCE);
      left += moved;
      if (moved === 0 || left >= MOST_AT_ONCE) break;
    }
    if (left === 0) return EMPTY;
    const from = file.size;
    let failure: unknown;
    while (left > 0 && failure === undefined) {
      try {
        const moved = await spliceToFile(pipe.read, file.fd, left);
        file.size += moved;
        left -= moved;
      } catch (error) {
        failure = error;
      }
    }
    const data = readBack(file.fd, from, file.size - from);
    if (failure === undefined) {
      if (this.failedUntil !== undefined) this.recovered(offset);
      return data;
    }
    await this.fail(failure);
    return Buffer.concat([data, this.fromPipe()]);
  }

  /** There is a pipe, and a file that has room and ends at `offset`. */
  private async prepare(offset: number): Promise<void> {
    if (this.file !== undefined && this.file.size < this.limits.maxBytes) return;
    this.pipe ??= openPipe(KEPT_FROM);
    const former = this.file;
    this.file = await this.openAt(offset);
    try {
      // Before the first byte is on its way.
      await this.events.hold(this.registers);
    } finally {
      if (former !== undefined) close(former.fd);
    }
  }

  private async openAt(offset: number): Promise<Current> {
    await this.segments.make();
    const newest = (await this.segments.list()).at(-1);
    const goesOn =
      newest !== undefined && newest.start + newest.size === offset && newest.size < this.limits.maxBytes
        ? newest
        : undefined;
    if (goesOn === undefined) await this.segments.prune(this.limits.files - 1);
    const path = goesOn?.path ?? this.segments.pathOf(offset);
    const low = await openFile(path, O.O_RDWR | O.O_CREAT | O.O_NOFOLLOW, 0o600);
    try {
      const fd = duplicate(low, KEPT_FROM);
      const size = seekEnd(fd);
      if (goesOn === undefined) await this.segments.show(path);
      return { fd, path, size };
    } finally {
      close(low);
    }
  }

  /** From here on, and for a while, it is in memory only. */
  private async fail(error: unknown): Promise<void> {
    const { file } = this;
    this.file = undefined;
    if (this.failedUntil === undefined) {
      this.events.notice(`the console is not recorded, but kept in memory: ${asCaissonError(error).message}`);
    }
    this.failedUntil = performance.now() + TRY_AGAIN_MS;
    if (file === undefined) return;
    close(file.fd);
    if (file.size === 0) await unlink(file.path).catch(() => undefined);
  }

  private recovered(offset: number): void {
    this.failedUntil = undefined;
    this.events.notice(`the console is recorded again, from offset ${offset} on`);
  }

  private fromPipe(): Buffer {
    const { pipe } = this;
    const parts: Buffer[] = [];
    while (pipe !== undefined && bytesIn(pipe.read) > 0) parts.push(readNow(pipe.read) ?? EMPTY);
    return Buffer.concat(parts);
  }
}

const EMPTY = Buffer.alloc(0);
