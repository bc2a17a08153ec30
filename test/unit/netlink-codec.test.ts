/**
 * The netlink codec against what iproute2 sends and the kernel answers (test/unit/fixtures/netlink, made by
 * capture.mjs there), and against bytes that nobody would send.
 */
import { readFileSync } from 'node:fs';
import { isIPv6, SocketAddress } from 'node:net';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CaissonError } from '#src/spec/errors.js';
import { blamedAttribute, decodeAck } from '#src/syscalls/netlink/ack.js';
import {
  addAddressRequest,
  deleteAddressRequest,
  dumpAddressesRequest,
  parseAddress,
} from '#src/syscalls/netlink/address.js';
import * as attribute from '#src/syscalls/netlink/attributes.js';
import {
  type Attribute,
  decodeAttributes,
  decodeBody,
  decodeMessages,
  encodeMessage,
  type Message,
  type Nesting,
  NetlinkFormatError,
} from '#src/syscalls/netlink/codec.js';
import { IFLA, IFLA_INFO, NLA_F, NLM_F, NLMSG, RTA, RTM } from '#src/syscalls/netlink/constants.js';
import { Exchange, type Transport } from '#src/syscalls/netlink/exchange.js';
import { NetlinkError, RtNetlink } from '#src/syscalls/netlink/index.js';
import { describe as describeOperands } from '#src/syscalls/netlink/input.js';
import { formatIp, parseIp, parsePrefix } from '#src/syscalls/netlink/ip.js';
import {
  addAltNamesRequest,
  deleteAltNamesRequest,
  deleteLinkRequest,
  dumpLinksRequest,
  getLinkRequest,
  ifinfomsg,
  newBridgeRequest,
  newDummyRequest,
  newVethRequest,
  setLinkRequest,
} from '#src/syscalls/netlink/link.js';
import { LINK_NESTING, parseLink, VETH_NESTING } from '#src/syscalls/netlink/link-reply.js';
import type { NetlinkRequest } from '#src/syscalls/netlink/request.js';
import { addRouteRequest, deleteRouteRequest, dumpRoutesRequest } from '#src/syscalls/netlink/route.js';
import { parseRoute } from '#src/syscalls/netlink/route-reply.js';
import {
  addressesOf,
  canonical,
  type IpLink,
  type IpRoute,
  indexOf,
  linkOf,
  routeOf,
} from './fixtures/netlink/ip-json.ts';

interface Capture {
  readonly name: string;
  readonly command: string;
  readonly request: string;
  readonly replies: readonly string[];
  readonly json?: unknown;
}
type Topic = 'link' | 'address' | 'route' | 'error';
const TOPICS: readonly Topic[] = ['link', 'address', 'route', 'error'];

function load(topic: Topic): readonly Capture[] {
  const file = new URL(`./fixtures/netlink/${topic}.json`, import.meta.url);
  return (JSON.parse(readFileSync(file, 'utf8')) as { captures: Capture[] }).captures;
}
const CAPTURES = Object.fromEntries(TOPICS.map(topic => [topic, load(topic)])) as Record<Topic, readonly Capture[]>;

function capture(topic: Topic, name: string): Capture {
  const found = CAPTURES[topic].find(each => each.name === name);
  if (found === undefined) throw new Error(`no capture ${topic}/${name}`);
  return found;
}

const hex = (text: string): Buffer => Buffer.from(text, 'hex');
const only = <T>(list: readonly T[]): T => {
  expect(list).toHaveLength(1);
  return list[0] as T;
};
const requestOf = (found: Capture): Message => only(decodeMessages(hex(found.request)));
const repliesOf = (found: Capture): Message[] => found.replies.flatMap(reply => decodeMessages(hex(reply)));

/** Family struct size and nesting of a message type; undefined for netlink's own messages, which have no attributes. */
function shapeOf({ type, body }: Message): { size: number; nesting: Nesting } | undefined {
  if (type < 16) return undefined;
  if (type >= RTM.NEWROUTE && type <= RTM.GETROUTE) return { size: 12, nesting: {} };
  if (type >= RTM.NEWADDR && type <= RTM.GETADDR) return { size: 8, nesting: {} };
  // Only a veth's IFLA_INFO_DATA is attributes behind a struct, so the kind has to be known before.
  const { attributes } = decodeBody(body, 16, LINK_NESTING);
  const info = new attribute.AttributeIndex(new attribute.AttributeIndex(attributes).nested(IFLA.LINKINFO));
  return { size: 16, nesting: info.string(IFLA_INFO.KIND) === 'veth' ? VETH_NESTING : LINK_NESTING };
}

interface Tree {
  readonly type: number;
  readonly flags: number;
  readonly header: string;
  readonly attributes: readonly unknown[];
}

/** The same attributes in the order of their types, bytes as hex: what a message means, without how it was built. */
function attributeTree(attributes: readonly Attribute[]): unknown[] {
  return attributes
    .toSorted((a, b) => a.type - b.type)
    .map(({ type, flags, data, nested }) => ({
      type,
      flags,
      data: data.toString('hex'),
      ...(nested === undefined ? {} : { nested: attributeTree(nested) }),
    }));
}

function treeOf(message: Message): Tree {
  const shape = shapeOf(message);
  const { header, attributes } = decodeBody(message.body, shape?.size ?? 0, shape?.nesting);
  const { type, flags } = message;
  return { type, flags, header: header.toString('hex'), attributes: attributeTree(attributes) };
}

