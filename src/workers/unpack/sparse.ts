/** Files with holes, in the forms that GNU tar has had for them: only what is not a hole is in the archive. */
import { BLOCK, numberIn } from './header.js';
import { type PaxRecord, paxNumber } from './pax.js';
import { invalid } from './refuse.js';

export interface Segment {
  readonly offset: number;
  readonly length: number;
}

export interface SparseMap {
  /** Size of the whole file. */
  readonly size: number;
  readonly segments: readonly Segment[];
}

/** A million pieces are a map of some ten megabytes. */
const MAX_SEGMENTS = 1_000_000;

/** Takes exact pieces of the archive, as ByteReader does. */
export type Take = (length: number) => Promise<Buffer>;

/** Pieces that follow each other, lie in the file, and are together as long as what the archive holds of it. */
export function checkSparse(map: SparseMap, stored: number, where: string): SparseMap {
  let end = 0;
  let sum = 0;
  for (const { offset, length } of map.segments) {
    if (offset < end || offset + length > map.size) invalid(`${where}: its map of holes contradicts itself`);
    end = offset + length;
    sum += length;
  }
  if (sum !== stored) invalid(`${where}: its map of holes is not about the data that it has`);
  return map;
}

function entriesIn(block: Buffer, count: number, where: string): Segment[] {
  const segments: Segment[] = [];
  for (let at = 0; at < count * 24; at += 24) {
    if (block[at] === 0) break;
    const offset = numberIn(block.subarray(at, at + 12));
    const length = numberIn(block.subarray(at + 12, at + 24));
    if (offset === undefined || length === undefined || offset < 0 || length < 0)
      invalid(`${where}: its map of holes holds what is no number`);
    segments.push({ offset, length });
  }
  return segments;
}

/** GNU's own format, type S: four pieces in the header, 21 in each block after it while one more is announced. */
export async function gnuSparse(header: Buffer, take: Take, where: string): Promise<SparseMap> {
  const size = numberIn(header.subarray(483, 495)) ?? invalid(`${where}: its real size is no number`);
  const segments = entriesIn(header.subarray(386), 4, where);
  for (let more = header[482] !== 0; more; ) {
    const block = await take(BLOCK);
    segments.push(...entriesIn(block, 21, where));
    if (segments.length > MAX_SEGMENTS) invalid(`${where}: it has more than ${MAX_SEGMENTS} pieces`);
    more = block[504] !== 0;
  }
  return { size, segments };
}

function pairs(numbers: readonly number[], where: string): Segment[] {
  if (numbers.length % 2 !== 0 || numbers.length > 2 * MAX_SEGMENTS) invalid(`${where}: its map of holes is not whole`);
  const segments: Segment[] = [];
  for (let at = 0; at < numbers.length; at += 2)
    segments.push({ offset: numbers[at] ?? 0, length: numbers[at + 1] ?? 0 });
  return segments;
}

/** Forms 0.0 (a record for each number) and 0.1 (all in one), in the extended header. Undefined: there is no map in it. */
export function paxSparse(records: readonly PaxRecord[], where: string): SparseMap | undefined {
  const recordOf = (key: string): Buffer | undefined => records.findLast(([name]) => name === key)?.[1];
  const size = recordOf('GNU.sparse.size');
  if (size === undefined) return undefined;
  const map = recordOf('GNU.sparse.map');
  const numbers =
    map === undefined
      ? records
          .filter(([key]) => key === 'GNU.sparse.offset' || key === 'GNU.sparse.numbytes')
          .map(([, value]) => value)
      : map
          .toString('latin1')
          .split(',')
          .filter(Boolean)
          .map(text => Buffer.from(text));
  const parsed = numbers.map(value => paxNumber(value, 'map of holes', where));
  return { size: paxNumber(size, 'real size', where), segments: pairs(parsed, where) };
}

/** Form 1.0: the map stands before the data, one number a line, filled up to whole blocks. */
export async function mapBeforeData(take: Take, where: string): Promise<{ segments: Segment[]; taken: number }> {
  let taken = 0;
  let text = '';
  const numbers: number[] = [];
  for (let wanted = 1; numbers.length < wanted; ) {
    const end = text.indexOf('\n');
    if (end === -1) {
      // What is left of a block is the beginning of a number.
      if (text.length >= BLOCK) invalid(`${where}: its map of holes holds what is no number`);
      text += (await take(BLOCK)).toString('latin1');
      taken += BLOCK;
      continue;
    }
    numbers.push(paxNumber(Buffer.from(text.slice(0, end)), 'map of holes', where));
    text = text.slice(end + 1);
    if (numbers.length === 1) wanted = 1 + 2 * (numbers[0] ?? 0);
    if (wanted > 2 * MAX_SEGMENTS) invalid(`${where}: it has more than ${MAX_SEGMENTS} pieces`);
  }
  return { segments: pairs(numbers.slice(1), where), taken };
}
