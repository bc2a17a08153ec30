/** The 512 bytes before each member: ustar of POSIX.1-1988, with what GNU tar has made of it (tar(5)). */
import { invalid } from './refuse.js';

export const BLOCK = 512;

export interface Header {
  readonly name: Buffer;
  /** The type flag, as a character. */
  readonly type: string;
  readonly link: Buffer;
  /** Bytes of data that follow. */
  readonly size: number;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Whole seconds since the epoch. */
  readonly mtime: number;
  /** GNU's own, rather than POSIX' format. */
  readonly gnu: boolean;
}

/** Up to the first NUL; a copy, since the block is reused. */
function text(block: Buffer, at: number, length: number): Buffer {
  const field = block.subarray(at, at + length);
  const end = field.indexOf(0);
  return Buffer.from(end === -1 ? field : field.subarray(0, end));
}

/** Octal digits, or with the highest bit set a number to the base of 256 (GNU, star). Undefined when it is neither. */
export function numberIn(field: Buffer): number | undefined {
  const first = field[0] ?? 0;
  if ((first & 0x80) !== 0) {
    // 0x80: positive. 0xff: negative, in two's complement.
    const negative = (first & 0x40) !== 0;
    let value = BigInt(negative ? (first & 0x7f) - 0x80 : first & 0x7f);
    for (const byte of field.subarray(1)) value = value * 256n + BigInt(byte);
    const number = Number(value);
    return Number.isSafeInteger(number) ? number : undefined;
  }
  const digits = /^ *([0-7]*)[ \0]*$/.exec(field.toString('latin1'))?.[1];
  return digits === undefined ? undefined : Number.parseInt(`0${digits}`, 8);
}

const CHECKSUM = 148;

function checksumHolds(block: Buffer): boolean {
  const said = numberIn(block.subarray(CHECKSUM, CHECKSUM + 8));
  let unsigned = 0;
  let signed = 0;
  for (const [at, found] of block.entries()) {
    // It is counted as if its own field were blank. Some old programs took bytes for signed.
    const byte = at >= CHECKSUM && at < CHECKSUM + 8 ? 0x20 : found;
    unsigned += byte;
    signed += byte > 127 ? byte - 256 : byte;
  }
  return said === unsigned || said === signed;
}

/** Undefined when the block is no header at all. `where` tells a person which one it is. */
export function parseHeader(block: Buffer, where: string): Header | undefined {
  if (!checksumHolds(block)) return undefined;
  const number = (what: string, at: number, length: number): number => {
    const value = numberIn(block.subarray(at, at + length));
    return value ?? invalid(`${where}: its ${what} is no number`);
  };
  const magic = block.toString('latin1', 257, 263);
  const name = text(block, 0, 100);
  const prefix = magic === 'ustar\0' ? text(block, 345, 155) : Buffer.alloc(0);
  const size = number('size', 124, 12);
  if (size < 0) invalid(`${where}: its size is negative`);
  return {
    name: prefix.length === 0 ? name : Buffer.concat([prefix, Buffer.from('/'), name]),
    type: String.fromCharCode(block[156] ?? 0),
    link: text(block, 157, 100),
    size,
    mode: number('mode', 100, 8),
    uid: number('uid', 108, 8),
    gid: number('gid', 116, 8),
    mtime: number('mtime', 136, 12),
    gnu: magic === 'ustar ',
  };
}

export function isZero(block: Buffer): boolean {
  return block.every(byte => byte === 0);
}