describe('captured messages', () => {
  const all = TOPICS.flatMap(topic =>
    CAPTURES[topic].flatMap(found =>
      [found.request, ...found.replies].map((data, at) => [
        `${topic}/${found.name} ${at === 0 ? 'request' : `reply ${at}`}`,
        data,
      ]),
    ),
  ) as [string, string][];

  it.each(all)('%s comes out of decode and encode byte for byte', (_, data) => {
    const encoded = decodeMessages(hex(data)).map(message => {
      const shape = shapeOf(message);
      if (shape === undefined) return encodeMessage({ ...message, header: message.body, attributes: [] });
      return encodeMessage({ ...message, ...decodeBody(message.body, shape.size, shape.nesting) });
    });
    expect(Buffer.concat(encoded).toString('hex')).toBe(data);
  });
});

/** Our request as the socket would send it, with iproute2's sequence number and without the echo it does not ask for. */
function encoded(request: NetlinkRequest, sequence: number): Buffer {
  const { type, header, attributes } = request;
  const flags = (request.flags & ~NLM_F.ECHO) | NLM_F.REQUEST | NLM_F.ACK;
  return encodeMessage({ type, flags, sequence, header, attributes });
}

/** An u32 attribute of a captured request: a file descriptor or a pid that was what it was. */
function numberIn(found: Capture, type: number): number {
  const { attributes } = decodeBody(requestOf(found).body, 16);
  return new attribute.AttributeIndex(attributes).u32(type) ?? -1;
}

const peerFd = (): number => {
  const { attributes } = decodeBody(requestOf(capture('link', 'veth')).body, 16, VETH_NESTING);
  const of = (list: readonly Attribute[], type: number) => new attribute.AttributeIndex(list).nested(type);
  const peer = of(of(of(attributes, IFLA.LINKINFO), IFLA_INFO.DATA), 1);
  return new attribute.AttributeIndex(peer).u32(IFLA.NET_NS_FD) ?? -1;
};

const V4 = '10.0.0.254';

