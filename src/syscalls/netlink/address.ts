/** Addresses of links: rtnetlink(7), struct ifaddrmsg and IFA_* of linux/if_addr.h. Pure. */
import * as attribute from './attributes.js';
import { AttributeIndex } from './attributes.js';
import { type Attribute, decodeBody, type Message, NetlinkFormatError } from './codec.js';
import { ADDRESS_FLAGS, IFA, NLM_F, RTM, SCOPES } from './constants.js';
import { checkIndex, checkInteger, checkName, describe, flagNames, invalid, nameOf, numberOf } from './input.js';
import {
  afOf,
  type Family,
  familyOf,
  formatIp,
  formatPrefix,
  lastAddress,
  type Prefix,
  parseIp,
  parsePrefix,
} from './ip.js';
import type { NetlinkRequest } from './request.js';

export type Scope = keyof typeof SCOPES | number;
export type AddressFlag = keyof typeof ADDRESS_FLAGS;

export interface Address {
  /** Of the link that has it. */
  readonly index: number;
  readonly family: Family;
  /** '10.0.0.1/24': the link's own address. With a peer the prefix length is the peer's. */
  readonly address: string;
  /** The other side of a point-to-point address. */
  readonly peer: string | undefined;
  readonly broadcast: string | undefined;
  readonly scope: Scope;
  readonly label: string | undefined;
  readonly flags: readonly AddressFlag[];
  /** Seconds from when it was asked; null is for ever. */
  readonly validSeconds: number | null;
  readonly preferredSeconds: number | null;
}

export interface AddressOptions {
  readonly peer?: string | undefined;
  /** IPv4 only; 'auto' is the last address of the prefix. Without it there is none, as with ip(8). */
  readonly broadcast?: string | undefined;
  /** Default: global, and host for 127.0.0.0/8. */
  readonly scope?: Scope | undefined;
  /** IPv4 only. */
  readonly label?: string | undefined;
  /** IPv6: usable at once; duplicate address detection would keep it tentative for a second or more. */
  readonly nodad?: boolean | undefined;
  /** Do not add the route to the prefix. */
  readonly noprefixroute?: boolean | undefined;
  readonly validSeconds?: number | undefined;
  readonly preferredSeconds?: number | undefined;
}

export interface AddressFilter {
  readonly index?: number | undefined;
  readonly family?: Family | undefined;
}

/** INFINITY_LIFE_TIME of net/addrconf.h. */
const FOREVER = 0xffff_ffff;
/** struct ifaddrmsg: u8 family, u8 prefix length, u8 flags, u8 scope, u32 index. */
const IFADDRMSG_SIZE = 8;

function ifaddrmsg(af: number, length: number, flags: number, scope: number, index: number): Buffer {
  const header = Buffer.from([af, length, flags & 0xff, scope, 0, 0, 0, 0]);
  header.writeUInt32LE(index, 4);
  return header;
}

/** IFA_LOCAL is our address, IFA_ADDRESS the peer's; without a peer both are ours. */
function addressPair(prefix: Prefix, peer: string | undefined): Attribute[] {
  const other = peer === undefined ? prefix : parseIp(peer, 'peer');
  if (other.family !== prefix.family) throw invalid('peer', `${peer} is not of the same family as the address`);
  return [attribute.bytes(IFA.LOCAL, prefix.bytes), attribute.bytes(IFA.ADDRESS, other.bytes)];
}

function v4Attributes(prefix: Prefix, { broadcast, label }: AddressOptions): Attribute[] {
  const list: Attribute[] = [];
  if (label !== undefined) {
    // Labels are names of links, and 'eth0:1' is what they are for.
    checkName(typeof label === 'string' ? label.replaceAll(':', '.') : label, 'label');
    list.push(attribute.cstring(IFA.LABEL, label));
  }
  if (broadcast !== undefined) {
    const ip = broadcast === 'auto' ? lastAddress(prefix) : parseIp(broadcast, 'broadcast').bytes;
    if (ip.length !== 4) throw invalid('broadcast', `${broadcast} is not an IPv4 address`);
    list.push(attribute.bytes(IFA.BROADCAST, ip));
  }
  return list;
}

