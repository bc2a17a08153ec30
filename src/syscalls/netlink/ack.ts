/**
 * The kernel's answer to a request: NLMSG_ERROR (errno 0 is the acknowledgement) and the NLMSG_DONE of a dump,
 * with the extended acknowledgement behind them; linux/netlink.h, struct nlmsgerr and enum nlmsgerr_attrs. Pure.
 */
import { AttributeIndex } from './attributes.js';
import {
  type Attribute,
  attributesSize,
  decodeAttributes,
  MESSAGE_HEADER_SIZE,
  type Message,
  NetlinkFormatError,
} from './codec.js';
import { IFA, IFLA, NLM_F, NLMSG, NLMSGERR_ATTR, RTA, RTM } from './constants.js';
import type { NetlinkRequest } from './request.js';

export interface Ack {
  /** 0, or the positive number of what the kernel refused with. */
  readonly errno: number;
  /** What it says about it; also possible with errno 0, as a warning. */
  readonly text: string | undefined;
  /** Where in the request the attribute begins that it refuses, in bytes from the message's header on. */
  readonly offset: number | undefined;
  /** Type of an attribute that it misses. */
  readonly missing: number | undefined;
}

/** Reads a message of type NLMSG_ERROR or NLMSG_DONE. */
export function decodeAck({ type, flags, body }: Message): Ack {
  if (body.length < 4) throw new NetlinkFormatError(`message ${type} without an error number`);
  // Negative on the wire; a positive number is no error.
  const errno = Math.max(0, -body.readInt32LE());
  const none = { errno, text: undefined, offset: undefined, missing: undefined };
  if ((flags & NLM_F.ACK_TLVS) === 0) return none;
  const attributes = new AttributeIndex(
    decodeAttributes(body.subarray(type === NLMSG.DONE ? 4 : echoEnd(flags, body))),
  );
  return {
    errno,
    text: attributes.string(NLMSGERR_ATTR.MSG),
    offset: attributes.u32(NLMSGERR_ATTR.OFFS),
    missing: attributes.u32(NLMSGERR_ATTR.MISS_TYPE),
  };
}

/** NLMSG_ERROR repeats the request, or its header alone (CAPPED), behind the error number. */
function echoEnd(flags: number, body: Buffer): number {
  if (body.length < 4 + MESSAGE_HEADER_SIZE) throw new NetlinkFormatError('an error message without its request');
  const length = (flags & NLM_F.CAPPED) === 0 ? body.readUInt32LE(4) : MESSAGE_HEADER_SIZE;
  const end = 4 + ((length + 3) & ~3);
  if (length < MESSAGE_HEADER_SIZE || end > body.length) {
    throw new NetlinkFormatError(`an error message of ${body.length} bytes with a request of ${length}`);
  }
  return end;
}

const NAMES: Readonly<Record<number, readonly [prefix: string, types: Readonly<Record<string, number>>]>> = {
  [RTM.NEWLINK]: ['IFLA_', IFLA],
  [RTM.DELLINK]: ['IFLA_', IFLA],
  [RTM.GETLINK]: ['IFLA_', IFLA],
  [RTM.NEWLINKPROP]: ['IFLA_', IFLA],
  [RTM.DELLINKPROP]: ['IFLA_', IFLA],
  [RTM.NEWADDR]: ['IFA_', IFA],
  [RTM.DELADDR]: ['IFA_', IFA],
  [RTM.NEWROUTE]: ['RTA_', RTA],
  [RTM.DELROUTE]: ['RTA_', RTA],
  [RTM.GETROUTE]: ['RTA_', RTA],
};

function attributeName(requestType: number, type: number): string {
  const [prefix, types] = NAMES[requestType] ?? ['attribute ', {}];
  const name = Object.keys(types).find(key => types[key] === type);
  return `${prefix}${name ?? type}`;
}

/** The attribute that an acknowledgement complains about: 'IFLA_MTU', or 'IFLA_LINKINFO/2/1' for one inside. */
export function blamedAttribute(request: NetlinkRequest, { offset, missing }: Ack): string | undefined {
  if (missing !== undefined) return attributeName(request.type, missing);
  if (offset === undefined) return undefined;
  const start = MESSAGE_HEADER_SIZE + request.header.length;
  const [outer, ...inner] = pathTo(request.attributes, start, offset);
  return outer === undefined ? undefined : [attributeName(request.type, outer), ...inner].join('/');
}

/** The types from the outermost attribute to the one at `offset`; the first of `attributes` is at `start`. */
function pathTo(attributes: readonly Attribute[], start: number, offset: number): number[] {
  let begin = start;
  for (const attribute of attributes) {
    const end = begin + attributesSize([attribute]);
    if (offset >= begin && offset < end) {
      const value = begin + 4 + attribute.data.length;
      return [attribute.type, ...pathTo(attribute.nested ?? [], value, offset)];
    }
    begin = end;
  }
  return [];
}