describe('our requests are those of iproute2', () => {
  const same: [Topic, string, () => NetlinkRequest][] = [
    ['link', 'bridge', () => newBridgeRequest({ name: 'br0', mtu: 1400 })],
    [
      'link',
      'veth',
      () =>
        newVethRequest({
          name: 'v0',
          mac: '02:00:00:00:00:01',
          mtu: 1400,
          txqlen: 500,
          peer: { name: 'v1', mac: '02:00:00:00:00:02', mtu: 1400, txqlen: 500, netnsFd: peerFd() },
        }),
    ],
    ['link', 'veth-up', () => newVethRequest({ name: 'w0', up: true, peer: { name: 'w1' } })],
    ['link', 'dummy', () => newDummyRequest({ name: 'd0' })],
    ['link', 'up', () => setLinkRequest(3, { up: true })],
    ['link', 'down', () => setLinkRequest(3, { up: false })],
    ['link', 'mtu', () => setLinkRequest(3, { mtu: 1300 })],
    ['link', 'mac', () => setLinkRequest(3, { mac: '02:00:00:00:00:03' })],
    ['link', 'txqlen', () => setLinkRequest(3, { txqlen: 77 })],
    ['link', 'master', () => setLinkRequest(3, { master: 2 })],
    ['link', 'nomaster', () => setLinkRequest(3, { master: null })],
    ['link', 'altname-add', () => addAltNamesRequest(3, ['a-rather-long-name-of-v0', 'v0b'])],
    ['link', 'rename', () => setLinkRequest(3, { name: 'v9' })],
    [
      'link',
      'move-fd',
      () => setLinkRequest(3, { name: 'eth0', netnsFd: numberIn(capture('link', 'move-fd'), IFLA.NET_NS_FD) }),
    ],
    [
      'link',
      'move-pid',
      () => setLinkRequest(5, { name: 'eth1', netnsPid: numberIn(capture('link', 'move-pid'), IFLA.NET_NS_PID) }),
    ],
    ['link', 'delete', () => deleteLinkRequest(4)],
    ['address', 'add-v4', () => addAddressRequest(10, '10.0.0.1/24')],
    ['address', 'add-v4-peer', () => addAddressRequest(10, '10.2.0.1/32', { peer: '10.2.0.2', scope: 'link' })],
    ['address', 'add-v6-nodad', () => addAddressRequest(10, 'fd00::1/64', { nodad: true })],
    ['address', 'del-v4', () => deleteAddressRequest(10, '10.1.0.1/16')],
    ['address', 'del-v6', () => deleteAddressRequest(10, 'fd01::1/64')],
    ['route', 'add-default-v4', () => addRouteRequest({ destination: 'default', gateway: V4 })],
    ['route', 'add-prefix-v4', () => addRouteRequest({ destination: '10.7.0.0/16', index: 10 })],
    [
      'route',
      'add-table',
      () =>
        addRouteRequest({
          destination: '10.8.0.0/16',
          gateway: V4,
          index: 10,
          metric: 50,
          source: '10.0.0.1',
          protocol: 'static',
          table: 1000,
        }),
    ],
    [
      'route',
      'add-onlink',
      () => addRouteRequest({ destination: '10.9.0.0/16', gateway: '192.0.2.1', index: 10, onlink: true }),
    ],
    ['route', 'add-blackhole', () => addRouteRequest({ destination: '10.10.0.0/16', type: 'blackhole' })],
    ['route', 'add-prefix-v6', () => addRouteRequest({ destination: 'fd02::/48', index: 10 })],
    ['route', 'replace', () => addRouteRequest({ destination: 'default', gateway: '10.0.0.253' }, true)],
    ['route', 'del-default-v4', () => deleteRouteRequest({ destination: 'default', gateway: '10.0.0.253' })],
    ['route', 'del-prefix-v6', () => deleteRouteRequest({ destination: 'fd02::/48', index: 10 })],
    ['error', 'link-exists', () => newBridgeRequest({ name: 'v0' })],
  ];

  it.each(same)('%s/%s, byte for byte', (topic, name, build) => {
    const found = capture(topic, name);
    const { sequence } = requestOf(found);
    expect(encoded(build(), sequence).toString('hex')).toBe(found.request);
  });

  const alike: [Topic, string, () => NetlinkRequest][] = [
    ['address', 'add-v4-broadcast', () => addAddressRequest(10, '10.1.0.1/16', { broadcast: 'auto', label: 'v0:x' })],
    [
      'address',
      'add-v6-lifetime',
      () => addAddressRequest(10, 'fd01::1/64', { validSeconds: 900, preferredSeconds: 600, noprefixroute: true }),
    ],
  ];
  it.each([...same, ...alike])('%s/%s, the same tree of attributes', (topic, name, build) => {
    const found = requestOf(capture(topic, name));
    expect(treeOf(only(decodeMessages(encoded(build(), found.sequence))))).toEqual(treeOf(found));
  });

  it('a default route of IPv6 but for the destination ::, which iproute2 writes out', () => {
    const found = treeOf(requestOf(capture('route', 'add-default-v6')));
    const ours = addRouteRequest({ destination: 'default', gateway: 'fd00::fe', index: 10, metric: 7 });
    const attributes = found.attributes.filter(each => (each as { type: number }).type !== RTA.DST);
    expect(treeOf(only(decodeMessages(encoded(ours, 1))))).toEqual({ ...found, attributes });
  });

  const dumps: [Topic, string, () => NetlinkRequest][] = [
    ['address', 'dump', () => dumpAddressesRequest()],
    ['address', 'dump-v4-index', () => dumpAddressesRequest({ family: 4, index: 10 })],
    ['route', 'dump-v4', () => dumpRoutesRequest(4)],
    ['route', 'dump-v6', () => dumpRoutesRequest(6)],
    ['route', 'dump-table', () => dumpRoutesRequest(4, { table: 1000 })],
  ];
  it.each(dumps)('%s/%s, a dump', (topic, name, build) => {
    const { header, attributes } = build();
    const [found] = [treeOf(requestOf(capture(topic, name)))];
    expect(found.flags).toBe(NLM_F.REQUEST | NLM_F.DUMP);
    expect({ header: header.toString('hex'), attributes: attributeTree(attributes) }).toEqual({
      header: found.header,
      attributes: found.attributes,
    });
  });

  it('gets of links, which ask for less than iproute2 does', () => {
    const wants = (request: NetlinkRequest) => request.attributes.map(({ type, data }) => [type, data.toString('hex')]);
    const name = (text: string) => Buffer.from(`${text}\0`).toString('hex');
    expect(wants(dumpLinksRequest())).toEqual([[IFLA.EXT_MASK, '08000000']]);
    expect(wants(getLinkRequest('v0'))).toEqual([
      [IFLA.EXT_MASK, '08000000'],
      [IFLA.IFNAME, name('v0')],
    ]);
    const long = 'a-rather-long-name-of-v0';
    expect(wants(getLinkRequest(long))).toEqual([
      [IFLA.EXT_MASK, '08000000'],
      [IFLA.ALT_IFNAME, name(long)],
    ]);
    expect(getLinkRequest(7).header).toEqual(ifinfomsg(7));
  });
});

describe('replies say what ip -json makes of them', () => {
  const ofType = (found: Capture, type: number) => repliesOf(found).filter(message => message.type === type);
  const links = capture('link', 'dump').json as IpLink[];

  it('all links', () => {
    const ours = ofType(capture('link', 'dump'), RTM.NEWLINK).map(parseLink);
    expect(canonical(ours)).toEqual(canonical(links.map(link => linkOf(link, indexOf(links)))));
    expect(ours.find(({ name }) => name === 'v0')).toMatchObject({
      kind: 'veth',
      master: 2,
      mtu: 1300,
      linkNetnsId: 0,
    });
  });

  it.each(['get', 'get-altname'])('one link (%s)', name => {
    const found = capture('link', name);
    const ours = ofType(found, RTM.NEWLINK).map(parseLink);
    expect(canonical(ours)).toEqual([linkOf(only(found.json as IpLink[]), indexOf(links))]);
    expect(ours[0]?.altNames).toEqual(['a-rather-long-name-of-v0', 'v0b']);
  });

  it.each(['dump', 'dump-v4-index'])('addresses (%s)', name => {
    const found = capture('address', name);
    const ours = ofType(found, RTM.NEWADDR).map(message => parseAddress(message)!);
    expect(canonical(ours)).toEqual(canonical(addressesOf(found.json as IpLink[])));
    expect(ours.length).toBeGreaterThan(2);
  });

  it.each([
    ['dump-v4', 4, 254],
    ['dump-v6', 6, 254],
    ['dump-table', 4, 1000],
  ] as const)('routes (%s)', (name, family, table) => {
    const found = capture('route', name);
    const index = indexOf(capture('address', 'dump').json as IpLink[]);
    const ours = ofType(found, RTM.NEWROUTE).map(message => parseRoute(message)!);
    expect(canonical(ours)).toEqual(
      canonical((found.json as IpRoute[]).map(route => routeOf(route, family, index, table))),
    );
    expect(ours.length).toBeGreaterThan(0);
  });
});

