/**
 * rtnetlink against the live kernel, with ip(8) as the oracle. Needs root. Works in two network namespaces of its
 * own (cstest-nl-*); the host's links and namespaces are compared before and after.
 */

import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readlinkSync } from 'node:fs';
import process from 'node:process';
import { Worker } from 'node:worker_threads';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { ERRNO } from '#src/spec/errno.js';
import { CaissonError, type ErrorJSON } from '#src/spec/errors.js';
import { scratch } from '#src/syscalls/arena.js';
import { syscall, trySyscall } from '#src/syscalls/libc.js';
import * as attribute from '#src/syscalls/netlink/attributes.js';
import { type Attribute, decodeMessages } from '#src/syscalls/netlink/codec.js';
import { IFLA, NLM_F, RTM } from '#src/syscalls/netlink/constants.js';
import { Exchange } from '#src/syscalls/netlink/exchange.js';
import {
  type Address,
  type Link,
  NetlinkError,
  NetlinkSocket,
  type Route,
  RtNetlink,
} from '#src/syscalls/netlink/index.js';
import { ifinfomsg } from '#src/syscalls/netlink/link.js';
import { slow } from '../lib/slow.ts';
import {
  addressesOf,
  canonical,
  type IpLink,
  type IpRoute,
  indexOf,
  linkOf,
  routeOf,
} from '../unit/fixtures/netlink/ip-json.ts';

const root = process.getuid?.() === 0;
const A = `cstest-nl-a-${process.pid}`;
const B = `cstest-nl-b-${process.pid}`;

const ip = (...args: string[]): string => execFileSync('ip', args, { encoding: 'utf8' });
const ipJson = <T>(netns: string, ...args: string[]): T => JSON.parse(ip('-n', netns, '-json', '-d', ...args)) as T;
const ipLinks = (netns: string): IpLink[] => ipJson<IpLink[]>(netns, 'link', 'show');
const ipAddresses = (netns: string): Address[] => addressesOf(ipJson<IpLink[]>(netns, 'addr', 'show'));

function ipRoutes(netns: string): Route[] {
  const index = indexOf(ipLinks(netns));
  return ([4, 6] as const).flatMap(family =>
    ipJson<IpRoute[]>(netns, `-${family}`, 'route', 'show', 'table', 'all').map(route => routeOf(route, family, index)),
  );
}

/** Names of the host's links and network namespaces. */
function hostState(): { links: string[]; namespaces: string[] } {
  const links = (JSON.parse(ip('-json', 'link', 'show')) as IpLink[]).map(
    ({ ifindex, ifname }) => `${ifindex} ${ifname}`,
  );
  const namespaces = ip('netns', 'list')
    .split('\n')
    .map(line => line.split(' ')[0] ?? '');
  return { links: links.toSorted(), namespaces: namespaces.toSorted() };
}

function refusal(call: () => unknown): NetlinkError {
  try {
    call();
  } catch (error) {
    expect(error).toBeInstanceOf(NetlinkError);
    return error as NetlinkError;
  }
  throw new Error('the kernel did not refuse');
}

