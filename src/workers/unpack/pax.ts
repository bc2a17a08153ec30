/** Extended headers of POSIX.1-2001 (pax): records `LENGTH KEY=VALUE\n`. Values are bytes: attributes are put there as they are. */
import type { FileTime } from '../../syscalls/metadata.js';
import { invalid } from './refuse.js';

export type PaxRecord = readonly [key: string, value: Buffer];

export function parsePax(data: Buffer, where: string): PaxRecord[] {
  const records: PaxRecord[] = [];
  for (let at = 0; at < data.length; ) {
    const blank = data.indexOf(0x20, at);
    const digits = blank === -1 ? '' : data.toString('latin1', at, blank);
    const end = at + Number(digits);
    const equals = data.indexOf(0x3d, blank);
    if (!/^[0-9]{1,10}$/.test(digits) || end > data.length || equals === -1 || equals >= end || data[end - 1] !== 0x0a)
      invalid(`${where}: its extended header is not made of whole records`);
    records.push([data.toString('utf8', blank + 1, equals), Buffer.from(data.subarray(equals + 1, end - 1))]);
    at = end;
  }
  return records;
}

/** A whole number that is not negative. */
export function paxNumber(value: Buffer, what: string, where: string): number {
  const text = value.toString('latin1');
  const number = Number(text);
  if (!/^[0-9]+$/.test(text) || !Number.isSafeInteger(number)) invalid(`${where}: its ${what} is no number`);
  return number;
}

/** Seconds with a fraction of any length; before 1970 they are negative. */
export function paxTime(value: Buffer, where: string): FileTime {
  const [, sign = '', whole = '', fraction = ''] =
    /^(-?)([0-9]{1,15})(?:\.([0-9]*))?$/.exec(value.toString('latin1')) ?? [];
  if (whole === '') invalid(`${where}: its mtime is no time`);
  const nanoseconds = Number(fraction.padEnd(9, '0').slice(0, 9));
  if (sign === '') return { seconds: Number(whole), nanoseconds };
  return nanoseconds === 0
    ? { seconds: -Number(whole), nanoseconds }
    : { seconds: -Number(whole) - 1, nanoseconds: 1_000_000_000 - nanoseconds };
}
