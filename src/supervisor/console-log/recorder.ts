/**
 * A console's way to its log. Its bytes are moved within the kernel, from the terminal into a pipe and from there to the
 * end of a file, and only then read back for those who follow: whenever this process is killed, each byte is in the
 * terminal, in the pipe (which the keeper holds, too) or in the file, and in one of them only.
 */
import { open as openCallback } from 'node:fs';
import { unlink } from 'node:fs/promises';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { promisify } from 'node:util';
import { KEPT_FROM, LOG_FILE, LOG_PIPE } from '../../plan/kept.js';
import type { ConsoleLogSpec } from '../../spec/container.js';
import { asCaissonError } from '../../spec/errors.js';
import { O } from '../../syscalls/abi/constants.js';
import { close, duplicate, statFd } from '../../syscalls/fs.js';
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
  /** The link has been made to show it, as far as that is possible. */
  shown: boolean;
}

export class Recorder {
  private pipe: Pipe | undefined;
  private file: Current | undefined;
  /** When it is tried again, ms; undefined while all is well. */
  private failedUntil: number | undefined;
  /** The link could not be made to show the newest file, and that was told. */
  private hidden = false;

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
   * Moves what the terminal has. It does not fail: what cannot be recorded is returned all the same.
   * @param offset absolute, of the next byte.
   * @returns what was moved, to be told to those who follow; empty when there was nothing.
   */
  async take(master: number, offset: number): Promise<Buffer> {
    if (this.failedUntil !== undefined && performance.now() < this.failedUntil) {
      // No wait for a disk lets others have their turn, and a payload may print faster than we read.
      await nextTurn();
      return readNow(master) ?? EMPTY;
    }
    let recorded: Buffer = EMPTY;
    try {
      const { pipe, file } = await this.prepare(offset);
      const left = fill(pipe, master);
      if (left === 0) return EMPTY;
      const from = file.size;
      try {
        await empty(pipe, file, left);
      } finally {
        recorded = told(file, from);
        if (file.size > 0 && !file.shown) await this.show(file);
      }
      if (this.failedUntil !== undefined) this.recovered(offset);
      return recorded;
    } catch (error) {
      await this.fail(error);
      return Buffer.concat([recorded, this.fromPipe(), readNow(master) ?? EMPTY]);
    }
  }

  close(): void {
    for (const fd of Object.values(this.registers)) close(fd);
    this.pipe = undefined;
    this.file = undefined;
    this.failedUntil = undefined;
  }

  /** A pipe, and a file that has room and ends at `offset`. */
  private async prepare(offset: number): Promise<{ pipe: Pipe; file: Current }> {
    this.pipe ??= openPipe(KEPT_FROM);
    const { pipe, file: former } = this;
    // Somebody who wants room on the disk may have removed it: what goes there has no name any more.
    if (former !== undefined && former.size < this.limits.maxBytes && statFd(former.fd).links > 0)
      return { pipe, file: former };
    const file = await this.openAt(offset);
    this.file = file;
    try {
      // Before the first byte is on its way.
      await this.events.hold(this.registers);
    } finally {
      if (former !== undefined) close(former.fd);
    }
    return { pipe, file };
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
      const size = seekEnd(low);
      return { fd: duplicate(low, KEPT_FROM), path, size, shown: false };
    } finally {
      close(low);
    }
  }

  /** Once there is something to see. The link is for people: without it all is recorded, too. */
  private async show(file: Current): Promise<void> {
    file.shown = true;
    try {
      await this.segments.show(file.path);
      this.hidden = false;
    } catch (error) {
      if (!this.hidden)
        this.events.notice(`console.log does not show the newest of the log: ${asCaissonError(error).message}`);
      this.hidden = true;
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

/** From the terminal into the pipe; how much is in that. */
function fill(pipe: Pipe, master: number): number {
  let left = bytesIn(pipe.read);
  for (;;) {
    const moved = spliceNow(master, pipe.write, MOST_AT_ONCE);
    left += moved;
    if (moved === 0 || left >= MOST_AT_ONCE) return left;
  }
}

/** From the pipe to the end of the file. */
async function empty(pipe: Pipe, file: Current, bytes: number): Promise<void> {
  for (let left = bytes; left > 0; ) {
    const moved = await spliceToFile(pipe.read, file.fd, left);
    file.size += moved;
    left -= moved;
  }
}

/** What was just moved. Zeros for what cannot be read back: its places in the stream are taken. */
function told(file: Current, from: number): Buffer {
  const length = file.size - from;
  try {
    const data = readBack(file.fd, from, length);
    return data.length === length ? data : Buffer.concat([data], length);
  } catch {
    return Buffer.alloc(length);
  }
}

const EMPTY = Buffer.alloc(0);