describe.skipIf(!root)(`rtnetlink, live kernel${root ? '' : ' (skipped: not root)'}`, () => {
  let before: ReturnType<typeof hostState>;
  let fdA = -1;
  let fdB = -1;
  let a: RtNetlink;
  let b: RtNetlink;

  beforeAll(() => {
    before = hostState();
  });

  // Namespaces for each test: nothing is left to the next, and the kernel removes all links with them.
  beforeEach(() => {
    ip('netns', 'add', A);
    ip('netns', 'add', B);
    fdA = openSync(`/run/netns/${A}`, 'r');
    fdB = openSync(`/run/netns/${B}`, 'r');
    a = RtNetlink.openIn(fdA);
    b = RtNetlink.openIn(fdB);
  });

  afterEach(() => {
    // Each on its own: a test may have failed half way through the set-up.
    const tidy: (() => void)[] = [
      () => a.close(),
      () => b.close(),
      () => closeSync(fdA),
      () => closeSync(fdB),
      () => void ip('netns', 'del', A),
      () => void ip('netns', 'del', B),
    ];
    const failures = tidy.flatMap(step => {
      try {
        step();
        return [];
      } catch (error) {
        return [error];
      }
    });
    expect(failures).toEqual([]);
  });

  afterAll(() => {
    expect(hostState()).toEqual(before);
  });

  const compareLinks = (net: RtNetlink, netns: string) => {
    const links = ipLinks(netns);
    // The kernel dumps links in no order that it promises.
    const sorted = (list: Link[]): Link[] => [...list].sort((one, other) => one.index - other.index);
    expect(canonical(sorted(net.links()))).toEqual(canonical(sorted(links.map(link => linkOf(link, indexOf(links))))));
  };

  /** A bridge with a port whose peer is eth0 in B, both ends up. */
  const bridged = () => {
    const bridge = a.createBridge({ name: 'br0', mac: '02:00:00:00:00:10', mtu: 1400, up: true });
    const peer = { name: 'eth0', mac: '02:00:00:00:00:02', mtu: 1400, txqlen: 321, netnsFd: fdB };
    const veth = a.createVeth({
      name: 'v0',
      mac: '02:00:00:00:00:01',
      mtu: 1400,
      txqlen: 123,
      up: true,
      master: bridge,
      peer,
    });
    b.setLink(veth.peerIndex, { up: true });
    b.setLink(1, { up: true });
    return { bridge, ...veth };
  };

  it('is in the namespace asked for, and the thread is back in its own', () => {
    const home = readlinkSync('/proc/thread-self/ns/net');
    const names = RtNetlink.openIn(fdB)
      .links()
      .map(({ name }) => name);
    expect(names).toEqual(['lo']);
    expect(readlinkSync('/proc/thread-self/ns/net')).toBe(home);
    using own = RtNetlink.open();
    expect(
      own
        .links()
        .map(({ index, name }) => `${index} ${name}`)
        .toSorted(),
    ).toEqual(hostState().links);
  });

  it('makes a veth across namespaces in one message, both ends as asked', () => {
    const { bridge, index, peerIndex } = bridged();
    expect(a.link('v0')).toMatchObject({
      index,
      kind: 'veth',
      mac: '02:00:00:00:00:01',
      mtu: 1400,
      txqlen: 123,
      up: true,
      master: bridge,
      linkIndex: peerIndex,
    });
    expect(b.link('eth0')).toMatchObject({
      index: peerIndex,
      kind: 'veth',
      mac: '02:00:00:00:00:02',
      mtu: 1400,
      txqlen: 321,
      up: true,
      linkIndex: index,
    });
    expect(a.link(bridge)).toMatchObject({ name: 'br0', kind: 'bridge', mac: '02:00:00:00:00:10', up: true });
    compareLinks(a, A);
    compareLinks(b, B);
  });

  it('makes a pair within one namespace', () => {
    const { index, peerIndex } = a.createVeth({ name: 'v0', peer: { name: 'v1' } });
    expect(a.link(index).linkIndex).toBe(peerIndex);
    expect(a.link(peerIndex)).toMatchObject({ name: 'v1', linkIndex: index, linkNetnsId: undefined });
    compareLinks(a, A);
  });

  it('changes what a link has', () => {
    const { index } = bridged();
    a.setLink(index, { up: false });
    a.setLink(index, { name: 'v9', mac: '02:00:00:00:00:33', mtu: 1300, txqlen: 7, master: null });
    expect(a.link(index)).toMatchObject({ name: 'v9', mac: '02:00:00:00:00:33', mtu: 1300, txqlen: 7, up: false });
    expect(a.link(index).master).toBeUndefined();
    expect(a.findLink('v0')).toBeUndefined();
    compareLinks(a, A);
    a.setLink(index, { up: true, master: a.link('br0').index });
    compareLinks(a, A);
  });

  it('gives alternative names and finds links by them', () => {
    const { index } = bridged();
    const long = 'a-name-longer-than-fifteen-bytes';
    a.addAltNames(index, [long, 'short']);
    expect(a.link(index).altNames).toEqual([long, 'short']);
    expect([a.link(long).index, a.link('short').index]).toEqual([index, index]);
    compareLinks(a, A);
    expect(refusal(() => a.addAltNames(index, ['short'])).errno).toBe('EEXIST');
    a.deleteAltNames(index, ['short']);
    expect(a.link(index).altNames).toEqual([long]);
    expect(a.findLink('short')).toBeUndefined();
  });

  it('moves a link by fd and by pid, renamed on the way, and back', async () => {
    const { index } = a.createVeth({ name: 'v0', peer: { name: 'v1' } });
    a.setLink(index, { netnsFd: fdB, name: 'eth7', up: true, mtu: 1280 });
    expect(a.findLink('v0')).toBeUndefined();
    const there = b.link('eth7');
    expect(there).toMatchObject({ up: true, mtu: 1280, kind: 'veth' });
    compareLinks(b, B);
    b.setLink(there.index, { netnsFd: fdA, name: 'v0' });
    expect(b.findLink('eth7')).toBeUndefined();
    compareLinks(a, A);

    // `ip netns exec` becomes the command: this is the pid of a process in B, and its output says that it is there.
    const sleeper: ChildProcess = spawn('ip', ['netns', 'exec', B, 'sh', '-c', 'echo; exec sleep 60'], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    try {
      await once(sleeper.stdout!, 'data');
      a.setLink(a.link('v0').index, { netnsPid: sleeper.pid!, name: 'eth8' });
      expect(b.link('eth8').kind).toBe('veth');
    } finally {
      const gone = once(sleeper, 'exit');
      sleeper.kill('SIGKILL');
      await gone;
    }
  });

  it('deletes a link, and of a veth both ends', () => {
    const { index } = bridged();
    a.deleteLink(index);
    expect(b.findLink('eth0')).toBeUndefined();
    compareLinks(a, A);
    compareLinks(b, B);
  });

  it('lists addresses as ip does', () => {
    const { bridge, peerIndex } = bridged();
    a.addAddress(bridge, '10.0.0.1/24', { broadcast: 'auto' });
    a.addAddress(bridge, '10.0.0.2/24', { label: 'br0:two' });
    a.addAddress(bridge, '192.0.2.1/32', { peer: '192.0.2.2', scope: 'link', noprefixroute: true });
    a.addAddress(bridge, 'fd00::1/64', { nodad: true });
    a.addAddress(bridge, 'fd00:1::1/64', { nodad: true, noprefixroute: true });
    a.addAddress(1, '127.0.0.9/8');
    b.addAddress(peerIndex, '10.0.0.7/24');
    expect(canonical(a.addresses())).toEqual(canonical(ipAddresses(A)));
    expect(canonical(b.addresses())).toEqual(canonical(ipAddresses(B)));
    const own = a.addresses({ index: bridge, family: 4 });
    expect(own.map(({ address }) => address).toSorted()).toEqual(['10.0.0.1/24', '10.0.0.2/24', '192.0.2.1/32']);
    expect(own.find(({ address }) => address === '10.0.0.1/24')).toMatchObject({
      broadcast: '10.0.0.255',
      scope: 'global',
      label: 'br0',
      flags: ['permanent'],
      validSeconds: null,
    });
    expect(own.find(({ peer }) => peer !== undefined)).toMatchObject({ peer: '192.0.2.2', scope: 'link' });
    expect(a.addresses({ index: 1 }).map(({ scope }) => scope)).toEqual(['host']);

    a.deleteAddress(bridge, '10.0.0.2/24');
    a.deleteAddress(bridge, '192.0.2.1/32', '192.0.2.2');
    a.deleteAddress(bridge, 'fd00:1::1/64');
    expect(canonical(a.addresses())).toEqual(canonical(ipAddresses(A)));
    expect(a.addresses({ index: bridge, family: 4 })).toHaveLength(1);
  });

  it('gives an address a life time', () => {
    const bridge = a.createBridge({ name: 'br0', up: true });
    a.addAddress(bridge, 'fd00::1/64', { validSeconds: 900, preferredSeconds: 600 });
    const found = a.addresses({ index: bridge, family: 6 }).find(({ address }) => address === 'fd00::1/64');
    expect(found?.flags).not.toContain('permanent');
    for (const [value, given] of [
      [found?.validSeconds, 900],
      [found?.preferredSeconds, 600],
    ]) {
      // The kernel counts down.
      expect(value).toBeLessThanOrEqual(given!);
      expect(value).toBeGreaterThan(given! - 30);
    }
  });

  it('lists routes as ip does', async () => {
    const { bridge } = bridged();
    a.addAddress(bridge, '10.0.0.1/24');
    a.addAddress(bridge, 'fd00::1/64', { nodad: true });
    a.addRoute({ destination: 'default', gateway: '10.0.0.254' });
    a.addRoute({ destination: '10.1.0.0/16', index: bridge });
    a.addRoute({ destination: '10.2.0.0/16', gateway: '192.0.2.9', index: bridge, onlink: true });
    a.addRoute({ destination: '10.3.0.0/16', gateway: 'fe80::9', index: bridge });
    a.addRoute({ destination: '10.4.0.0/16', type: 'blackhole', protocol: 'static' });
    a.addRoute({
      destination: '10.5.0.0/16',
      index: bridge,
      table: 1000,
      metric: 5,
      source: '10.0.0.1',
      scope: 'link',
    });
    a.addRoute({ destination: '10.6.0.7/32', index: bridge, table: 100 });
    a.addRoute({ destination: 'default', gateway: 'fd00::fe', metric: 7, protocol: 'ra' });
    a.addRoute({ destination: 'default', family: 6, index: bridge, table: 1000 });
    a.addRoute({ destination: 'fd01::/48', index: bridge });
    a.addRoute({ destination: 'fd02::/48', type: 'unreachable' });
    const hops = ['nexthop', 'via', '10.0.0.2', 'weight', '1', 'nexthop', 'via', '10.0.0.3', 'weight', '4'];
    ip('-n', A, 'route', 'add', '10.7.0.0/16', ...hops);
    ip('-n', A, '-6', 'route', 'add', 'fd07::/48', ...hops.map(word => word.replace('10.0.0.', 'fd00::')));

    // The bridge gets its carrier a little after its ports: routes are `linkdown` until then.
    const ours = await vi.waitFor(
      () => {
        const routes = a.routes();
        expect(canonical(routes)).toEqual(canonical(ipRoutes(A)));
        return routes;
      },
      { timeout: 10_000 },
    );
    expect(ours.find(({ destination }) => destination === '10.7.0.0/16')?.nextHops).toMatchObject([
      { index: bridge, gateway: '10.0.0.2', weight: 1 },
      { index: bridge, gateway: '10.0.0.3', weight: 4 },
    ]);
    expect(a.routes({ table: 1000 }).map(({ family, destination }) => [family, destination])).toEqual([
      [4, '10.5.0.0/16'],
      [6, 'default'],
    ]);
    expect(a.routes({ table: 4242 })).toEqual([]);
    expect(new Set(a.routes({ index: bridge, family: 4 }).map(({ index }) => index ?? bridge))).toEqual(
      new Set([bridge]),
    );
    expect(a.routes({ family: 6 }).every(({ family }) => family === 6)).toBe(true);
  });

  it('replaces and deletes routes', () => {
    const { bridge } = bridged();
    a.addAddress(bridge, '10.0.0.1/24');
    a.addAddress(bridge, 'fd00::1/64', { nodad: true });
    const main = () => a.routes({ table: 254, family: 4 }).map(({ destination, gateway }) => [destination, gateway]);
    a.addRoute({ destination: 'default', gateway: '10.0.0.254' });
    expect(refusal(() => a.addRoute({ destination: 'default', gateway: '10.0.0.253' })).errno).toBe('EEXIST');
    a.replaceRoute({ destination: 'default', gateway: '10.0.0.253' });
    expect(main()).toEqual([
      ['default', '10.0.0.253'],
      ['10.0.0.0/24', undefined],
    ]);
    a.deleteRoute({ destination: 'default', family: 4 });
    expect(main()).toEqual([['10.0.0.0/24', undefined]]);
    expect(refusal(() => a.deleteRoute({ destination: 'default', family: 4 })).errno).toBe('ESRCH');
    a.addRoute({ destination: 'fd01::/48', index: bridge, table: 300 });
    a.deleteRoute({ destination: 'fd01::/48', table: 300 });
    expect(a.routes({ table: 300 })).toEqual([]);
  });

  it('adds a listed route again', () => {
    const { bridge } = bridged();
    a.addAddress(bridge, '10.0.0.1/24');
    a.addRoute({
      destination: '10.5.0.0/16',
      gateway: '10.0.0.9',
      table: 1000,
      metric: 5,
      source: '10.0.0.1',
      protocol: 'dhcp',
    });
    const [route] = a.routes({ table: 1000 });
    a.deleteRoute(route!);
    a.addRoute(route!);
    expect(a.routes({ table: 1000 })).toEqual([route]);
  });

  it('reads dumps of several datagrams', () => {
    for (let n = 0; n < 50; n++) a.createVeth({ name: `v${n}`, peer: { name: `w${n}` } });
    expect(a.links()).toHaveLength(101);
    compareLinks(a, A);
  });

  it('says what the kernel refuses, in its words', () => {
    const { bridge, index } = bridged();
    expect(refusal(() => a.createVeth({ name: 'v0', peer: { name: 'x' } }))).toMatchObject({
      call: 'RTM_NEWLINK',
      errno: 'EEXIST',
      operands: 'veth name=v0 peer.name=x',
    });
    expect(refusal(() => a.createVeth({ name: 'v1', peer: { name: 'eth0', netnsFd: fdB } })).errno).toBe('EEXIST');
    expect(a.findLink('v1')).toBeUndefined();
    a.addAddress(bridge, '10.0.0.1/24');
    // The kernel says so in words since 6.2.
    const words = refusal(() => a.addAddress(bridge, '10.0.0.1/24')).extAck;
    expect([undefined, 'ipv4: Address already assigned']).toContain(words);
    expect(refusal(() => a.addAddress(bridge, '10.0.0.1/24'))).toMatchObject({
      errno: 'EEXIST',
      message: `RTM_NEWADDR(index=${bridge} address=10.0.0.1/24): EEXIST${words === undefined ? '' : `: ${words}`}`,
    });
    expect(refusal(() => a.setLink(index, { mtu: 10 })).extAck).toBe('mtu less than device minimum');
    expect(refusal(() => a.addRoute({ destination: 'default', gateway: '192.0.2.1' }))).toMatchObject({
      errno: 'ENETUNREACH',
      extAck: 'Nexthop has invalid gateway',
    });
    expect(refusal(() => a.link('nope')).errno).toBe('ENODEV');
    expect(refusal(() => a.link(4242)).errno).toBe('ENODEV');
    expect(refusal(() => a.setLink(4242, { up: true })).errno).toBe('ENODEV');
    expect(refusal(() => a.addresses({ index: 4242 })).errno).toBe('ENODEV');
    expect(refusal(() => a.deleteAddress(bridge, '10.0.0.99/24')).errno).toBe('EADDRNOTAVAIL');
    expect(refusal(() => a.setLink(index, { netnsFd: 0x7fffffff })).errno).toBe('EBADF');
    expect(() => a.createBridge({ name: 'a-name-too-long-for-a-link' })).toThrow(CaissonError);
  });

  it('makes dummy links where the kernel has them', () => {
    try {
      const index = a.createDummy({ name: 'd0', up: true });
      expect(a.link(index)).toMatchObject({ name: 'd0', kind: 'dummy', up: true });
    } catch (error) {
      // Not built into every kernel, and modules may not be loadable: then it must be this refusal.
      expect(error).toMatchObject({ errno: 'EOPNOTSUPP', extAck: 'Unknown device type' });
    }
  });

  it('refuses before the kernel does what the kernel refuses', () => {
    const { index } = bridged();
    using socket = NetlinkSocket.openIn(fdA);
    // Before 6.2 a link that is up is not renamed at all.
    a.setLink(index, { up: false });
    const exchange = new Exchange(socket);
    const raw =
      (...attributes: Attribute[]) =>
      () =>
        exchange.request({ type: RTM.NEWLINK, flags: 0, header: ifinfomsg(index), attributes, operands: 'raw' });
    // What input.ts says about names and addresses is the kernel's rule.
    expect(refusal(raw(attribute.cstring(IFLA.IFNAME, 'x'.repeat(16))))).toMatchObject({
      errno: 'ERANGE',
      attribute: 'IFLA_IFNAME',
    });
    for (const name of ['.', '..', 'a/b', 'a:b', 'a b', 'a\tb', 'à']) {
      expect([name, refusal(raw(attribute.cstring(IFLA.IFNAME, name))).errno]).toEqual([name, 'EINVAL']);
    }
    for (const mac of ['01005e000001', '000000000000']) {
      expect(refusal(raw(attribute.bytes(IFLA.ADDRESS, Buffer.from(mac, 'hex')))).errno).toBe('EADDRNOTAVAIL');
    }
    const ok = raw(attribute.cstring(IFLA.IFNAME, 'ä-ok'));
    ok();
    expect(a.link(index).name).toBe('ä-ok');
  });

  describe('the socket', () => {
    it('waits no longer than it is told', () => {
      using socket = NetlinkSocket.open({ timeoutMs: 60 });
      const start = performance.now();
      expect(() => socket.receive()).toThrow(expect.objectContaining({ code: 'TIMEOUT', errno: 'EAGAIN' }));
      const took = performance.now() - start;
      expect(took).toBeGreaterThan(50);
      expect(took).toBeLessThan(2000);
      expect(() => NetlinkSocket.open({ timeoutMs: 0 })).toThrow(expect.objectContaining({ field: 'timeoutMs' }));
    });

    it('is closed once and for all', () => {
      const net = RtNetlink.open();
      net.close();
      net.close();
      expect(() => net.links()).toThrow(expect.objectContaining({ code: 'CLOSED' }));
    });

    it('takes messages from the kernel alone', () => {
      const home = openSync('/proc/thread-self/ns/net', 'r');
      /** A plain netlink socket in A with port id `port`. */
      const plain = (port: number): number => {
        syscall('setns', fdA, 0x40000000);
        try {
          const fd = syscall('socket', 16, 3, 0);
          syscall('bind', fd, address(port), 12);
          return fd;
        } finally {
          syscall('setns', home, 0x40000000);
        }
      };
      const address = (port: number): number => {
        const arena = scratch();
        const at = arena.alloc(32);
        arena.setU32(at, 16);
        arena.setU32(at + 4, port);
        return at;
      };
      const sockets: number[] = [];
      try {
        sockets.push(plain(4242), plain(4243));
        const send = (port: number): number => {
          // The message is the zeros behind the address.
          const to = address(port);
          return trySyscall('sendto', sockets[0], to + 16, 16, 0, to, 12);
        };
        // One plain socket may write to another; without this the rest would prove nothing.
        expect(send(4243)).toBe(16);
        // The first socket of a process in a namespace has the process's pid for its port: that is a's.
        const list = execFileSync('ip', ['netns', 'exec', A, 'cat', '/proc/net/netlink'], { encoding: 'utf8' });
        expect(list.split('\n').map(line => line.split(/\s+/)[2])).toContain(String(process.pid));
        expect(send(process.pid)).toBe(-ERRNO.ECONNREFUSED);
        expect(a.links()).toHaveLength(1);
      } finally {
        for (const fd of sockets) syscall('close', fd);
        closeSync(home);
      }
    });

    it('throws the errno of a namespace that is none', () => {
      const file = openSync('/dev/null', 'r');
      try {
        expect(() => NetlinkSocket.openIn(file)).toThrow(expect.objectContaining({ call: 'setns', errno: 'EINVAL' }));
        expect(() => NetlinkSocket.openIn(-1)).toThrow(expect.objectContaining({ field: 'netnsFd' }));
      } finally {
        closeSync(file);
      }
    });
  });

  describe('in a worker thread', () => {
    const dist = new URL('../../dist/', import.meta.url).href;

    /** Runs the body of an async function in a worker of its own; what it returns comes back. */
    async function inWorker(body: string, data: object = {}): Promise<unknown> {
      const code = `
        const { parentPort, workerData } = require('node:worker_threads');
        const { readlinkSync } = require('node:fs');
        const load = path => import(${JSON.stringify(dist)} + path);
        (async () => { ${body} })().then(value => parentPort.postMessage(value));`;
      const worker = new Worker(code, { eval: true, workerData: { fdA, fdB, ...data } });
      const [value] = (await once(worker, 'message')) as [unknown];
      await worker.terminate();
      return value;
    }

    it('opens in another namespace and comes back', async () => {
      const result = await inWorker(`
        const { RtNetlink } = await load('syscalls/netlink/index.js');
        const home = readlinkSync('/proc/thread-self/ns/net');
        const net = RtNetlink.openIn(workerData.fdB);
        net.createBridge({ name: 'br-worker' });
        const names = net.links().map(({ name }) => name);
        net.close();
        return { names, same: readlinkSync('/proc/thread-self/ns/net') === home };`);
      expect(result).toEqual({ names: ['lo', 'br-worker'], same: true });
      expect(b.link('br-worker').kind).toBe('bridge');
    });

    it('repeats dumps that a change has disturbed', async () => {
      for (let n = 0; n < 40; n++) a.createVeth({ name: `v${n}`, peer: { name: `w${n}` } });
      const stop = new Int32Array(new SharedArrayBuffer(4));
      const churn = inWorker(
        `
        const { RtNetlink } = await load('syscalls/netlink/index.js');
        const net = RtNetlink.openIn(workerData.fdA);
        while (Atomics.load(workerData.stop, 0) === 0) {
          net.deleteLink(net.createVeth({ name: 'x0', peer: { name: 'x1' } }).index);
        }
        net.close();`,
        { stop },
      );
      const socket = NetlinkSocket.openIn(fdA);
      let sent = 0;
      const disturbed = new Set<number>();
      using net = new RtNetlink({
        send: message => {
          sent++;
          socket.send(message);
        },
        receive: () => {
          const datagram = socket.receive();
          const marked = decodeMessages(datagram).some(({ flags }) => (flags & NLM_F.DUMP_INTR) !== 0);
          if (marked) disturbed.add(sent);
          return datagram;
        },
        close: () => socket.close(),
      });
      try {
        const deadline = Date.now() + slow(20_000);
        let asked = 0;
        while (disturbed.size < 3 && Date.now() < deadline) {
          const { length } = net.links();
          asked++;
          // lo and pairs, never one end alone.
          expect(length % 2).toBe(1);
        }
        expect(disturbed.size).toBeGreaterThanOrEqual(3);
        expect(sent).toBe(asked + disturbed.size);
      } finally {
        Atomics.store(stop, 0, 1);
        await churn;
      }
    });

    it('says that the thread is lost when there is no way back', async () => {
      // Without CAP_SYS_ADMIN, given up by this thread alone between the two setns calls, the second is refused.
      const result = (await inWorker(`
        const { NetlinkSocket, ThreadLostError } = await load('syscalls/netlink/index.js');
        const { syscall } = await load('syscalls/libc.js');
        const { scratch } = await load('syscalls/arena.js');
        const options = {
          get timeoutMs() {
            const arena = scratch();
            const header = arena.alloc(8);
            arena.setU32(header, 0x20080522);
            const data = arena.alloc(24);
            syscall('capget', header, data);
            arena.setU32(data, (arena.getU32(data) & ~(1 << 21)) >>> 0);
            syscall('capset', header, data);
            return 1000;
          },
        };
        try {
          NetlinkSocket.openIn(workerData.fdB, options);
          return 'opened';
        } catch (error) {
          return { lost: error instanceof ThreadLostError, json: error.toJSON() };
        }`)) as { lost: boolean; json: ErrorJSON };
      expect(result.lost).toBe(true);
      expect(result.json).toMatchObject({ code: 'INTERNAL', cause: 'SyscallError: setns(CLONE_NEWNET): EPERM' });
      expect(result.json.hint).toContain('end this worker thread');
    });
  });
});
