/** What one caller may cost the daemon: memory, connections, patience. The daemon is one of this process, to be looked into. */
import { getEventListeners } from 'node:events';
import { mkdirSync, rmdirSync } from 'node:fs';
import { type IncomingMessage, request } from 'node:http';
import { Client, type RemoteContainer } from 'caisson/client';
import { expect, test } from 'vitest';
import { Daemon, type DaemonOptions } from '#src/api/daemon.js';
import { useCli } from './cli.ts';

const cli = useCli();

interface Opened {
  readonly daemon: Daemon;
  readonly client: Client;
  readonly socket: string;
  readonly state: string;
}

async function withDaemon(act: (opened: Opened) => Promise<void>, more: Partial<DaemonOptions> = {}): Promise<void> {
  const [state, socket] = [cli.state(), `${cli.path('s')}.sock`];
  const daemon = await Daemon.open({ stateDir: state, socket, version: 'test', threads: 1, ...more });
  const client = new Client({ socket });
  try {
    await act({ daemon, client, socket, state });
  } finally {
    for (const { name, state } of await client.list()) {
      if (state !== 'stopped' && state !== 'failed') await client.get(name).kill();
      await client.remove(name);
    }
    client.close();
    await daemon.close();
  }
}

/** Two events each. */
async function makeEvents(web: RemoteContainer, cycles: number): Promise<void> {
  for (let cycle = 0; cycle < cycles; cycle++) {
    await web.freeze();
    await web.unfreeze();
  }
}

function get(socketPath: string, path: string, headers: Record<string, string> = {}): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    request({ socketPath, path, headers, agent: false }, resolve).on('error', reject).end();
  });
}

async function metric({ socket }: Opened, name: string): Promise<number> {
  let text = '';
  for await (const chunk of await get(socket, '/metrics')) text += String(chunk);
  return Number(new RegExp(`^${name} (\\d+)`, 'm').exec(text)?.[1]);
}

test('a reader of events that does not read is cut off, and costs no other reader an event; one that is slow is not', () =>
  withDaemon(
    async opened => {
      const { client, socket } = opened;
      const web = await client.create({ name: 'web', template: 'busybox', init: '/bin/sleep', args: ['100000'] });
      await web.start();
      const deaf = await get(socket, '/v1/events?since=0');
      let ended: NodeJS.ErrnoException | undefined;
      deaf.on('error', (error: NodeJS.ErrnoException) => {
        ended = error;
      });
      // Takes a piece, and no more.
      deaf.once('data', () => deaf.pause());
      const stop = new AbortController();
      const seen: number[] = [];
      const reading = (async () => {
        for await (const { seq } of client.events({ since: 0, signal: stop.signal, reconnect: false })) {
          seen.push(seq);
          if (seq % 100 === 0) await new Promise(resolve => setTimeout(resolve, 50));
        }
      })();
      // Half a megabyte is more than the pipes on the way hold.
      await makeEvents(web, 800);
      const begun = Date.now();
      while ((await metric(opened, 'caisson_event_streams')) !== 1) {
        expect(Date.now() - begun).toBeLessThan(15_000);
        await new Promise(resolve => setTimeout(resolve, 50));
      }
      deaf.resume();
      await cli.until(() => ended !== undefined, 'it hears of it');
      const { seq } = await client.host();
      await cli.until(() => seen.at(-1) === seq, 'the other has seen all');
      expect(seen).toEqual(Array.from({ length: seq }, (_, index) => index + 1));
      expect(await metric(opened, 'caisson_event_streams')).toBe(1);
      stop.abort();
      await reading;
    },
    { patience: 300, heartbeat: 100 },
  ));

test('events that are no longer kept are refused with EVENTS_GONE: before the first word, and on the way', () =>
  withDaemon(
    async opened => {
      const { client, socket } = opened;
      const web = await client.create({ name: 'web', template: 'busybox', init: '/bin/sleep', args: ['100000'] });
      await web.start();
      // Begins in time, then falls behind all that is kept: in memory 1500, on disk two small files.
      const slow = await get(socket, '/v1/events?since=0');
      slow.pause();
      await makeEvents(web, 2000);
      const early = await get(socket, '/v1/events', { 'last-event-id': '1' });
      let text = '';
      for await (const chunk of early) text += String(chunk);
      expect([early.statusCode, JSON.parse(text)]).toMatchObject([
        410,
        { code: 'EVENTS_GONE', field: 'last-event-id' },
      ]);
      await expect(client.events({ since: 1 }).next()).rejects.toMatchObject({ code: 'EVENTS_GONE' });
      let rest = '';
      for await (const chunk of slow) rest += String(chunk);
      expect(rest.slice(-1000)).toMatch(/event: problem\ndata: .*"code":"EVENTS_GONE"/);
      expect(await metric(opened, 'caisson_event_streams')).toBe(0);
    },
    { journal: { segmentBytes: 4096, segments: 2 }, heartbeat: 100 },
  ));