describe('acknowledgements', () => {
  it.each([
    ['link-exists', 17, undefined],
    ['unknown-kind', 95, 'Unknown device type'],
    ['mtu-too-small', 22, 'mtu less than device minimum'],
    ['address-exists', 17, 'ipv4: Address already assigned'],
    ['gateway-unreachable', 101, 'Nexthop has invalid gateway'],
    ['host-bits', 22, 'Invalid prefix for given prefix length'],
    ['no-such-route', 3, undefined],
  ])('%s: errno %i, %s', (name, errno, text) => {
    expect(decodeAck(only(repliesOf(capture('error', name))))).toMatchObject({ errno, text });
  });

  it.each(CAPTURES.link.filter(({ json, name }) => json === undefined && name !== 'dummy'))('$name: done', found => {
    expect(decodeAck(only(repliesOf(found))).errno).toBe(0);
  });

  it('names the attribute that is to blame', () => {
    const request = newVethRequest({ name: 'v0', mtu: 1400, peer: { name: 'v1' } });
    const ack = { errno: 34, text: undefined, offset: undefined, missing: undefined };
    expect(blamedAttribute(request, ack)).toBeUndefined();
    expect(blamedAttribute(request, { ...ack, missing: IFLA.LINKINFO })).toBe('IFLA_LINKINFO');
    // Header 16, ifinfomsg 16, IFLA_MTU 8, IFLA_IFNAME 8.
    expect(blamedAttribute(request, { ...ack, offset: 32 })).toBe('IFLA_MTU');
    expect(blamedAttribute(request, { ...ack, offset: 40 })).toBe('IFLA_IFNAME');
    // IFLA_LINKINFO 4, KIND 8, DATA 4, PEER 4, ifinfomsg 16.
    expect(blamedAttribute(request, { ...ack, offset: 48 + 36 })).toBe('IFLA_LINKINFO/2/1/3');
    expect(blamedAttribute(request, { ...ack, offset: 4096 })).toBeUndefined();
  });

  it('is a NetlinkError with everything that is known', () => {
    const request = setLinkRequest(10, { mtu: 10 });
    const error = new NetlinkError(request, decodeAck(only(repliesOf(capture('error', 'mtu-too-small')))));
    expect(error).toMatchObject({
      name: 'NetlinkError',
      call: 'RTM_NEWLINK',
      errno: 'EINVAL',
      number: 22,
      operands: 'index=10 mtu=10',
      extAck: 'mtu less than device minimum',
      message: 'RTM_NEWLINK(index=10 mtu=10): EINVAL: mtu less than device minimum',
    });
  });

  it('flattens operands', () => {
    const operands = { name: 'v0', mtu: undefined, names: ['a', 'b'], master: null, peer: { name: 'v1' } };
    expect(describeOperands(operands)).toBe('name=v0 names=a,b master=null peer.name=v1');
  });
});

/** A transport whose answers are `answers`, one datagram after the other, made when the request is known. */
class Script implements Transport {
  readonly sent: Message[] = [];
  constructor(private readonly answers: ((sequence: number) => Buffer)[]) {}

  send(message: Buffer): void {
    this.sent.push(only(decodeMessages(message)));
  }

  receive(): Buffer {
    const answer = this.answers.shift();
    if (answer === undefined) throw new CaissonError('TIMEOUT', 'the script is over');
    return answer(this.sent.at(-1)!.sequence);
  }

  close(): void {
    this.answers.length = 0;
  }
}

const s32 = (value: number): Buffer => {
  const data = Buffer.alloc(4);
  data.writeInt32LE(value);
  return data;
};
const message = (type: number, flags: number, header: Buffer, sequence: number, list: Attribute[] = []) =>
  encodeMessage({ type, flags, sequence, header, attributes: list });
const done = (sequence: number, flags = 0, errno = 0) =>
  message(NLMSG.DONE, NLM_F.MULTI | flags, s32(-errno), sequence);
const ackOf = (sequence: number, errno = 0) =>
  message(NLMSG.ERROR, NLM_F.CAPPED, Buffer.concat([s32(-errno), Buffer.alloc(16)]), sequence);
const linkOfIndex = (index: number, sequence: number, flags = 0, list: Attribute[] = []) =>
  message(RTM.NEWLINK, flags, ifinfomsg(index), sequence, list);

