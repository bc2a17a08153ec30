/**
 * Netlink messages and attributes between bytes and plain data; netlink(7), linux/netlink.h, Linux
 * Documentation/userspace-api/netlink/intro.rst. Pure. Integers are in host order, which is little endian on
 * every architecture that Caisson runs on.
 *
 *     message   = u32 length, u16 type, u16 flags, u32 sequence, u32 port, body
 *     body      = a struct of the family (ifinfomsg, …), attributes
 *     attribute = u16 length (header included, padding not), u16 type and two flag bits, value
 *
 * Messages, structs and attributes begin at multiples of 4. Whatever is decoded is checked first; what cannot be
 * right is a NetlinkFormatError. Every step of a decoder takes at least a header's length from what is left,
 * so none loops for ever, and depth is bounded by the Nesting it is given, never by the bytes.
 */
import { CaissonError } from '../../spec/errors.js';
import { NLA_F } from './constants.js';

export const MESSAGE_HEADER_SIZE = 16;
const ATTRIBUTE_HEADER_SIZE = 4;
const FLAG_BITS = NLA_F.NESTED | NLA_F.NET_BYTEORDER;
/** Length is 16 bits: the longest value of an attribute. */
const MAX_VALUE_SIZE = 0xffff - ATTRIBUTE_HEADER_SIZE;

/** Bytes that are no netlink message, or data that none can carry: a bug on either side, not a refusal. */
export class NetlinkFormatError extends CaissonError {
  constructor(message: string) {
    super('INTERNAL', `netlink: ${message}`);
    this.name = 'NetlinkFormatError';
  }
}

export interface Message {
  readonly type: number;
  readonly flags: number;
  readonly sequence: number;
  /** Who sent the request: 0 or the port id of a socket. */
  readonly port: number;
  readonly body: Buffer;
}

/**
 * One attribute. A leaf has its whole value in `data`. One that nests others has `nested`, and in `data` the
 * struct in front of them, if any (its size a multiple of 4).
 */
export interface Attribute {
  readonly type: number;
  /** NLA_F.* bits. The kernel sets NESTED on newer attributes only. */
  readonly flags: number;
  readonly data: Buffer;
  readonly nested?: readonly Attribute[];
}

/**
 * Which attribute types nest others: type → size in bytes of the struct in front, and what nests further down.
 * The bytes alone do not tell (see `flags`), and must not: the depth of decoding is ours to decide.
 */
export interface Nesting {
  readonly [type: number]: { readonly header?: number; readonly nested: Nesting };
}

const align = (size: number): number => (size + 3) & ~3;

function valueSize(attribute: Attribute): number {
  if (attribute.nested === undefined) return attribute.data.length;
  return align(attribute.data.length) + attributesSize(attribute.nested);
}

/** Bytes that `attributes` take, the padding behind the last one included (as kernel and iproute2 have it). */
export function attributesSize(attributes: readonly Attribute[]): number {
  let size = 0;
  for (const attribute of attributes) size += align(ATTRIBUTE_HEADER_SIZE + valueSize(attribute));
  return size;
}

/** Writes into zeroed memory: padding stays 0. Returns the offset behind. */
function writeAttributes(target: Buffer, start: number, attributes: readonly Attribute[]): number {
  let offset = start;
  for (const attribute of attributes) {
    const size = valueSize(attribute);
    if (size > MAX_VALUE_SIZE) {
      throw new NetlinkFormatError(`attribute ${attribute.type} of ${size} bytes is longer than ${MAX_VALUE_SIZE}`);
    }
    target.writeUInt16LE(ATTRIBUTE_HEADER_SIZE + size, offset);
    target.writeUInt16LE(attribute.type | attribute.flags, offset + 2);
    const value = offset + ATTRIBUTE_HEADER_SIZE;
    target.set(attribute.data, value);
    if (attribute.nested !== undefined) {
      writeAttributes(target, value + align(attribute.data.length), attribute.nested);
    }
    offset = value + align(size);
  }
  return offset;
}