test('calls, streams and sessions leave nothing with what lives as long as the daemon', () =>
  withDaemon(async ({ daemon, client, socket }) => {
    const { signal } = (daemon as unknown as { ending: AbortController }).ending;
    const web = await client.create({ name: 'web', template: 'busybox', init: '/bin/sh' });
    await web.start();
    for (let round = 0; round < 20; round++) {
      for (const path of ['/healthz', '/v1/host', '/nowhere', '/v1/containers/none'])
        (await get(socket, path)).resume();
      (await get(socket, '/v1/events')).destroy();
      (await get(socket, '/v1/containers/web/console?follow=true')).destroy();
      await expect(web.wait({ signal: AbortSignal.timeout(1) })).rejects.toMatchObject({ code: 'CANCELLED' });
      await web.exec(['true']);
      (await web.attach()).close();
      (await get(socket, '/v1/containers/web/wait?timeout=1')).resume();
    }
    await cli.until(() => getEventListeners(signal, 'abort').length === 0, 'all have let go');
    const container = daemon.supervisor.get('web') as unknown as { lifecycle: { waiters: Set<unknown> } };
    expect(container.lifecycle.waiters.size).toBe(0);
  }));

test('who types faster than is read waits, and is missed when gone', { timeout: 60_000 }, () =>
  withDaemon(async ({ client }) => {
    const warned: string[] = [];
    const warn = (warning: Error): void => void warned.push(warning.message);
    process.on('warning', warn);
    const web = await client.create({ name: 'web', template: 'busybox', init: '/bin/sleep', args: ['100000'] });
    await web.start();
    try {
      // Megabytes through a program that reads in small pieces.
      const reader = await web.open(['sh', '-c', 'sleep 0.2; exec wc -c']);
      reader.stdin.end(Buffer.alloc(8_000_000, 'x'));
      let counted = '';
      for await (const chunk of reader.stdout) counted += String(chunk);
      expect(counted.trim()).toBe('8000000');
      // What nobody reads stays with its sender: the console's, too, that PID 1 does not read.
      for (const program of [await web.open(['sleep', '4242']), await web.attach({ from: 'now' })]) {
        let sent = 0;
        // Lines: of one that has no end a terminal throws away what is too much.
        const piece = Buffer.alloc(64 * 1024, 'typed\n');
        const write = (): void =>
          void program.stdin.write(piece, () => {
            sent += piece.length;
            if (sent < 64_000_000) write();
          });
        write();
        const before = process.memoryUsage().arrayBuffers;
        await new Promise(resolve => setTimeout(resolve, 1500));
        expect(sent).toBeLessThan(4_000_000);
        expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(16_000_000);
        program.close();
      }
      const left = async (): Promise<string> =>
        (await web.exec(['sh', '-c', 'ps | grep "[s]leep 4242"'])).stdout.toString();
      const begun = Date.now();
      while ((await left()) !== '') {
        expect(Date.now() - begun).toBeLessThan(20_000);
        await new Promise(resolve => setTimeout(resolve, 200));
      }
      expect(warned).toEqual([]);
    } finally {
      process.off('warning', warn);
    }
  }),
);

test('a token whose end cannot be written down opens no door, and can be revoked again', () =>
  withDaemon(
    async ({ daemon, socket, state }) => {
      const call = (method: string, path: string, body?: object): Promise<[number, Record<string, unknown>]> =>
        new Promise((resolve, reject) => {
          const sent = request(
            { socketPath: socket, method, path, headers: { 'content-type': 'application/json' }, agent: false },
            response => {
              let text = '';
              response.on('data', chunk => {
                text += String(chunk);
              });
              response.on('end', () => resolve([response.statusCode ?? 0, text === '' ? {} : JSON.parse(text)]));
            },
          );
          sent.on('error', reject).end(body === undefined ? undefined : JSON.stringify(body));
        });
      const [, { id, token }] = await call('POST', '/v1/tokens', { name: 't', scope: 'admin' });
      const url = daemon.addresses.find(address => address.startsWith('http'));
      const client = new Client({ url: String(url), token: String(token) });
      expect(await client.list()).toEqual([]);
      // The file cannot be written: its place is taken.
      mkdirSync(`${state}/.tokens.new`);
      expect((await call('DELETE', `/v1/tokens/${id}`))[0]).toBe(500);
      await expect(client.list()).rejects.toMatchObject({ code: 'UNAUTHORIZED' });
      expect((await call('POST', '/v1/tokens', { name: 'u', scope: 'read' }))[0]).toBe(500);
      rmdirSync(`${state}/.tokens.new`);
      expect((await call('DELETE', `/v1/tokens/${id}`))[0]).toBe(204);
      expect((await call('GET', '/v1/tokens'))[1]).toEqual([]);
      await expect(client.list()).rejects.toMatchObject({ code: 'UNAUTHORIZED' });
      client.close();
    },
    { tcp: { listen: '127.0.0.1:0' } },
  ));