describe('exchange', () => {
  const run = (...answers: ((sequence: number) => Buffer)[]) => {
    const script = new Script(answers);
    return { script, exchange: new Exchange(script) };
  };

  it('puts the parts of a dump together', () => {
    const { script, exchange } = run(
      sequence => Buffer.concat([linkOfIndex(1, sequence), linkOfIndex(2, sequence)]),
      sequence => linkOfIndex(3, sequence),
      sequence => done(sequence),
    );
    expect(exchange.dump(dumpLinksRequest()).map(each => parseLink(each).index)).toEqual([1, 2, 3]);
    expect(script.sent[0]).toMatchObject({ type: RTM.GETLINK, flags: NLM_F.REQUEST | NLM_F.DUMP });
  });

  it('passes over answers to what was given up, and empty messages', () => {
    const { exchange } = run(
      sequence =>
        Buffer.concat([linkOfIndex(9, sequence - 1), ackOf(sequence + 7), message(NLMSG.NOOP, 0, s32(0), sequence)]),
      sequence => Buffer.concat([linkOfIndex(1, sequence), ackOf(sequence)]),
    );
    expect(exchange.request(getLinkRequest(1)).map(each => parseLink(each).index)).toEqual([1]);
  });

  it.each([
    ['a part', (sequence: number) => Buffer.concat([linkOfIndex(1, sequence, NLM_F.DUMP_INTR), done(sequence)])],
    ['its end', (sequence: number) => Buffer.concat([linkOfIndex(1, sequence), done(sequence, NLM_F.DUMP_INTR)])],
  ])('repeats a dump that was disturbed, said in %s', (_, disturbed) => {
    const { script, exchange } = run(disturbed, disturbed, sequence =>
      Buffer.concat([linkOfIndex(2, sequence), done(sequence)]),
    );
    expect(exchange.dump(dumpLinksRequest()).map(each => parseLink(each).index)).toEqual([2]);
    expect(new Set(script.sent.map(({ sequence }) => sequence)).size).toBe(3);
  });

  it('gives up a dump that never comes whole', () => {
    const { exchange } = run(
      ...Array.from({ length: 100 }, () => (sequence: number) => done(sequence, NLM_F.DUMP_INTR)),
    );
    expect(() => exchange.dump(dumpLinksRequest())).toThrow(
      /RTM_GETLINK\(\): EINTR: changed during each of 32 attempts/,
    );
  });

  it('takes the refusal of a dump from its first message and from its end, with the words', () => {
    const words = (sequence: number) =>
      message(NLMSG.DONE, NLM_F.MULTI | NLM_F.ACK_TLVS, s32(-19), sequence, [attribute.cstring(1, 'no such thing')]);
    const refused = run(sequence => ackOf(sequence, 1)).exchange;
    expect(() => refused.dump(dumpLinksRequest())).toThrow('RTM_GETLINK(): EPERM');
    expect(() => run(words).exchange.dump(dumpAddressesRequest({ index: 3 }))).toThrow(
      'RTM_GETADDR(index=3): ENODEV: no such thing',
    );
  });

  it('reads a refusal that repeats the whole request', () => {
    const request = setLinkRequest(3, { mtu: 1 });
    const answer = (sequence: number) => {
      const echo = encodeMessage({ ...request, sequence });
      const body = Buffer.concat([s32(-22), echo]);
      return message(NLMSG.ERROR, NLM_F.ACK_TLVS, body, sequence, [
        attribute.cstring(1, 'too small'),
        attribute.u32(2, 32),
      ]);
    };
    expect(() => run(answer).exchange.request(request)).toThrow(/EINVAL: too small \(IFLA_MTU\)$/);
  });

  it('reports lost data, junk and silence', () => {
    const overrun = run(sequence => message(NLMSG.OVERRUN, 0, s32(0), sequence)).exchange;
    expect(() => overrun.request(getLinkRequest(1))).toThrow(NetlinkFormatError);
    expect(() => run(() => Buffer.from('junk')).exchange.request(getLinkRequest(1))).toThrow(NetlinkFormatError);
    expect(() => run().exchange.request(getLinkRequest(1))).toThrow(/script is over/);
  });

  it('finds the indexes of a new veth in the echo, or asks for them', () => {
    const own = [attribute.cstring(IFLA.IFNAME, 'v0'), attribute.u32(IFLA.LINK, 4)];
    const veth = { name: 'v0', peer: { name: 'v1' } };
    const echoed = new Script([sequence => Buffer.concat([linkOfIndex(5, sequence, 0, own), ackOf(sequence)])]);
    expect(new RtNetlink(echoed).createVeth(veth)).toEqual({ index: 5, peerIndex: 4 });
    expect(echoed.sent).toHaveLength(1);
    expect(echoed.sent[0]!.flags & NLM_F.ECHO).toBe(NLM_F.ECHO);

    const old = new Script([ackOf, sequence => Buffer.concat([linkOfIndex(5, sequence, 0, own), ackOf(sequence)])]);
    expect(new RtNetlink(old).createVeth(veth)).toEqual({ index: 5, peerIndex: 4 });
    expect(old.sent.map(({ type }) => type)).toEqual([RTM.NEWLINK, RTM.GETLINK]);
  });

  it('keeps apart what is missing and what is refused', () => {
    const net = new RtNetlink(new Script([sequence => ackOf(sequence, 19), sequence => ackOf(sequence, 1), ackOf]));
    expect(net.findLink('nope')).toBeUndefined();
    expect(() => net.findLink('nope')).toThrow('RTM_GETLINK(nope): EPERM');
    expect(() => net.link(1)).toThrow(NetlinkFormatError);
    const routes = new RtNetlink(new Script([sequence => ackOf(sequence, 2), done]));
    expect(routes.routes({ table: 77 })).toEqual([]);
  });

  it('drops what a kernel without IPv6 answers for other families', () => {
    const v4 = decodeMessages(hex(capture('route', 'dump-table').replies[0]!))[0]!;
    const answer = (sequence: number) =>
      Buffer.concat([encodeMessage({ ...v4, sequence, header: v4.body, attributes: [] }), done(sequence)]);
    expect(new RtNetlink(new Script([answer, answer])).routes().map(({ family }) => family)).toEqual([4]);
    const address = decodeMessages(hex(capture('address', 'dump-v4-index').replies[0]!))[0]!;
    const all = (sequence: number) =>
      Buffer.concat([encodeMessage({ ...address, sequence, header: address.body, attributes: [] }), done(sequence)]);
    expect(new RtNetlink(new Script([all])).addresses({ family: 6 })).toEqual([]);
  });
});

