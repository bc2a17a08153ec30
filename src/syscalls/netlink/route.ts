/** Requests about routes: rtnetlink(7), struct rtmsg and RTA_* of linux/rtnetlink.h. Pure. */
import type { Scope } from './address.js';
import * as attribute from './attributes.js';
import type { Attribute } from './codec.js';
import { MAIN_TABLE, NEXTHOP_FLAGS, NLM_F, PROTOCOLS, ROUTE_TYPES, RTA, RTM, SCOPES } from './constants.js';
import { checkIndex, checkInteger, checkU32, describe, invalid, numberOf } from './input.js';
import { afOf, type Family, hasHostBits, type Prefix, parseIp, parsePrefix } from './ip.js';
import type { NetlinkRequest } from './request.js';

export type RouteType = keyof typeof ROUTE_TYPES | number;
export type RouteProtocol = keyof typeof PROTOCOLS | number;

export interface RouteOptions {
  /** 'default', or a prefix without host bits: '10.1.0.0/16'. */
  readonly destination: string;
  /** Needed only for 'default' without a gateway. */
  readonly family?: Family | undefined;
  /** Next hop. For an IPv4 route it may be an IPv6 address (5.2+). */
  readonly gateway?: string | undefined;
  /** Link by which packets leave. */
  readonly index?: number | undefined;
  /** Source address of what this host sends by the route (RTA_PREFSRC). */
  readonly source?: string | undefined;
  /** The lower goes first; IPv6 makes 1024 of an absent one. */
  readonly metric?: number | undefined;
  /** 1 to 2^32 - 1; default 254, the main table. */
  readonly table?: number | undefined;
  /** Default unicast. */
  readonly type?: RouteType | undefined;
  /** Default as with ip(8): IPv4 without a gateway 'link', local 'host', otherwise 'global'. */
  readonly scope?: Scope | undefined;
  /** Default 'boot', as with ip(8). */
  readonly protocol?: RouteProtocol | undefined;
  /** Take the gateway for a neighbour on `index` though no prefix says so. */
  readonly onlink?: boolean | undefined;
}

export interface RouteFilter {
  /** Default: both. */
  readonly family?: Family | undefined;
  /** Default: all tables, 'local' (255) included. */
  readonly table?: number | undefined;
  readonly index?: number | undefined;
}

/** struct rtmsg: u8 family, dst_len, src_len, tos, table, protocol, scope, type; u32 flags. */
export const RTMSG_SIZE = 12;

interface Rtmsg {
  readonly family: Family;
  readonly length?: number;
  readonly table?: number;
  readonly protocol?: number;
  readonly scope?: number;
  readonly type?: number;
  readonly flags?: number;
}

function rtmsg({ family, length = 0, table = 0, protocol = 0, scope = 0, type = 0, flags = 0 }: Rtmsg): Buffer {
  const header = Buffer.from([afOf(family), length, 0, 0, table, protocol, scope, type, 0, 0, 0, 0]);
  header.writeUInt32LE(flags, 8);
  return header;
}

function destinationOf({ destination, family, gateway }: RouteOptions): Prefix {
  if (destination === 'default') {
    const chosen = family ?? (gateway === undefined ? undefined : parseIp(gateway, 'gateway').family);
    if (chosen === undefined) throw invalid('family', "4 or 6 is needed for 'default' without a gateway");
    return { family: chosen, bytes: Buffer.alloc(chosen === 4 ? 4 : 16), length: 0 };
  }
  const prefix = parsePrefix(destination, 'destination');
  if (family !== undefined && family !== prefix.family) {
    throw invalid('family', `${destination} is not of family ${family}`);
  }
  if (hasHostBits(prefix)) {
    // IPv4 answers EINVAL, IPv6 cuts them off without a word.
    throw invalid('destination', `${destination} has bits set behind its prefix`, 'write the prefix with zeros there');
  }
  return prefix;
}

/** RTA_GATEWAY, or RTA_VIA (u16 family and address) for an IPv4 route by way of an IPv6 neighbour. */
function gatewayAttribute(gateway: string, family: Family): Attribute {
  const ip = parseIp(gateway, 'gateway');
  if (ip.family === family) return attribute.bytes(RTA.GATEWAY, ip.bytes);
  if (family === 6) throw invalid('gateway', `${gateway} cannot be the gateway of an IPv6 route`);
  return attribute.bytes(RTA.VIA, Buffer.concat([Buffer.from([afOf(ip.family), 0]), ip.bytes]));
}

