/** Values to bytes, little-endian (D-Bus Specification, "Marshaling"). */
import { DBusFormatError } from './error.js';
import { alignmentOf, type BasicCode, type Type, typesOf, type Value, type Variant, variantType } from './types.js';

/** Longest array, in bytes. */
export const MAX_ARRAY = 64 * 1024 * 1024;
const OBJECT_PATH = /^\/(?:[A-Za-z0-9_]+(?:\/[A-Za-z0-9_]+)*)?$/;

/** Bounds of the whole numbers, inclusive. */
const RANGES: Readonly<Partial<Record<BasicCode, readonly [number, number]>>> = {
  y: [0, 0xff],
  n: [-0x8000, 0x7fff],
  q: [0, 0xffff],
  i: [-0x8000_0000, 0x7fff_ffff],
  u: [0, 0xffff_ffff],
  h: [0, 0xffff_ffff],
};

function isVariant(value: Value): value is Variant {
  return typeof value === 'object' && 'signature' in value;
}

function wrong(what: string, value: Value): never {
  throw new DBusFormatError(`${typeof value === 'object' ? 'a composite value' : String(value)} is no ${what}`);
}

/** Bytes of a message from its first one on: alignment counts from there. */
export class Writer {
  private buffer = Buffer.alloc(256);
  private length = 0;

  get bytes(): Buffer {
    return this.buffer.subarray(0, this.length);
  }

  /** Pads with zeros. */
  align(to: number): void {
    this.reserve((to - (this.length % to)) % to);
  }

  values(signature: string, values: readonly Value[]): void {
    this.fields(typesOf(signature), values);
  }

  /** Where the next byte goes. */
  get position(): number {
    return this.length;
  }

  /** Overwrites four bytes that were written before. */
  patch(at: number, value: number): void {
    this.buffer.writeUInt32LE(value, at);
  }

  append(bytes: Uint8Array): void {
    const at = this.reserve(bytes.length);
    this.buffer.set(bytes, at);
  }

  private reserve(size: number): number {
    const at = this.length;
    this.length += size;
    if (this.length > this.buffer.length) {
      const larger = Buffer.alloc(Math.max(this.length, 2 * this.buffer.length));
      this.buffer.copy(larger);
      this.buffer = larger;
    }
    return at;
  }

  private fields(types: readonly Type[], values: readonly Value[]): void {
    if (types.length !== values.length) {
      throw new DBusFormatError(`${values.length} values for ${types.length} types`);
    }
    for (const [index, type] of types.entries()) this.value(type, values[index] as Value);
  }

  private value(type: Type, value: Value): void {
    this.align(alignmentOf(type));
    if (type.kind === 'basic') this.basic(type.code, value);
    else if (type.kind === 'array') this.array(type.item, value);
    else if (type.kind === 'struct') {
      if (!Array.isArray(value)) wrong('struct', value);
      this.fields(type.fields, value as readonly Value[]);
    } else {
      if (!isVariant(value)) wrong('variant', value);
      this.basic('g', value.signature);
      this.value(variantType(value.signature), value.value);
    }
  }

  private array(item: Type, value: Value): void {
    const bytes = item.kind === 'basic' && item.code === 'y' && value instanceof Uint8Array;
    if (!bytes && !Array.isArray(value)) wrong('array', value);
    const lengthAt = this.reserve(4);
    // Padding before the first item is there even when there is none, and does not count.
    this.align(alignmentOf(item));
    const start = this.length;
    if (bytes) this.append(value);
    else for (const one of value as readonly Value[]) this.value(item, one);
    if (this.length - start > MAX_ARRAY) throw new DBusFormatError('an array is longer than 64 MiB');
    this.patch(lengthAt, this.length - start);
  }

  private basic(code: BasicCode, value: Value): void {
    if (code === 's' || code === 'o' || code === 'g') this.text(code, value);
    else if (code === 'x' || code === 't') this.long(code, value);
    else if (code === 'b') {
      if (typeof value !== 'boolean') wrong('boolean', value);
      const at = this.reserve(4);
      this.buffer.writeUInt32LE(value ? 1 : 0, at);
    } else if (code === 'd') {
      if (typeof value !== 'number') wrong('number', value);
      const at = this.reserve(8);
      this.buffer.writeDoubleLE(value, at);
    } else this.whole(code, value);
  }

  private whole(code: BasicCode, value: Value): void {
    const [least, most] = RANGES[code] ?? [0, 0];
    if (typeof value !== 'number' || !Number.isInteger(value) || value < least || value > most) {
      wrong(`whole number from ${least} to ${most}`, value);
    }
    const size = alignmentOf({ kind: 'basic', code });
    const at = this.reserve(size);
    if (least < 0) this.buffer.writeIntLE(value, at, size);
    else this.buffer.writeUIntLE(value, at, size);
  }

  private long(code: 'x' | 't', value: Value): void {
    const fits = code === 't' ? BigInt.asUintN : BigInt.asIntN;
    if (typeof value !== 'bigint' || fits(64, value) !== value) wrong(`bigint of type ${code}`, value);
    const at = this.reserve(8);
    this.buffer.writeBigUInt64LE(BigInt.asUintN(64, value), at);
  }

  private text(code: 's' | 'o' | 'g', value: Value): void {
    if (typeof value !== 'string' || value.includes('\0')) wrong('string without NUL', value);
    if (code === 'o' && !OBJECT_PATH.test(value)) wrong('object path', value);
    if (code === 'g') typesOf(value);
    const bytes = Buffer.from(value);
    const size = code === 'g' ? 1 : 4;
    const at = this.reserve(size);
    this.buffer.writeUIntLE(bytes.length, at, size);
    this.append(bytes);
    this.reserve(1);
  }
}

/** A body of its own. */
export function marshal(signature: string, values: readonly Value[]): Buffer {
  const writer = new Writer();
  writer.values(signature, values);
  return writer.bytes;
}
