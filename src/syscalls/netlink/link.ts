/** Requests about links: rtnetlink(7), struct ifinfomsg of linux/rtnetlink.h, IFLA_* of linux/if_link.h. Pure. */
import * as attribute from './attributes.js';
import type { Attribute } from './codec.js';
import { AF, IFF, IFLA, IFLA_INFO, NLA_F, NLM_F, RTEXT_FILTER_SKIP_STATS, RTM, VETH_INFO_PEER } from './constants.js';
import {
  checkAltName,
  checkFd,
  checkIndex,
  checkName,
  checkU32,
  describe,
  invalid,
  isShortName,
  parseMac,
} from './input.js';
import type { NetlinkRequest } from './request.js';

/** What every new link may be given. */
export interface LinkSettings {
  /** At most 15 bytes. */
  readonly name: string;
  /** 'aa:bb:cc:dd:ee:ff'; without it the kernel makes one up. */
  readonly mac?: string | undefined;
  /** Bytes. */
  readonly mtu?: number | undefined;
  /** Packets. */
  readonly txqlen?: number | undefined;
}

export interface NewLink extends LinkSettings {
  readonly up?: boolean | undefined;
  /** Index of the bridge it becomes a port of. */
  readonly master?: number | undefined;
}

/** A net namespace to put a link into: by an open file of it, or by a process in it. At most one of them. */
export interface NetnsTarget {
  readonly netnsFd?: number | undefined;
  readonly netnsPid?: number | undefined;
}

/**
 * The other end of a veth. It cannot be born up (the kernel opens it before it has its peer: ENOTCONN) nor as a
 * port of a bridge (IFLA_MASTER is not looked at).
 */
export interface VethPeer extends LinkSettings, NetnsTarget {}

export interface NewVeth extends NewLink {
  readonly peer: VethPeer;
}

export interface LinkChanges extends NetnsTarget {
  readonly up?: boolean | undefined;
  /** Together with a namespace: the name it has there. */
  readonly name?: string | undefined;
  readonly mac?: string | undefined;
  /** Bytes. */
  readonly mtu?: number | undefined;
  /** Packets. */
  readonly txqlen?: number | undefined;
  /** Index of a bridge; null takes the link out of the one it is in. */
  readonly master?: number | null | undefined;
}

/** A link by its index, its name or one of its alternative names. */
export type LinkRef = number | string;

/** struct ifinfomsg: u8 family, u8, u16 type, s32 index, u32 flags, u32 which flags to change. */
export const IFINFOMSG_SIZE = 16;

export function ifinfomsg(index = 0, flags = 0, change = 0): Buffer {
  const header = Buffer.alloc(IFINFOMSG_SIZE);
  header.writeUInt8(AF.UNSPEC, 0);
  header.writeInt32LE(index, 4);
  header.writeUInt32LE(flags, 8);
  header.writeUInt32LE(change, 12);
  return header;
}

const upHeader = (index: number, up: boolean | undefined): Buffer =>
  up === undefined ? ifinfomsg(index) : ifinfomsg(index, up ? IFF.UP : 0, IFF.UP);

function netnsAttributes({ netnsFd, netnsPid }: NetnsTarget, field: string): Attribute[] {
  if (netnsFd !== undefined && netnsPid !== undefined) {
    throw invalid(`${field}netnsFd`, 'give a namespace by file descriptor or by pid, not both');
  }
  if (netnsFd !== undefined) return [attribute.u32(IFLA.NET_NS_FD, checkFd(netnsFd, `${field}netnsFd`))];
  if (netnsPid !== undefined) return [attribute.u32(IFLA.NET_NS_PID, checkIndex(netnsPid, `${field}netnsPid`))];
  return [];
}

/** The attributes that new and changed links share; `field` is the path in front: '' or 'peer.'. */
function settings(link: LinkChanges, field: string): Attribute[] {
  const { mac, mtu, txqlen, master, name } = link;
  const list: Attribute[] = [];
  if (mac !== undefined) list.push(attribute.bytes(IFLA.ADDRESS, parseMac(mac, `${field}mac`)));
  if (mtu !== undefined) list.push(attribute.u32(IFLA.MTU, checkU32(mtu, `${field}mtu`)));
  if (txqlen !== undefined) list.push(attribute.u32(IFLA.TXQLEN, checkU32(txqlen, `${field}txqlen`)));
  // 0 is the kernel's "no master"; the caller says null, so that an index that was never set is not taken for it.
  if (master === null) list.push(attribute.u32(IFLA.MASTER, 0));
  else if (master !== undefined) list.push(attribute.u32(IFLA.MASTER, checkIndex(master, `${field}master`)));
  list.push(...netnsAttributes(link, field));
  if (name !== undefined) list.push(attribute.cstring(IFLA.IFNAME, checkName(name, `${field}name`)));
  return list;
}

