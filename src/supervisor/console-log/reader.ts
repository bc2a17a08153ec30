/** Reading a console's log: its files, and for who has the console at hand what is still in memory. */
import { type FileHandle, open } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { CaissonError } from '../../spec/errors.js';
import type { ConsoleChunk } from '../console.js';
import type { Segment, Segments } from './segments.js';

export interface LogsOptions {
  /** Absolute byte offset to begin at; default: the oldest byte kept. */
  readonly since?: number;
  /** Begin so many lines, or bytes, before the end instead. */
  readonly tail?: { readonly lines: number } | { readonly bytes: number };
  /** Go on with what is printed from now on, until `signal` aborts. */
  readonly follow?: boolean;
  readonly signal?: AbortSignal;
}

/** A console of this process: what it has in memory need not be read again. */
export interface Live {
  since(offset: number, limit: number): ConsoleChunk;
  readonly end: number;
  /** Resolves when there is more than `offset`, or the signal aborts. */
  beyond(offset: number, signal: AbortSignal | undefined): Promise<void>;
}

const CHUNK = 64 * 1024;
const LOOK_AGAIN_MS = 100;
const NEWLINE = 0x0a;

/** @throws CaissonError SPEC_INVALID at once when the options are not good */
export function readLogs(
  segments: Segments,
  options: LogsOptions = {},
  live?: Live,
): AsyncGenerator<ConsoleChunk, void, void> {
  check(options);
  return follow(segments, options, live);
}

function check({ since, tail }: LogsOptions): void {
  const given: [field: string, value: number | undefined][] = [
    ['since', since],
    ['tail', tail === undefined ? undefined : 'lines' in tail ? tail.lines : tail.bytes],
  ];
  for (const [field, value] of given) {
    if (value !== undefined && (!Number.isSafeInteger(value) || value < 0))
      throw new CaissonError('SPEC_INVALID', `${field} must be a whole number, 0 or more`, { field });
  }
  if (since !== undefined && tail !== undefined)
    throw new CaissonError('SPEC_INVALID', 'since and tail exclude each other', { field: 'tail' });
}

async function* follow(
  segments: Segments,
  { since, tail, follow: goOn = false, signal }: LogsOptions,
  live: Live | undefined,
): AsyncGenerator<ConsoleChunk, void, void> {
  let list = await segments.list();
  let offset = tail === undefined ? since : await beginningOf(list, tail, live);
  offset ??= list[0]?.start ?? live?.since(0, 0).offset ?? 0;
  let opened: { readonly start: number; readonly file: FileHandle } | undefined;
  try {
    while (signal?.aborted !== true) {
      let chunk = inMemory(live, offset);
      if (chunk === undefined) {
        let found = at(list, offset);
        // What is opened can be read to its end also when it has been removed.
        if (opened === undefined || found?.start !== opened.start || offset >= found.start + found.size) {
          const more: Buffer = opened === undefined ? EMPTY : await readChunk(opened.file, offset - opened.start);
          if (more.length > 0) chunk = { offset, data: more, lost: 0 };
          else {
            list = await segments.list();
            found = at(list, offset);
            if (found !== undefined && found.start !== opened?.start) {
              await opened?.file.close();
              opened = undefined;
              const file = await open(found.path, 'r').catch(unlessGone);
              if (file === undefined) continue;
              opened = { start: found.start, file };
            }
          }
        }
        if (chunk === undefined && opened !== undefined && found !== undefined) {
          const from: number = Math.max(offset, opened.start);
          const data: Buffer = await readChunk(opened.file, from - opened.start);
          if (data.length > 0) chunk = { offset: from, data, lost: from - offset };
        }
      }
      chunk ??= live === undefined || live.end <= offset ? undefined : live.since(offset, CHUNK);
      if (chunk !== undefined && chunk.data.length > 0) {
        offset = chunk.offset + chunk.data.length;
        yield chunk;
      } else if (!goOn) return;
      else if (live === undefined) await sleep(LOOK_AGAIN_MS, undefined, { signal, ref: true }).catch(() => undefined);
      else await live.beyond(offset, signal);
    }
  } finally {
    await opened?.file.close();
  }
}

/** The file that has the byte at `offset`, or else the first after it. */
function at(list: readonly Segment[], offset: number): Segment | undefined {
  return list.find(({ start, size }) => offset < start + size);
}

function inMemory(live: Live | undefined, offset: number): ConsoleChunk | undefined {
  const chunk = live?.since(offset, CHUNK);
  return chunk === undefined || chunk.lost > 0 || chunk.data.length === 0 ? undefined : chunk;
}

async function readChunk(file: FileHandle, position: number): Promise<Buffer> {
  const { buffer, bytesRead } = await file.read(Buffer.allocUnsafe(CHUNK), 0, CHUNK, position);
  return buffer.subarray(0, bytesRead);
}

/** Where the last lines or bytes begin. */
async function beginningOf(
  list: readonly Segment[],
  tail: { readonly lines: number } | { readonly bytes: number },
  live: Live | undefined,
): Promise<number> {
  const newest = list.at(-1);
  const end = Math.max(newest === undefined ? 0 : newest.start + newest.size, live?.end ?? 0);
  const oldest = list[0]?.start ?? 0;
  if ('bytes' in tail) return Math.max(oldest, end - tail.bytes);
  if (tail.lines === 0) return end;
  let wanted = tail.lines;
  for (const { path, start, size } of [...list].reverse()) {
    const file = await open(path, 'r').catch(unlessGone);
    if (file === undefined) return start + size;
    try {
      for (let to = size; to > 0; ) {
        const from = Math.max(0, to - CHUNK);
        const block = (await readChunk(file, from)).subarray(0, to - from);
        for (let index = block.lastIndexOf(NEWLINE); index !== -1; ) {
          // The last byte of all ends a line and begins none.
          if (start + from + index + 1 < end && wanted-- === 1) return start + from + index + 1;
          index = index === 0 ? -1 : block.lastIndexOf(NEWLINE, index - 1);
        }
        to = from;
      }
    } finally {
      await file.close();
    }
  }
  return oldest;
}

function unlessGone(error: NodeJS.ErrnoException): undefined {
  if (error.code !== 'ENOENT') throw error;
}

const EMPTY = Buffer.alloc(0);