/** struct ifa_cacheinfo: u32 preferred, valid (seconds), created, updated. */
function cacheInfo({ validSeconds, preferredSeconds }: AddressOptions): Attribute[] {
  if (validSeconds === undefined && preferredSeconds === undefined) return [];
  const valid = checkInteger(validSeconds ?? FOREVER, 'validSeconds', 1, FOREVER);
  const preferred = checkInteger(preferredSeconds ?? valid, 'preferredSeconds', 0, FOREVER);
  if (preferred > valid) throw invalid('preferredSeconds', `${preferred} is longer than validSeconds, ${valid}`);
  const data = Buffer.alloc(16);
  data.writeUInt32LE(preferred, 0);
  data.writeUInt32LE(valid, 4);
  return [attribute.bytes(IFA.CACHEINFO, data)];
}

export function addAddressRequest(index: number, address: string, options: AddressOptions = {}): NetlinkRequest {
  const prefix = parsePrefix(address, 'address');
  const list = addressPair(prefix, options.peer);
  if (prefix.family === 4) list.push(...v4Attributes(prefix, options));
  else if (options.broadcast !== undefined) throw invalid('broadcast', 'IPv6 has no broadcast');
  else if (options.label !== undefined) throw invalid('label', 'an IPv6 address has no label');
  const { nodad, noprefixroute } = options;
  const flags = (nodad ? ADDRESS_FLAGS.nodad : 0) | (noprefixroute ? ADDRESS_FLAGS.noprefixroute : 0);
  // IFA_FLAGS replaces the header's byte where that one is too narrow.
  if (flags > 0xff) list.push(attribute.u32(IFA.FLAGS, flags));
  list.push(...cacheInfo(options));
  const loopback = prefix.family === 4 && prefix.bytes[0] === 127;
  const scope = numberOf(SCOPES, options.scope ?? (loopback ? 'host' : 'global'), 'scope');
  return {
    type: RTM.NEWADDR,
    flags: NLM_F.CREATE | NLM_F.EXCL,
    header: ifaddrmsg(afOf(prefix.family), prefix.length, flags, scope, checkIndex(index, 'index')),
    attributes: list,
    operands: describe({ index, address, ...options }),
  };
}

/** Takes away the address; one with a peer has to be named with it. */
export function deleteAddressRequest(index: number, address: string, peer?: string): NetlinkRequest {
  const prefix = parsePrefix(address, 'address');
  return {
    type: RTM.DELADDR,
    flags: 0,
    header: ifaddrmsg(afOf(prefix.family), prefix.length, 0, 0, checkIndex(index, 'index')),
    attributes: addressPair(prefix, peer),
    operands: describe({ index, address, peer }),
  };
}

export function dumpAddressesRequest(filter: AddressFilter = {}): NetlinkRequest {
  const { index, family } = filter;
  const af = family === undefined ? 0 : afOf(family);
  const header = ifaddrmsg(af, 0, 0, 0, index === undefined ? 0 : checkIndex(index, 'index'));
  return { type: RTM.GETADDR, flags: 0, header, attributes: [], operands: describe(filter) };
}

const seconds = (value: number): number | null => (value === FOREVER ? null : value);

/** Reads one RTM_NEWADDR; undefined for an address that is not IP. */
export function parseAddress(message: Message): Address | undefined {
  if (message.type !== RTM.NEWADDR) {
    throw new NetlinkFormatError(`message ${message.type} where an address was expected`);
  }
  const { header, attributes } = decodeBody(message.body, IFADDRMSG_SIZE);
  const family = familyOf(header.readUInt8(0));
  if (family === undefined) return undefined;
  const found = new AttributeIndex(attributes);
  const other = found.bytes(IFA.ADDRESS);
  const own = found.bytes(IFA.LOCAL) ?? other;
  if (own === undefined) throw new NetlinkFormatError('an address message without an address');
  const cache = found.bytes(IFA.CACHEINFO);
  if (cache !== undefined && cache.length < 8) throw new NetlinkFormatError('a short ifa_cacheinfo');
  const broadcast = found.bytes(IFA.BROADCAST);
  return {
    index: header.readUInt32LE(4),
    family,
    address: formatPrefix(own, header.readUInt8(1)),
    peer: other === undefined || other.equals(own) ? undefined : formatIp(other),
    broadcast: broadcast === undefined ? undefined : formatIp(broadcast),
    scope: nameOf(SCOPES, header.readUInt8(3)),
    label: found.string(IFA.LABEL),
    flags: flagNames(ADDRESS_FLAGS, found.u32(IFA.FLAGS) ?? header.readUInt8(2)),
    validSeconds: seconds(cache?.readUInt32LE(4) ?? FOREVER),
    preferredSeconds: seconds(cache?.readUInt32LE(0) ?? FOREVER),
  };
}