const NESTING: Nesting = {
  5: { nested: { 1: { header: 16, nested: { 2: { nested: {} } } } } },
  9: { header: 8, nested: {} },
};

const bytesOf = (options: fc.IntArrayConstraints = {}): fc.Arbitrary<Buffer> =>
  fc.uint8Array(options).map(data => Buffer.from(data));

/** Attributes as `nesting` would read them. */
function attributesFor(nesting: Nesting): fc.Arbitrary<Attribute[]> {
  const flags = fc.constantFrom(0, NLA_F.NESTED, NLA_F.NET_BYTEORDER, NLA_F.NESTED | NLA_F.NET_BYTEORDER);
  const leafType = fc.integer({ min: 0, max: 0x3fff }).filter(type => !Object.hasOwn(nesting, type));
  const kinds: fc.Arbitrary<Attribute>[] = [fc.record({ type: leafType, flags, data: bytesOf({ maxLength: 40 }) })];
  for (const [type, { header = 0, nested }] of Object.entries(nesting)) {
    const data = bytesOf({ minLength: header, maxLength: header });
    kinds.push(fc.record({ type: fc.constant(Number(type)), flags, data, nested: attributesFor(nested) }));
  }
  return fc.array(fc.oneof(...kinds), { maxLength: 6 });
}

const u16 = fc.integer({ min: 0, max: 0xffff });
const u32 = fc.integer({ min: 0, max: 0xffff_ffff });
const partsArbitrary = fc.record({
  type: u16,
  flags: u16,
  sequence: u32,
  port: u32,
  header: fc.constantFrom(0, 8, 12, 16).chain(size => bytesOf({ minLength: size, maxLength: size })),
  attributes: attributesFor(NESTING),
});

/** Whatever `read` makes of these bytes: a value, or a NetlinkFormatError. */
function survives(read: () => unknown): void {
  try {
    read();
  } catch (error) {
    expect(error).toBeInstanceOf(NetlinkFormatError);
    expect(error).toMatchObject({ code: 'INTERNAL' });
  }
}

const readers: ((message: Message) => unknown)[] = [
  each => parseLink({ ...each, type: RTM.NEWLINK }),
  each => parseAddress({ ...each, type: RTM.NEWADDR }),
  each => parseRoute({ ...each, type: RTM.NEWROUTE }),
  each => decodeAck(each),
  each => decodeAck({ ...each, type: NLMSG.DONE, flags: NLM_F.ACK_TLVS }),
  each => decodeAck({ ...each, type: NLMSG.ERROR, flags: NLM_F.ACK_TLVS }),
  each => decodeBody(each.body, 16, VETH_NESTING),
];

