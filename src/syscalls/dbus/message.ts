/** Messages (D-Bus Specification, "Message Format"): a header of fields, and a body. */
import { DBusFormatError } from './error.js';
import { Writer } from './marshal.js';
import type { Value, Variant } from './types.js';
import { Reader } from './unmarshal.js';

export const MESSAGE_TYPES = ['call', 'return', 'error', 'signal'] as const;
export type MessageType = (typeof MESSAGE_TYPES)[number];

/** Header fields by their codes, with the signatures of their values. */
const FIELDS = {
  path: [1, 'o'],
  interface: [2, 's'],
  member: [3, 's'],
  errorName: [4, 's'],
  replySerial: [5, 'u'],
  destination: [6, 's'],
  sender: [7, 's'],
  signature: [8, 'g'],
} as const;
type FieldName = keyof typeof FIELDS;

export interface Message {
  readonly type: MessageType;
  readonly serial: number;
  readonly path?: string;
  readonly interface?: string;
  readonly member?: string;
  readonly errorName?: string;
  readonly replySerial?: number;
  readonly destination?: string;
  readonly sender?: string;
  readonly signature?: string;
  readonly body: readonly Value[];
}

const LITTLE = 0x6c;
const BIG = 0x42;
const VERSION = 1;
/** Endianness, type, flags, version, body length, serial, and the length of the field array. */
const FIXED = 16;
export const MAX_MESSAGE = 128 * 1024 * 1024;

export function encodeMessage(message: Message): Buffer {
  const writer = new Writer();
  const fields = (Object.entries(FIELDS) as [FieldName, (typeof FIELDS)[FieldName]][]).flatMap(
    ([name, [code, signature]]): Value[] => {
      const value = message[name];
      return value === undefined ? [] : [[code, { signature, value }]];
    },
  );
  const type = MESSAGE_TYPES.indexOf(message.type) + 1;
  writer.values('yyyyuua(yv)', [LITTLE, type, 0, VERSION, 0, message.serial, fields]);
  writer.align(8);
  const start = writer.position;
  writer.values(message.signature ?? '', message.body);
  writer.patch(4, writer.position - start);
  if (writer.position > MAX_MESSAGE) throw new DBusFormatError('a message is longer than 128 MiB');
  return writer.bytes;
}

function isLittleEndian(bytes: Buffer): boolean {
  if (bytes[0] !== LITTLE && bytes[0] !== BIG) throw new DBusFormatError('a message of no byte order');
  return bytes[0] === LITTLE;
}

/** How long the message that `bytes` begin with is; undefined while there are too few of them to say. */
export function messageLength(bytes: Buffer): number | undefined {
  if (bytes.length < FIXED) return undefined;
  const little = isLittleEndian(bytes);
  const word = (at: number): number => (little ? bytes.readUInt32LE(at) : bytes.readUInt32BE(at));
  const header = FIXED + word(12);
  const length = header + ((8 - (header % 8)) % 8) + word(4);
  if (length > MAX_MESSAGE) throw new DBusFormatError('a message is longer than 128 MiB');
  return length;
}

/** One whole message. Header fields of other codes are to be ignored. Undefined: of a type to be ignored. */
export function decodeMessage(bytes: Buffer): Message | undefined {
  const reader = new Reader(bytes, isLittleEndian(bytes));
  const [, typeNumber, , version, , serial, fieldList] = reader.values('yyyyuua(yv)');
  if (version !== VERSION) throw new DBusFormatError(`a message of protocol version ${String(version)}`);
  reader.align(8);
  const type = MESSAGE_TYPES[Number(typeNumber) - 1];
  if (type === undefined) return undefined;
  const fields: Partial<Record<FieldName, Value>> = {};
  for (const [code, variant] of fieldList as readonly [number, Variant][]) {
    const known = (Object.keys(FIELDS) as FieldName[]).find(name => FIELDS[name][0] === code);
    if (known === undefined) continue;
    if (variant.signature !== FIELDS[known][1]) throw new DBusFormatError(`header field ${known} of another type`);
    fields[known] = variant.value;
  }
  const body = reader.values((fields.signature as string | undefined) ?? '');
  if (reader.position !== bytes.length) throw new DBusFormatError('a message has bytes after its body');
  return { ...fields, type, serial: serial as number, body } as Message;
}