function newLinkRequest(kind: string, link: NewLink, data: readonly Attribute[] = []): NetlinkRequest {
  const { name, mac, mtu, txqlen, up, master } = link;
  // checkName also refuses an absent name: the kernel would make one up.
  const own = settings({ name: checkName(name, 'name'), mac, mtu, txqlen, master }, '');
  const info = [attribute.text(IFLA_INFO.KIND, kind)];
  if (data.length > 0) info.push(attribute.nest(IFLA_INFO.DATA, data));
  return {
    type: RTM.NEWLINK,
    // ECHO (honoured since 6.2) brings back the new link, with its index, on the same round trip.
    flags: NLM_F.CREATE | NLM_F.EXCL | NLM_F.ECHO,
    header: upHeader(0, up),
    attributes: [...own, attribute.nest(IFLA.LINKINFO, info)],
    operands: `${kind} ${describe(link)}`,
  };
}

/** A pair of veth links: one end here, the other here or in another net namespace, in one message. */
export function newVethRequest(veth: NewVeth): NetlinkRequest {
  const { name, mac, mtu, txqlen, netnsFd, netnsPid } = veth.peer;
  const peer = settings({ name: checkName(name, 'peer.name'), mac, mtu, txqlen, netnsFd, netnsPid }, 'peer.');
  return newLinkRequest('veth', veth, [attribute.nest(VETH_INFO_PEER, peer, ifinfomsg())]);
}

/** A bridge, spanning tree off. Give it a MAC: without one it takes its ports' lowest, which changes with them. */
export function newBridgeRequest(link: NewLink): NetlinkRequest {
  return newLinkRequest('bridge', link);
}

export function newDummyRequest(link: NewLink): NetlinkRequest {
  return newLinkRequest('dummy', link);
}

/**
 * Changes a link. The kernel (do_setlink) moves it to the namespace first, under the new name, and does the rest
 * there: with a namespace, `master` is an index of that namespace. It is no transaction: what comes before the
 * part that fails has been done.
 */
export function setLinkRequest(index: number, changes: LinkChanges): NetlinkRequest {
  return {
    type: RTM.NEWLINK,
    flags: 0,
    header: upHeader(checkIndex(index, 'index'), changes.up),
    attributes: settings(changes, ''),
    operands: describe({ index, ...changes }),
  };
}

export function deleteLinkRequest(index: number): NetlinkRequest {
  const header = ifinfomsg(checkIndex(index, 'index'));
  return { type: RTM.DELLINK, flags: 0, header, attributes: [], operands: describe({ index }) };
}

function altNamesRequest(type: number, flags: number, index: number, names: readonly string[]): NetlinkRequest {
  if (names.length === 0) throw invalid('altNames', 'at least one name is needed');
  const list = names.map((name, at) => attribute.cstring(IFLA.ALT_IFNAME, checkAltName(name, `altNames[${at}]`)));
  return {
    type,
    flags,
    header: ifinfomsg(checkIndex(index, 'index')),
    attributes: [attribute.nest(IFLA.PROP_LIST, list, undefined, NLA_F.NESTED)],
    operands: describe({ index, altNames: names }),
  };
}

/** Adds alternative names (5.5+); a link keeps them when it is renamed or moved to another namespace. */
export function addAltNamesRequest(index: number, names: readonly string[]): NetlinkRequest {
  return altNamesRequest(RTM.NEWLINKPROP, NLM_F.CREATE | NLM_F.EXCL | NLM_F.APPEND, index, names);
}

export function deleteAltNamesRequest(index: number, names: readonly string[]): NetlinkRequest {
  return altNamesRequest(RTM.DELLINKPROP, 0, index, names);
}

const extMask = attribute.u32(IFLA.EXT_MASK, RTEXT_FILTER_SKIP_STATS);

export function getLinkRequest(ref: LinkRef): NetlinkRequest {
  const request = { type: RTM.GETLINK, flags: 0, operands: String(ref) };
  if (typeof ref === 'number') return { ...request, header: ifinfomsg(checkIndex(ref, 'link')), attributes: [extMask] };
  const name = checkAltName(ref, 'link');
  // Either finds both kinds of name; IFLA_IFNAME takes no long ones.
  const type = isShortName(name) ? IFLA.IFNAME : IFLA.ALT_IFNAME;
  return { ...request, header: ifinfomsg(), attributes: [extMask, attribute.cstring(type, name)] };
}

export function dumpLinksRequest(): NetlinkRequest {
  return { type: RTM.GETLINK, flags: 0, header: ifinfomsg(), attributes: [extMask], operands: '' };
}