describe('properties', () => {
  it('decode(encode(x)) = x', () => {
    fc.assert(
      fc.property(fc.array(partsArbitrary, { maxLength: 4 }), list => {
        const messages = decodeMessages(Buffer.concat(list.map(parts => encodeMessage(parts))));
        const back = messages.map(({ body, ...rest }, at) => ({
          ...rest,
          ...decodeBody(body, list[at]!.header.length, NESTING),
        }));
        expect(back).toEqual(list);
      }),
    );
  });

  it('any bytes are messages, attributes and replies, or a NetlinkFormatError', () => {
    const small = fc.array(fc.integer({ min: 0, max: 24 }), { maxLength: 200 }).map(list => Buffer.from(list));
    fc.assert(
      fc.property(fc.oneof(bytesOf({ maxLength: 300 }), small), body => {
        survives(() => decodeMessages(body));
        survives(() => decodeAttributes(body, VETH_NESTING));
        for (const read of readers) survives(() => read({ type: 16, flags: 0, sequence: 0, port: 0, body }));
      }),
      { numRuns: 500 },
    );
  });

  const genuine = TOPICS.flatMap(topic => CAPTURES[topic].flatMap(({ replies }) => replies)).map(hex);
  it('genuine answers cut short or with bytes changed, too', () => {
    const change = fc.tuple(fc.nat(), fc.constantFrom(0, 1, 3, 4, 0x7f, 0xff));
    fc.assert(
      fc.property(
        fc.constantFrom(...genuine),
        fc.nat(),
        fc.array(change, { maxLength: 4 }),
        (datagram, cut, changes) => {
          const bytes = Buffer.from(datagram.subarray(0, datagram.length - (cut % datagram.length)));
          for (const [at, value] of changes) bytes[at % bytes.length] = value;
          survives(() => {
            for (const each of decodeMessages(bytes)) for (const read of readers) survives(() => read(each));
          });
          // The same without the message lengths that catch most cuts.
          for (const read of readers) {
            survives(() => read({ type: 16, flags: 0, sequence: 0, port: 0, body: bytes.subarray(16) }));
          }
        },
      ),
      { numRuns: 500 },
    );
  });

  it('every cut of a link, an address and a route is noticed or harmless', () => {
    for (const [topic, name] of [
      ['link', 'get'],
      ['address', 'dump'],
      ['route', 'dump-v4'],
      ['error', 'host-bits'],
    ] as const) {
      const datagram = hex(capture(topic, name).replies[0]!);
      for (let length = 0; length < Math.min(datagram.length, 2000); length++) {
        survives(() => decodeMessages(datagram.subarray(0, length)));
        for (const read of readers) {
          const body = datagram.subarray(16, Math.max(16, length));
          survives(() => read({ type: 16, flags: NLM_F.ACK_TLVS, sequence: 0, port: 0, body }));
        }
      }
    }
  });

  it('an attribute that no length field can hold is refused', () => {
    const parts = { type: 16, flags: 0, sequence: 0, header: ifinfomsg() };
    const long = attribute.bytes(1, Buffer.alloc(0x10000));
    expect(() => encodeMessage({ ...parts, attributes: [long] })).toThrow(NetlinkFormatError);
    const halves = [attribute.bytes(1, Buffer.alloc(0x8000)), attribute.bytes(2, Buffer.alloc(0x8000))];
    expect(() => encodeMessage({ ...parts, attributes: [attribute.nest(1, halves)] })).toThrow(NetlinkFormatError);
  });

  it('addresses: text → bytes → text is the canonical text, as Node has it', () => {
    fc.assert(
      fc.property(fc.ipV4(), text => {
        expect(formatIp(parseIp(text, 'x').bytes)).toBe(text);
      }),
    );
    fc.assert(
      fc.property(fc.ipV6(), text => {
        const ours = formatIp(parseIp(text, 'x').bytes);
        expect(isIPv6(ours)).toBe(true);
        // libuv prints ::a.b.c.d for the long obsolete IPv4-compatible addresses; RFC 5952 does not ask for it.
        const { address } = new SocketAddress({ family: 'ipv6', address: text });
        if (!/^::\d+\./.test(address)) expect(ours).toBe(address);
      }),
    );
    const sparse = fc
      .array(fc.constantFrom(0, 0, 0, 1, 255), { minLength: 16, maxLength: 16 })
      .map(list => Buffer.from(list));
    fc.assert(
      fc.property(sparse, bytes => {
        expect(parseIp(formatIp(bytes), 'x').bytes).toEqual(bytes);
      }),
    );
  });

  it.each([
    ['::', '::'],
    ['::1', '::1'],
    ['1::', '1::'],
    ['1:0:0:2:0:0:0:3', '1:0:0:2::3'],
    ['1:0:0:2:0:0:3:4', '1::2:0:0:3:4'],
    ['1:0:2:3:4:5:6:7', '1:0:2:3:4:5:6:7'],
    ['::FFFF:1.2.3.4', '::ffff:1.2.3.4'],
    ['64:ff9b::192.0.2.33', '64:ff9b::c000:221'],
  ])('%s is %s', (text, canonicalText) => expect(formatIp(parseIp(text, 'x').bytes)).toBe(canonicalText));
});

