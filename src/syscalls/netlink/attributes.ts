/** Attributes of the types that rtnetlink uses: made from values, and read back with their sizes checked. Pure. */
import { type Attribute, NetlinkFormatError } from './codec.js';

const EMPTY = Buffer.alloc(0);

export function bytes(type: number, data: Buffer): Attribute {
  return { type, flags: 0, data };
}

export function u32(type: number, value: number): Attribute {
  const data = Buffer.alloc(4);
  data.writeUInt32LE(value >>> 0);
  return { type, flags: 0, data };
}

/** NLA_NUL_STRING: text and a NUL, as most names go over the wire. */
export function cstring(type: number, text: string): Attribute {
  return { type, flags: 0, data: Buffer.from(`${text}\0`) };
}

/** NLA_STRING: text alone (IFLA_INFO_KIND is compared by its length). */
export function text(type: number, value: string): Attribute {
  return { type, flags: 0, data: Buffer.from(value) };
}

/** An attribute that holds others, behind the struct `header` if there is one. */
export function nest(type: number, nested: readonly Attribute[], header: Buffer = EMPTY, flags = 0): Attribute {
  return { type, flags, data: header, nested };
}

/** Attributes by type. Of a type that comes more than once it keeps the last, as the kernel does (nla_parse). */
export class AttributeIndex {
  private readonly byType = new Map<number, Attribute>();

  constructor(attributes: readonly Attribute[]) {
    for (const attribute of attributes) this.byType.set(attribute.type, attribute);
  }

  nested(type: number): readonly Attribute[] {
    return this.byType.get(type)?.nested ?? [];
  }

  bytes(type: number): Buffer | undefined {
    return this.byType.get(type)?.data;
  }

  u8(type: number): number | undefined {
    return this.sized(type, 1)?.readUInt8();
  }

  u32(type: number): number | undefined {
    return this.sized(type, 4)?.readUInt32LE();
  }

  s32(type: number): number | undefined {
    return this.sized(type, 4)?.readInt32LE();
  }

  string(type: number): string | undefined {
    const data = this.bytes(type);
    return data === undefined ? undefined : stringOf(data);
  }

  private sized(type: number, size: number): Buffer | undefined {
    const data = this.bytes(type);
    if (data !== undefined && data.length !== size) {
      throw new NetlinkFormatError(`attribute ${type} has ${data.length} bytes, not ${size}`);
    }
    return data;
  }
}

/**
 * The text before the first NUL. Names are bytes to the kernel: what is not UTF-8 comes out with U+FFFD in it
 * and finds nothing when sent back; such a link is still reachable by its index.
 */
export function stringOf(data: Buffer): string {
  const end = data.indexOf(0);
  return data.toString('utf8', 0, end === -1 ? data.length : end);
}