function routeAttributes(route: RouteOptions, destination: Prefix, table: number): Attribute[] {
  const { gateway, metric, source, index } = route;
  const list: Attribute[] = [];
  if (destination.length > 0) list.push(attribute.bytes(RTA.DST, destination.bytes));
  if (gateway !== undefined) list.push(gatewayAttribute(gateway, destination.family));
  if (metric !== undefined) list.push(attribute.u32(RTA.PRIORITY, checkU32(metric, 'metric')));
  if (source !== undefined) {
    const ip = parseIp(source, 'source');
    if (ip.family !== destination.family) throw invalid('source', `${source} is not of the destination's family`);
    list.push(attribute.bytes(RTA.PREFSRC, ip.bytes));
  }
  if (table > 0xff) list.push(attribute.u32(RTA.TABLE, table));
  if (index !== undefined) list.push(attribute.u32(RTA.OIF, checkIndex(index, 'index')));
  return list;
}

function defaultScope(type: number, family: Family, gateway: string | undefined): Scope {
  if (family === 6) return 'global';
  if (type === ROUTE_TYPES.local) return 'host';
  const near = type === ROUTE_TYPES.broadcast || type === ROUTE_TYPES.multicast || type === ROUTE_TYPES.anycast;
  return near || (type === ROUTE_TYPES.unicast && gateway === undefined) ? 'link' : 'global';
}

function checkedTable(table: number | undefined): number {
  return checkInteger(table ?? MAIN_TABLE, 'table', 1, 0xffff_ffff);
}

/** Adds a route, EEXIST if there is one to the same prefix, table and metric; `replace` takes that one's place. */
export function addRouteRequest(route: RouteOptions, replace = false): NetlinkRequest {
  const destination = destinationOf(route);
  const table = checkedTable(route.table);
  const type = numberOf(ROUTE_TYPES, route.type ?? 'unicast', 'type');
  const header = rtmsg({
    family: destination.family,
    length: destination.length,
    // A number that does not fit the byte goes into RTA_TABLE alone.
    table: table > 0xff ? 0 : table,
    protocol: numberOf(PROTOCOLS, route.protocol ?? 'boot', 'protocol'),
    scope: numberOf(SCOPES, route.scope ?? defaultScope(type, destination.family, route.gateway), 'scope'),
    type,
    flags: route.onlink ? NEXTHOP_FLAGS.onlink : 0,
  });
  return {
    type: RTM.NEWROUTE,
    flags: NLM_F.CREATE | (replace ? NLM_F.REPLACE : NLM_F.EXCL),
    header,
    attributes: routeAttributes(route, destination, table),
    operands: describe(route),
  };
}

/** Deletes the first route that fits; what is not given fits anything (the table is main if not given). */
export function deleteRouteRequest(route: RouteOptions): NetlinkRequest {
  const destination = destinationOf(route);
  const table = checkedTable(route.table);
  const header = rtmsg({
    family: destination.family,
    length: destination.length,
    table: table > 0xff ? 0 : table,
    protocol: route.protocol === undefined ? 0 : numberOf(PROTOCOLS, route.protocol, 'protocol'),
    // 'nowhere' is IPv4's wildcard; IPv6 has no scopes of routes.
    scope: numberOf(SCOPES, route.scope ?? (destination.family === 4 ? 'nowhere' : 'global'), 'scope'),
    type: route.type === undefined ? 0 : numberOf(ROUTE_TYPES, route.type, 'type'),
  });
  const attributes = routeAttributes(route, destination, table);
  return { type: RTM.DELROUTE, flags: 0, header, attributes, operands: describe(route) };
}

/** One family at a time: with AF_UNSPEC the kernel would dump multicast forwarding and MPLS as well. */
export function dumpRoutesRequest(family: Family, { table, index }: RouteFilter = {}): NetlinkRequest {
  const attributes: Attribute[] = [];
  if (table !== undefined) attributes.push(attribute.u32(RTA.TABLE, checkedTable(table)));
  if (index !== undefined) attributes.push(attribute.u32(RTA.OIF, checkIndex(index, 'index')));
  const operands = describe({ family, table, index });
  return { type: RTM.GETROUTE, flags: 0, header: rtmsg({ family }), attributes, operands };
}
