/**
 * Links, addresses and routes of one net namespace, by the kernel's own interface: rtnetlink(7). Blocking calls,
 * for worker threads. Wrong input is a CaissonError SPEC_INVALID naming the `field`, a refusal of the kernel a
 * NetlinkError with errno, operands and the kernel's words, an answer that does not come a CaissonError TIMEOUT.
 */
import type { ERRNO } from '../../spec/errno.js';
import {
  type Address,
  type AddressFilter,
  type AddressOptions,
  addAddressRequest,
  deleteAddressRequest,
  dumpAddressesRequest,
  parseAddress,
} from './address.js';
import { NetlinkFormatError } from './codec.js';
import { RTM } from './constants.js';
import { NetlinkError } from './error.js';
import { Exchange, type Transport } from './exchange.js';
import {
  addAltNamesRequest,
  deleteAltNamesRequest,
  deleteLinkRequest,
  dumpLinksRequest,
  getLinkRequest,
  type LinkChanges,
  type LinkRef,
  type NewLink,
  type NewVeth,
  newBridgeRequest,
  newDummyRequest,
  newVethRequest,
  setLinkRequest,
} from './link.js';
import { type Link, parseLink } from './link-reply.js';
import type { NetlinkRequest } from './request.js';
import {
  addRouteRequest,
  deleteRouteRequest,
  dumpRoutesRequest,
  type RouteFilter,
  type RouteOptions,
} from './route.js';
import { parseRoute, type Route } from './route-reply.js';
import { NetlinkSocket, type SocketOptions } from './socket.js';

export type { Address, AddressFilter, AddressFlag, AddressOptions, Scope } from './address.js';
export { NetlinkFormatError } from './codec.js';
export { NetlinkError } from './error.js';
export type { Transport } from './exchange.js';
export type { LinkChanges, LinkRef, NewLink, NewVeth, VethPeer } from './link.js';
export type { Link, LinkFlag, OperState } from './link-reply.js';
export type { RouteFilter, RouteOptions, RouteProtocol, RouteType } from './route.js';
export type { NextHop, NextHopFlag, Route } from './route-reply.js';
export { NetlinkSocket, type SocketOptions, ThreadLostError } from './socket.js';

export interface VethIndexes {
  readonly index: number;
  /** In the namespace the peer was put into. */
  readonly peerIndex: number;
}

export class RtNetlink {
  private readonly exchange: Exchange;

  /** `transport` is closed with this object. */
  constructor(private readonly transport: Transport & { close(): void }) {
    this.exchange = new Exchange(transport);
  }

  static open(options?: SocketOptions): RtNetlink {
    return new RtNetlink(NetlinkSocket.open(options));
  }

  /** In another net namespace. Worker threads only, see NetlinkSocket.openIn. */
  static openIn(netnsFd: number, options?: SocketOptions): RtNetlink {
    return new RtNetlink(NetlinkSocket.openIn(netnsFd, options));
  }

  links(): Link[] {
    return this.exchange.dump(dumpLinksRequest()).map(parseLink);
  }

  /** One link by index, name or alternative name; NetlinkError ENODEV if there is none. */
  link(ref: LinkRef): Link {
    const [reply] = this.exchange.request(getLinkRequest(ref));
    if (reply === undefined) throw new NetlinkFormatError('a link was asked for and none was sent');
    return parseLink(reply);
  }

  /** The same, but undefined if there is none. */
  findLink(ref: LinkRef): Link | undefined {
    return unless('ENODEV', () => this.link(ref));
  }

  /** A pair of veth links in one message, the peer where `peer.netnsFd` or `peer.netnsPid` says. */
  createVeth(veth: NewVeth): VethIndexes {
    const { index, linkIndex } = this.create(newVethRequest(veth), veth.name);
    if (linkIndex === undefined) throw new NetlinkFormatError(`veth ${veth.name} without the index of its peer`);
    return { index, peerIndex: linkIndex };
  }

  /** Returns its index, as createDummy does. */
  createBridge(bridge: NewLink): number {
    return this.create(newBridgeRequest(bridge), bridge.name).index;
  }

  createDummy(dummy: NewLink): number {
    return this.create(newDummyRequest(dummy), dummy.name).index;
  }

  /** Changes a link, or moves it to another namespace (and renames it) and changes it there; see setLinkRequest. */
  setLink(index: number, changes: LinkChanges): void {
    this.exchange.request(setLinkRequest(index, changes));
  }

  /** Deletes a link, of a veth both ends. Takes some 20 ms in the kernel: not where somebody waits. */
  deleteLink(index: number): void {
    this.exchange.request(deleteLinkRequest(index));
  }

  addAltNames(index: number, names: readonly string[]): void {
    this.exchange.request(addAltNamesRequest(index, names));
  }

  deleteAltNames(index: number, names: readonly string[]): void {
    this.exchange.request(deleteAltNamesRequest(index, names));
  }

  /** Of all links or of one, of one family or both. */
  addresses(filter: AddressFilter = {}): Address[] {
    const { index, family } = filter;
    const list = this.exchange.dump(dumpAddressesRequest(filter)).map(parseAddress);
    // The kernel has filtered already, unless it does not know the family (no IPv6) and answers for all of them.
    return list.filter(
      (item): item is Address =>
        item !== undefined &&
        (index === undefined || item.index === index) &&
        (family === undefined || item.family === family),
    );
  }

  /** Adds '10.0.0.1/24' or 'fd00::1/64' to a link. */
  addAddress(index: number, address: string, options?: AddressOptions): void {
    this.exchange.request(addAddressRequest(index, address, options));
  }

  deleteAddress(index: number, address: string, peer?: string): void {
    this.exchange.request(deleteAddressRequest(index, address, peer));
  }

  /** Of both families and all tables unless the filter says otherwise. A table that does not exist has no routes. */
  routes(filter: RouteFilter = {}): Route[] {
    const families = filter.family === undefined ? ([4, 6] as const) : [filter.family];
    return families.flatMap(family => {
      const dump = () => this.exchange.dump(dumpRoutesRequest(family, filter));
      const list = (unless('ENOENT', dump) ?? []).map(parseRoute);
      return list.filter((item): item is Route => item !== undefined && item.family === family);
    });
  }

  addRoute(route: RouteOptions): void {
    this.exchange.request(addRouteRequest(route));
  }

  /** Adds a route, in place of the one to the same prefix, table and metric if there is one. */
  replaceRoute(route: RouteOptions): void {
    this.exchange.request(addRouteRequest(route, true));
  }

  deleteRoute(route: RouteOptions): void {
    this.exchange.request(deleteRouteRequest(route));
  }

  /** Closes the socket; once more does nothing. */
  close(): void {
    this.transport.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** Kernels before 6.2 do not echo what they made: ask. */
  private create(request: NetlinkRequest, name: string): Link {
    const echo = this.exchange.request(request).find(({ type }) => type === RTM.NEWLINK);
    return echo === undefined ? this.link(name) : parseLink(echo);
  }
}

/** The result of `call`, or undefined where the kernel refuses with `errno`. */
function unless<T>(errno: keyof typeof ERRNO, call: () => T): T | undefined {
  try {
    return call();
  } catch (error) {
    if (error instanceof NetlinkError && error.errno === errno) return undefined;
    throw error;
  }
}
