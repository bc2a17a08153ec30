/** RTM_NEWROUTE as the kernel sends it, as plain data. Pure. */
import type { Scope } from './address.js';
import { AttributeIndex } from './attributes.js';
import { decodeAttributes, decodeBody, type Message, NetlinkFormatError } from './codec.js';
import { NEXTHOP_FLAGS, PROTOCOLS, ROUTE_TYPES, RTA, RTM, SCOPES } from './constants.js';
import { flagNames, nameOf } from './input.js';
import { type Family, familyOf, formatIp, formatPrefix } from './ip.js';
import { type RouteProtocol, type RouteType, RTMSG_SIZE } from './route.js';

export type NextHopFlag = keyof typeof NEXTHOP_FLAGS;

/** One of several ways of a multipath route. */
export interface NextHop {
  readonly index: number;
  readonly gateway: string | undefined;
  readonly weight: number;
  readonly flags: readonly NextHopFlag[];
}

/** A route as the kernel has it. With one next hop it can be given to addRoute again (`onlink` is in `flags`). */
export interface Route {
  readonly family: Family;
  readonly destination: string;
  readonly type: RouteType;
  readonly table: number;
  readonly protocol: RouteProtocol;
  readonly scope: Scope;
  readonly index: number | undefined;
  readonly gateway: string | undefined;
  readonly source: string | undefined;
  readonly metric: number | undefined;
  readonly flags: readonly NextHopFlag[];
  /** Empty but for a multipath route, which has index and gateway here. */
  readonly nextHops: readonly NextHop[];
}

function gatewayOf(attributes: AttributeIndex): string | undefined {
  const gateway = attributes.bytes(RTA.GATEWAY);
  if (gateway !== undefined) return formatIp(gateway);
  // struct rtvia: u16 family, address.
  const via = attributes.bytes(RTA.VIA);
  return via === undefined || via.length < 2 ? undefined : formatIp(via.subarray(2));
}

/** struct rtnexthop: u16 length (its attributes included), u8 flags, u8 weight - 1, s32 index. */
const RTNEXTHOP_SIZE = 8;

function nextHops(bytes: Buffer | undefined): NextHop[] {
  const hops: NextHop[] = [];
  let offset = 0;
  while (bytes !== undefined && offset < bytes.length) {
    const left = bytes.length - offset;
    const length = left < RTNEXTHOP_SIZE ? 0 : bytes.readUInt16LE(offset);
    if (length < RTNEXTHOP_SIZE || length > left) {
      throw new NetlinkFormatError(`next hop of ${length} bytes where ${left} are left`);
    }
    const attributes = decodeAttributes(bytes.subarray(offset + RTNEXTHOP_SIZE, offset + length));
    hops.push({
      index: bytes.readInt32LE(offset + 4),
      gateway: gatewayOf(new AttributeIndex(attributes)),
      weight: bytes.readUInt8(offset + 3) + 1,
      flags: flagNames(NEXTHOP_FLAGS, bytes.readUInt8(offset + 2)),
    });
    offset += (length + 3) & ~3;
  }
  return hops;
}

/** Reads one RTM_NEWROUTE; undefined for a route that is not IP. */
export function parseRoute(message: Message): Route | undefined {
  if (message.type !== RTM.NEWROUTE) throw new NetlinkFormatError(`message ${message.type} where a route was expected`);
  const { header, attributes } = decodeBody(message.body, RTMSG_SIZE);
  const family = familyOf(header.readUInt8(0));
  if (family === undefined) return undefined;
  const found = new AttributeIndex(attributes);
  const length = header.readUInt8(1);
  const destination = found.bytes(RTA.DST) ?? Buffer.alloc(family === 4 ? 4 : 16);
  const source = found.bytes(RTA.PREFSRC);
  return {
    family,
    destination: length === 0 ? 'default' : formatPrefix(destination, length),
    type: nameOf(ROUTE_TYPES, header.readUInt8(7)),
    table: found.u32(RTA.TABLE) ?? header.readUInt8(4),
    protocol: nameOf(PROTOCOLS, header.readUInt8(5)),
    scope: nameOf(SCOPES, header.readUInt8(6)),
    index: found.u32(RTA.OIF),
    gateway: gatewayOf(found),
    source: source === undefined ? undefined : formatIp(source),
    metric: found.u32(RTA.PRIORITY),
    // The lowest byte has the next hop's flags, the higher ones RTM_F_*.
    flags: flagNames(NEXTHOP_FLAGS, header.readUInt32LE(8) & 0xff),
    nextHops: nextHops(found.bytes(RTA.MULTIPATH)),
  };
}