describe('wrong input is SPEC_INVALID with its field', () => {
  const peer = { name: 'v1' };
  const cases: [string, string, () => unknown][] = [
    ['name of 16 bytes', 'name', () => newBridgeRequest({ name: 'x'.repeat(16) })],
    ['name of 8 letters and 16 bytes', 'name', () => newBridgeRequest({ name: 'ü'.repeat(8) })],
    ['empty name', 'name', () => newBridgeRequest({ name: '' })],
    ['no name', 'name', () => newBridgeRequest({} as never)],
    ['name ..', 'name', () => newDummyRequest({ name: '..' })],
    ['name with a slash', 'name', () => newDummyRequest({ name: 'a/b' })],
    ['name with a colon', 'name', () => newDummyRequest({ name: 'a:b' })],
    ['name with a space', 'name', () => setLinkRequest(1, { name: 'a b' })],
    ['name with byte 0xa0', 'name', () => setLinkRequest(1, { name: 'à' })],
    ['name that is a pattern', 'name', () => setLinkRequest(1, { name: 'veth%d' })],
    ['name with NUL', 'peer.name', () => newVethRequest({ name: 'v0', peer: { name: 'a\0b' } })],
    ['peer without a name', 'peer.name', () => newVethRequest({ name: 'v0', peer: {} as never })],
    [
      'peer in two namespaces',
      'peer.netnsFd',
      () => newVethRequest({ name: 'v0', peer: { ...peer, netnsFd: 1, netnsPid: 1 } }),
    ],
    ['negative fd', 'peer.netnsFd', () => newVethRequest({ name: 'v0', peer: { ...peer, netnsFd: -1 } })],
    ['pid 0', 'netnsPid', () => setLinkRequest(1, { netnsPid: 0 })],
    ['short MAC', 'mac', () => setLinkRequest(1, { mac: '02:00:00:00:01' })],
    ['multicast MAC', 'mac', () => setLinkRequest(1, { mac: '01:00:5e:00:00:01' })],
    ['zero MAC', 'peer.mac', () => newVethRequest({ name: 'v0', peer: { ...peer, mac: '00:00:00:00:00:00' } })],
    ['fraction of a byte', 'mtu', () => setLinkRequest(1, { mtu: 1500.5 })],
    ['negative mtu', 'peer.mtu', () => newVethRequest({ name: 'v0', peer: { ...peer, mtu: -1 } })],
    ['txqlen that is no number', 'txqlen', () => setLinkRequest(1, { txqlen: '5' as never })],
    ['master 0', 'master', () => setLinkRequest(1, { master: 0 })],
    ['index 0', 'index', () => deleteLinkRequest(0)],
    ['index NaN', 'index', () => setLinkRequest(Number.NaN, {})],
    ['link -1', 'link', () => getLinkRequest(-1)],
    ['altname of 128 bytes', 'altNames[1]', () => addAltNamesRequest(1, ['a', 'x'.repeat(128)])],
    ['no altname', 'altNames', () => deleteAltNamesRequest(1, [])],
    ['no prefix length', 'address', () => addAddressRequest(1, '10.0.0.1')],
    ['prefix length 33', 'address', () => addAddressRequest(1, '10.0.0.1/33')],
    ['prefix length 024', 'address', () => addAddressRequest(1, '10.0.0.1/024')],
    ['prefix length 129', 'address', () => addAddressRequest(1, 'fd00::1/129')],
    ['octet 256', 'address', () => addAddressRequest(1, '10.0.0.256/24')],
    ['zone', 'address', () => addAddressRequest(1, 'fe80::1%eth0/64')],
    ['number', 'address', () => addAddressRequest(1, 10 as never)],
    ['peer of the other family', 'peer', () => addAddressRequest(1, '10.0.0.1/32', { peer: 'fd00::1' })],
    ['broadcast of IPv6', 'broadcast', () => addAddressRequest(1, 'fd00::1/64', { broadcast: 'auto' })],
    ['broadcast ::1', 'broadcast', () => addAddressRequest(1, '10.0.0.1/24', { broadcast: '::1' })],
    ['label of IPv6', 'label', () => addAddressRequest(1, 'fd00::1/64', { label: 'x' })],
    ['long label', 'label', () => addAddressRequest(1, '10.0.0.1/24', { label: 'x'.repeat(16) })],
    ['label that is no text', 'label', () => addAddressRequest(1, '10.0.0.1/24', { label: 1 as never })],
    ['unknown scope', 'scope', () => addAddressRequest(1, '10.0.0.1/24', { scope: 'far' as never })],
    ['scope of Object.prototype', 'scope', () => addAddressRequest(1, '10.0.0.1/24', { scope: 'toString' as never })],
    ['scope 256', 'scope', () => addAddressRequest(1, '10.0.0.1/24', { scope: 256 })],
    ['valid for 0 s', 'validSeconds', () => addAddressRequest(1, '10.0.0.1/24', { validSeconds: 0 })],
    [
      'preferred after its end',
      'preferredSeconds',
      () => addAddressRequest(1, '10.0.0.1/24', { validSeconds: 5, preferredSeconds: 6 }),
    ],
    ['default of no family', 'family', () => addRouteRequest({ destination: 'default', index: 1 })],
    ['other family', 'family', () => addRouteRequest({ destination: '10.0.0.0/8', family: 6 })],
    ['host bits', 'destination', () => addRouteRequest({ destination: '10.0.0.1/24' })],
    ['host bits of IPv6', 'destination', () => addRouteRequest({ destination: 'fd00::1/64' })],
    ['gateway that is a name', 'gateway', () => addRouteRequest({ destination: 'default', gateway: 'router' })],
    ['IPv4 gateway of IPv6', 'gateway', () => addRouteRequest({ destination: 'fd00::/64', gateway: '10.0.0.1' })],
    ['source of the other family', 'source', () => addRouteRequest({ destination: '10.0.0.0/8', source: '::1' })],
    ['table 0', 'table', () => addRouteRequest({ destination: '10.0.0.0/8', table: 0 })],
    ['metric 2^32', 'metric', () => addRouteRequest({ destination: '10.0.0.0/8', metric: 2 ** 32 })],
    ['unknown type', 'type', () => addRouteRequest({ destination: '10.0.0.0/8', type: 'hole' as never })],
    ['unknown protocol', 'protocol', () => deleteRouteRequest({ destination: '10.0.0.0/8', protocol: 'x' as never })],
    ['index of a filter', 'index', () => dumpRoutesRequest(4, { index: -1 })],
  ];

  it.each(cases)('%s: %s', (_, field, call) => {
    let caught: unknown;
    try {
      call();
    } catch (error) {
      caught = error;
    }
    expect(caught).toBeInstanceOf(CaissonError);
    expect(caught).toMatchObject({ code: 'SPEC_INVALID', field });
  });

  it('takes what is right', () => {
    expect(newBridgeRequest({ name: 'x'.repeat(15) }).operands).toBe(`bridge name=${'x'.repeat(15)}`);
    expect(() => addAltNamesRequest(1, ['x'.repeat(127), 'ü'])).not.toThrow();
    expect(parsePrefix('0.0.0.0/0', 'x')).toEqual({ family: 4, bytes: Buffer.alloc(4), length: 0 });
    expect(addAddressRequest(1, '127.0.0.2/8').header[3]).toBe(254);
    expect(addAddressRequest(1, '10.0.0.9/28', { broadcast: 'auto' }).attributes.at(-1)?.data).toEqual(
      Buffer.from([10, 0, 0, 15]),
    );
    expect(addRouteRequest({ destination: 'default', family: 6, index: 1 }).header[0]).toBe(10);
    const scope = (type: 'local' | 'broadcast' | 'unreachable') =>
      addRouteRequest({ destination: '10.0.0.0/8', type }).header[6];
    expect([scope('local'), scope('broadcast'), scope('unreachable')]).toEqual([254, 253, 0]);
    const via = addRouteRequest({ destination: '10.0.0.0/8', gateway: 'fe80::1', index: 1 }).attributes;
    expect(via.find(({ type }) => type === RTA.VIA)?.data.toString('hex')).toBe('0a00fe800000000000000000000000000001');
  });
});