/** The attributes in `bytes` (from a multiple of 4 on, to their end). Leaves are views of `bytes`, not copies. */
export function decodeAttributes(bytes: Buffer, nesting: Nesting = {}): Attribute[] {
  const attributes: Attribute[] = [];
  let offset = 0;
  while (offset < bytes.length) {
    const left = bytes.length - offset;
    if (left < ATTRIBUTE_HEADER_SIZE) throw new NetlinkFormatError(`${left} bytes left over behind attributes`);
    const length = bytes.readUInt16LE(offset);
    const word = bytes.readUInt16LE(offset + 2);
    const type = word & ~FLAG_BITS;
    if (length < ATTRIBUTE_HEADER_SIZE || length > left) {
      throw new NetlinkFormatError(`attribute ${type} says ${length} bytes where ${left} are left`);
    }
    const value = bytes.subarray(offset + ATTRIBUTE_HEADER_SIZE, offset + length);
    attributes.push(decodeValue(type, word & FLAG_BITS, value, nesting));
    // The last one may come without its padding.
    offset += align(length);
  }
  return attributes;
}

function decodeValue(type: number, flags: number, value: Buffer, nesting: Nesting): Attribute {
  // Own keys only: a type must not find what Object.prototype has.
  const nest = Object.hasOwn(nesting, type) ? nesting[type] : undefined;
  if (nest === undefined) return { type, flags, data: value };
  const { header, rest } = splitHeader(value, nest.header ?? 0);
  return { type, flags, data: header, nested: decodeAttributes(rest, nest.nested) };
}

function splitHeader(bytes: Buffer, size: number): { header: Buffer; rest: Buffer } {
  if (bytes.length < size) throw new NetlinkFormatError(`${bytes.length} bytes where a struct of ${size} begins`);
  return { header: bytes.subarray(0, size), rest: bytes.subarray(align(size)) };
}

/** What encodeMessage takes: a message with its body still in parts. */
export interface MessageParts {
  readonly type: number;
  readonly flags: number;
  readonly sequence: number;
  readonly port?: number;
  /** The family's struct. */
  readonly header: Buffer;
  readonly attributes: readonly Attribute[];
}

export function encodeMessage(parts: MessageParts): Buffer {
  const attributesAt = MESSAGE_HEADER_SIZE + align(parts.header.length);
  const message = Buffer.alloc(attributesAt + attributesSize(parts.attributes));
  message.writeUInt32LE(message.length, 0);
  message.writeUInt16LE(parts.type, 4);
  message.writeUInt16LE(parts.flags, 6);
  message.writeUInt32LE(parts.sequence, 8);
  message.writeUInt32LE(parts.port ?? 0, 12);
  message.set(parts.header, MESSAGE_HEADER_SIZE);
  writeAttributes(message, attributesAt, parts.attributes);
  return message;
}

/** The messages of one datagram. Bodies are views of it. */
export function decodeMessages(datagram: Buffer): Message[] {
  const messages: Message[] = [];
  let offset = 0;
  while (offset < datagram.length) {
    const left = datagram.length - offset;
    if (left < MESSAGE_HEADER_SIZE) throw new NetlinkFormatError(`${left} bytes left over behind messages`);
    const length = datagram.readUInt32LE(offset);
    if (length < MESSAGE_HEADER_SIZE || length > left) {
      throw new NetlinkFormatError(`message says ${length} bytes where ${left} are left`);
    }
    messages.push({
      type: datagram.readUInt16LE(offset + 4),
      flags: datagram.readUInt16LE(offset + 6),
      sequence: datagram.readUInt32LE(offset + 8),
      port: datagram.readUInt32LE(offset + 12),
      body: datagram.subarray(offset + MESSAGE_HEADER_SIZE, offset + length),
    });
    offset += align(length);
  }
  return messages;
}

/** Splits a body into the family's struct of `headerSize` bytes and the attributes. */
export function decodeBody(
  body: Buffer,
  headerSize: number,
  nesting: Nesting = {},
): { header: Buffer; attributes: Attribute[] } {
  const { header, rest } = splitHeader(body, headerSize);
  return { header, attributes: decodeAttributes(rest, nesting) };
}
