/**
 * Checks of what callers give us, before a byte goes to the kernel: its own answer to a name of 16 bytes or a
 * multicast MAC is a bare errno. Pure. Everything refused is a CaissonError SPEC_INVALID with `field`.
 */
import { CaissonError } from '../../spec/errors.js';

export function invalid(field: string, message: string, hint?: string): CaissonError {
  return new CaissonError('SPEC_INVALID', `${field}: ${message}`, { field, hint });
}

/** IFNAMSIZ and ALTIFNAMSIZ of linux/if.h count the NUL. */
const NAME_BYTES = 15;
const ALT_NAME_BYTES = 127;

/** dev_valid_name() of net/core/dev.c. Its isspace() knows Latin-1: byte 0xa0 is a space, also within UTF-8. */
const isSpace = (byte: number): boolean => byte === 0x20 || (byte >= 0x09 && byte <= 0x0d) || byte === 0xa0;

function checkAnyName(name: unknown, field: string, limit: number): string {
  if (typeof name !== 'string') throw invalid(field, `an interface name is a string, not ${typeof name}`);
  const encoded = Buffer.from(name);
  if (encoded.length === 0) throw invalid(field, 'an interface name must not be empty');
  if (encoded.length > limit) {
    const hint = `shorten it to ${limit} bytes`;
    throw invalid(field, `interface name '${name}' has ${encoded.length} bytes, the kernel takes ${limit}`, hint);
  }
  if (name === '.' || name === '..') throw invalid(field, `'${name}' cannot name an interface`);
  // With a % the kernel takes the name for a pattern ('veth%d') and picks another one.
  if (/[/:%\0]/.test(name) || encoded.some(isSpace)) {
    throw invalid(field, `interface name ${JSON.stringify(name)} must not contain spaces, '/', ':', '%' or NUL`);
  }
  return name;
}

export function checkName(name: unknown, field: string): string {
  return checkAnyName(name, field, NAME_BYTES);
}

/** An alternative name (5.5+): up to 127 bytes. Every name is also one. */
export function checkAltName(name: unknown, field: string): string {
  return checkAnyName(name, field, ALT_NAME_BYTES);
}

export function isShortName(name: string): boolean {
  return Buffer.byteLength(name) <= NAME_BYTES;
}

export function checkInteger(value: unknown, field: string, min: number, max: number): number {
  if (typeof value !== 'number' || !Number.isInteger(value) || value < min || value > max) {
    throw invalid(field, `${String(value)} is not an integer from ${min} to ${max}`);
  }
  return value;
}

export const checkU32 = (value: unknown, field: string): number => checkInteger(value, field, 0, 0xffff_ffff);

/** An interface index, a file descriptor or a pid. */
export const checkIndex = (value: unknown, field: string): number => checkInteger(value, field, 1, 0x7fff_ffff);
export const checkFd = (value: unknown, field: string): number => checkInteger(value, field, 0, 0x7fff_ffff);

const MAC = /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i;

/** The 6 bytes of 'aa:bb:cc:dd:ee:ff'; only those that an interface may have (is_valid_ether_addr). */
export function parseMac(mac: unknown, field: string): Buffer {
  if (typeof mac !== 'string' || !MAC.test(mac)) {
    throw invalid(field, `${JSON.stringify(mac)} is not a MAC address like '02:00:00:00:00:01'`);
  }
  const parsed = Buffer.from(mac.replaceAll(':', ''), 'hex');
  if ((parsed.readUInt8() & 1) === 1) {
    const hint = 'a locally administered address begins with 02, 06, 0a or 0e';
    throw invalid(field, `${mac} is a multicast address, an interface cannot have it`, hint);
  }
  if (parsed.every(byte => byte === 0)) throw invalid(field, `${mac} is no address`);
  return parsed;
}

/** Any hardware address, of any length, as hexadecimal bytes. */
export function formatMac(address: Buffer): string {
  return (address.toString('hex').match(/../g) ?? []).join(':');
}

/** The number of a name in `table`; a number from 0 to 255 stands for itself. */
export function numberOf<T extends string>(
  table: Readonly<Record<T, number>>,
  value: T | number,
  field: string,
): number {
  if (typeof value === 'number') return checkInteger(value, field, 0, 255);
  if (typeof value === 'string' && Object.hasOwn(table, value)) return table[value];
  throw invalid(field, `${JSON.stringify(value)} is none of ${Object.keys(table).join(', ')}`);
}

/** The name of a number in `table`, or the number if it has none. */
export function nameOf<T extends string>(table: Readonly<Record<T, number>>, value: number): T | number {
  return (Object.keys(table) as T[]).find(name => table[name] === value) ?? value;
}

/** The names of the bits that are set in `value`; bits without a name are left out. */
export function flagNames<T extends string>(table: Readonly<Record<T, number>>, value: number): T[] {
  return (Object.keys(table) as T[]).filter(name => (value & table[name]) !== 0);
}

/** Operands as they stand in an error: 'name=v0 mtu=1400 peer.name=eth0'. */
export function describe(operands: object, prefix = ''): string {
  const parts: string[] = [];
  for (const [name, value] of Object.entries(operands)) {
    if (value === undefined) continue;
    const nests = typeof value === 'object' && value !== null && !Array.isArray(value);
    parts.push(nests ? describe(value, `${prefix}${name}.`) : `${prefix}${name}=${String(value)}`);
  }
  return parts.join(' ');
}
