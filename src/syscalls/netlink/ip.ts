/** IP addresses and prefixes between text and bytes, RFC 4291 and RFC 5952. Pure. */
import { isIPv4, isIPv6 } from 'node:net';
import { NetlinkFormatError } from './codec.js';
import { AF } from './constants.js';
import { checkInteger, invalid } from './input.js';

export type Family = 4 | 6;

export interface Ip {
  readonly family: Family;
  /** 4 or 16 bytes in network order. */
  readonly bytes: Buffer;
}

export interface Prefix extends Ip {
  /** Bits of the network part. */
  readonly length: number;
}

const bits = (family: Family): number => (family === 4 ? 32 : 128);

/** AF_INET or AF_INET6. */
export const afOf = (family: Family): number => (family === 4 ? AF.INET : AF.INET6);

/** The family of an AF_* number; undefined for one that is not IP. */
export function familyOf(af: number): Family | undefined {
  if (af === AF.INET) return 4;
  return af === AF.INET6 ? 6 : undefined;
}

/** '10.0.0.1' or 'fd00::1'. A zone ('fe80::1%eth0') is refused: on the wire the interface has its own place. */
export function parseIp(text: unknown, field: string): Ip {
  if (typeof text === 'string') {
    if (isIPv4(text)) return { family: 4, bytes: bytesOfV4(text) };
    if (isIPv6(text) && !text.includes('%')) return { family: 6, bytes: bytesOfV6(text) };
  }
  throw invalid(field, `${JSON.stringify(text)} is not an IP address`);
}

/** '10.0.0.1/24' or 'fd00::1/64'. The length must be there: a forgotten one would silently mean a single host. */
export function parsePrefix(text: unknown, field: string): Prefix {
  const match = typeof text === 'string' ? /^([^/]+)\/(0|[1-9]\d{0,2})$/.exec(text) : null;
  if (match === null) {
    throw invalid(field, `${JSON.stringify(text)} is not an address with a prefix length, like '10.0.0.1/24'`);
  }
  const ip = parseIp(match[1], field);
  return { ...ip, length: checkInteger(Number(match[2]), field, 0, bits(ip.family)) };
}

function bytesOfV4(text: string): Buffer {
  return Buffer.from(text.split('.').map(Number));
}

/** `text` has passed isIPv6: at most one '::', groups of up to four digits, an IPv4 tail only at the end. */
function bytesOfV6(text: string): Buffer {
  const [head = '', tail] = text.split('::');
  const before = groups(head);
  const after = tail === undefined ? [] : groups(tail);
  const out = Buffer.alloc(16);
  out.set(before);
  out.set(after, 16 - after.length);
  return out;
}

function groups(text: string): number[] {
  if (text === '') return [];
  return text.split(':').flatMap(group => {
    if (group.includes('.')) return [...bytesOfV4(group)];
    const value = Number.parseInt(group, 16);
    return [value >> 8, value & 0xff];
  });
}

/** The canonical text of 4 or 16 bytes: RFC 5952, IPv4-mapped addresses as ::ffff:a.b.c.d. */
export function formatIp(bytes: Buffer): string {
  if (bytes.length === 4) return bytes.join('.');
  if (bytes.length !== 16) throw new NetlinkFormatError(`an IP address has 4 or 16 bytes, not ${bytes.length}`);
  if (bytes.readBigUInt64BE() === 0n && bytes.readUInt32BE(8) === 0xffff)
    return `::ffff:${bytes.subarray(12).join('.')}`;
  const words = Array.from({ length: 8 }, (_, index) => bytes.readUInt16BE(2 * index));
  const { start, length } = longestZeros(words);
  const hex = (part: number[]): string => part.map(word => word.toString(16)).join(':');
  if (length < 2) return hex(words);
  return `${hex(words.slice(0, start))}::${hex(words.slice(start + length))}`;
}

/** The first of the longest runs of zero words. */
function longestZeros(words: readonly number[]): { start: number; length: number } {
  let best = { start: 0, length: 0 };
  let length = 0;
  for (const [index, word] of words.entries()) {
    length = word === 0 ? length + 1 : 0;
    if (length > best.length) best = { start: index + 1 - length, length };
  }
  return best;
}

export function formatPrefix(bytes: Buffer, length: number): string {
  return `${formatIp(bytes)}/${length}`;
}

/** Is any bit behind the prefix set? '10.0.0.1/24' has host bits, '10.0.0.0/24' has none. */
export function hasHostBits({ bytes, length }: Prefix): boolean {
  return bytes.some((byte, index) => (byte & hostMask(index, length)) !== 0);
}

/** The address with every host bit set. */
export function lastAddress({ bytes, length }: Prefix): Buffer {
  return Buffer.from(bytes.map((byte, index) => byte | hostMask(index, length)));
}

/** The host bits of the byte at `index` under a prefix of `length` bits. */
function hostMask(index: number, length: number): number {
  const network = Math.min(8, Math.max(0, length - 8 * index));
  return 0xff >> network;
}
