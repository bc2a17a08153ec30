/** One event as a line of the journal: checksum, JSON, newline. Zero bytes follow the last one. */
import { crc32 } from './crc32.js';

export interface Numbered {
  readonly seq: number;
}

const NEWLINE = 0x0a;
/** Eight hexadecimal digits and a space. */
const PREFIX = 9;

export function encodeRecord(event: Numbered): Buffer {
  // JSON has no raw newline or NUL in it, so that a line is a record and a zero byte the end.
  const json = Buffer.from(JSON.stringify(event));
  const sum = crc32(json).toString(16).padStart(8, '0');
  return Buffer.concat([Buffer.from(`${sum} `), json, Buffer.from('\n')]);
}

/** The event of one line, without its newline; undefined when it is torn or damaged. */
export function decodeRecord(line: Uint8Array): Numbered | undefined {
  if (line.length <= PREFIX) return undefined;
  const json = line.subarray(PREFIX);
  const sum = Buffer.from(line.buffer, line.byteOffset, PREFIX).toString('latin1');
  if (sum !== `${crc32(json).toString(16).padStart(8, '0')} `) return undefined;
  return JSON.parse(Buffer.from(json).toString('utf8')) as Numbered;
}

/** Bytes up to and with the last whole record; what follows is room, or a record that was cut off. */
export function usedBytes(bytes: Buffer): number {
  const zero = bytes.indexOf(0);
  let end = zero === -1 ? bytes.length : zero;
  while (end > 0) {
    const newline = bytes.lastIndexOf(NEWLINE, end - 1);
    if (newline === -1) return 0;
    const before = newline === 0 ? -1 : bytes.lastIndexOf(NEWLINE, newline - 1);
    if (decodeRecord(bytes.subarray(before + 1, newline)) !== undefined) return newline + 1;
    end = before + 1;
  }
  return 0;
}

/** The records in order; a damaged one is left out. */
export function* recordsIn(bytes: Buffer): Generator<Numbered, void, void> {
  let start = 0;
  for (;;) {
    const newline = bytes.indexOf(NEWLINE, start);
    if (newline === -1) return;
    const record = decodeRecord(bytes.subarray(start, newline));
    if (record !== undefined) yield record;
    start = newline + 1;
  }
}

/** The records of `bytes`, which ends with a whole one, the newest first; a damaged one is left out. */
export function* recordsBack(bytes: Buffer): Generator<Numbered, void, void> {
  for (let end = bytes.length; end > 0; ) {
    const before = end === 1 ? -1 : bytes.lastIndexOf(NEWLINE, end - 2);
    const record = decodeRecord(bytes.subarray(before + 1, end - 1));
    if (record !== undefined) yield record;
    end = before + 1;
  }
}

/** The newest record of `bytes`, which ends with a whole one. */
export function lastRecord(bytes: Buffer): Numbered | undefined {
  return recordsBack(bytes).next().value ?? undefined;
}
