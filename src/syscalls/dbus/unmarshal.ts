/** Bytes to values (D-Bus Specification, "Marshaling"), in either byte order. */
import { DBusFormatError } from './error.js';
import { MAX_ARRAY } from './marshal.js';
import { alignmentOf, type BasicCode, type Type, typesOf, type Value, variantType } from './types.js';

/** Of variants in variants: each may nest as deep as one signature. */
const MAX_VARIANTS = 64;

const UTF8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

export class Reader {
  private at = 0;
  private variants = 0;

  /** @param bytes from the first byte of a message, or of what is aligned like one. */
  constructor(
    private readonly bytes: Buffer,
    private readonly littleEndian = true,
  ) {}

  get position(): number {
    return this.at;
  }

  /** Skips padding, which must be zeros. */
  align(to: number): void {
    const padding = this.take((to - (this.at % to)) % to);
    if (padding.some(byte => byte !== 0)) throw new DBusFormatError('padding is not zero');
  }

  values(signature: string): Value[] {
    return typesOf(signature).map(type => this.value(type));
  }

  private take(size: number): Buffer {
    if (size > this.bytes.length - this.at) throw new DBusFormatError('ends in the middle of a value');
    const taken = this.bytes.subarray(this.at, this.at + size);
    this.at += size;
    return taken;
  }

  private value(type: Type): Value {
    this.align(alignmentOf(type));
    switch (type.kind) {
      case 'basic':
        return this.basic(type.code);
      case 'variant':
        return this.variant();
      case 'struct':
        return type.fields.map(field => this.value(field));
      case 'array':
        return this.array(type.item);
    }
  }

  private variant(): Value {
    if (++this.variants > MAX_VARIANTS) throw new DBusFormatError('nests variants too deeply');
    const signature = this.text('g');
    const value = this.value(variantType(signature));
    this.variants--;
    return { signature, value };
  }

  private array(item: Type): Value {
    const length = this.u32();
    if (length > MAX_ARRAY) throw new DBusFormatError('an array is longer than 64 MiB');
    this.align(alignmentOf(item));
    // A copy: what was received into is used again.
    if (item.kind === 'basic' && item.code === 'y') return Uint8Array.from(this.take(length));
    const end = this.at + length;
    const values: Value[] = [];
    while (this.at < end) values.push(this.value(item));
    if (this.at !== end) throw new DBusFormatError('an item goes past the end of its array');
    return values;
  }

  private u32(): number {
    const bytes = this.take(4);
    return this.littleEndian ? bytes.readUInt32LE() : bytes.readUInt32BE();
  }

  private basic(code: BasicCode): Value {
    switch (code) {
      case 's':
      case 'o':
      case 'g':
        return this.text(code);
      case 'b': {
        const value = this.u32();
        if (value > 1) throw new DBusFormatError('a boolean is neither 0 nor 1');
        return value === 1;
      }
      case 'x':
      case 't': {
        const bytes = this.take(8);
        const word = this.littleEndian ? bytes.readBigUInt64LE() : bytes.readBigUInt64BE();
        return code === 't' ? word : BigInt.asIntN(64, word);
      }
      case 'd': {
        const bytes = this.take(8);
        return this.littleEndian ? bytes.readDoubleLE() : bytes.readDoubleBE();
      }
      default:
        return this.whole(code);
    }
  }

  private whole(code: 'y' | 'n' | 'q' | 'i' | 'u' | 'h'): number {
    const size = alignmentOf({ kind: 'basic', code });
    const bytes = this.take(size);
    if (code === 'n' || code === 'i') return this.littleEndian ? bytes.readIntLE(0, size) : bytes.readIntBE(0, size);
    return this.littleEndian ? bytes.readUIntLE(0, size) : bytes.readUIntBE(0, size);
  }

  private text(code: 's' | 'o' | 'g'): string {
    const length = code === 'g' ? this.take(1).readUInt8() : this.u32();
    const bytes = this.take(length);
    if (this.take(1)[0] !== 0 || bytes.includes(0))
      throw new DBusFormatError('a string does not end with its only NUL');
    try {
      return UTF8.decode(bytes);
    } catch {
      throw new DBusFormatError('a string is not UTF-8');
    }
  }
}

/** The values of a body of its own, which they fill. */
export function unmarshal(signature: string, bytes: Buffer, littleEndian = true): Value[] {
  const reader = new Reader(bytes, littleEndian);
  const values = reader.values(signature);
  if (reader.position !== bytes.length) throw new DBusFormatError('there are bytes after the last value');
  return values;
}
