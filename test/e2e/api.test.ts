/** The daemon as its users call it: HTTP over the Unix socket and TCP, and the client. */
import { statSync } from 'node:fs';
import type { CaissonEvent } from 'caisson';
import { CaissonError, Client } from 'caisson/client';
import { expect, test } from 'vitest';
import { isAlive, useCli } from './cli.ts';
import { clear, TestDaemon } from './daemon.ts';

const cli = useCli();
const SPEC = {
  template: 'busybox' as const,
  init: '/bin/sh',
  args: ['-c', 'trap "exit 0" TERM; echo up; while :; do sleep 1; done'],
  signals: { halt: 'SIGTERM' },
};

async function withDaemon(act: (daemon: TestDaemon) => Promise<void>, ...options: string[]): Promise<void> {
  const daemon = await new TestDaemon(cli, cli.state(), `${cli.path('s')}.sock`, options).start();
  try {
    await act(daemon);
  } finally {
    await clear(daemon);
  }
}

test('every call of a container over the Unix socket, from its creation to its removal', () =>
  withDaemon(async ({ client, socket }) => {
    expect((statSync(socket).mode & 0o777).toString(8)).toBe('660');
    const web = await client.create({ name: 'web', ...SPEC });
    expect(await web.inspect()).toMatchObject({ name: 'web', state: 'stopped', pid: null });
    expect((await web.plan()).steps.length).toBeGreaterThan(50);
    await web.start();
    const { pid, state } = await web.inspect();
    expect([state, isAlive(pid ?? 0)]).toEqual(['running', true]);
    expect((await web.timeline()).length).toBeGreaterThan(50);
    expect(await web.report()).toMatchObject({ steps: { done: expect.any(Number) } });
    const ran = await web.exec(['sh', '-c', 'cat; echo bad >&2; exit 3'], { stdin: 'typed' });
    expect([ran.stdout.toString(), ran.stderr.toString(), ran.exit]).toMatchObject([
      'typed',
      'bad\n',
      { kind: 'exit', status: 3 },
    ]);
    expect(await web.stats()).toMatchObject({ name: 'web' });
    for await (const { containers } of client.watchStats({ intervalMs: 100, names: ['web'] })) {
      if (containers[0]?.rates !== null) break;
    }
    await web.freeze();
    expect(await web.inspect()).toMatchObject({ state: 'frozen' });
    await web.unfreeze();
    await web.update({ credentials: { password: 'secret-value' } });
    expect(JSON.stringify(await web.inspect())).not.toContain('secret-value');
    expect((await web.exec(['cat', '/run/host/credentials/password'])).stdout.toString()).toBe('secret-value');
    let shown = '';
    for await (const { data } of web.console()) shown += data.toString();
    expect(shown).toContain('up');
    await web.restart({ timeout: 5000 });
    const waited = web.wait();
    expect(await web.stop({ timeout: 5000 })).toMatchObject({
      state: 'stopped',
      forced: false,
      exit: { kind: 'exit', status: 0 },
    });
    expect(await waited).toMatchObject({ state: 'stopped' });
    await web.start();
    expect(await web.kill()).toMatchObject({ exit: { kind: 'killed' } });
    expect((await client.list({ states: ['stopped'] })).map(({ name }) => name)).toEqual(['web']);
    expect(await client.list({ states: ['running'] })).toEqual([]);
    await client.remove('web');
    expect(await client.list()).toEqual([]);
    await expect(web.start()).rejects.toMatchObject({ code: 'CONTAINER_NOT_FOUND', field: 'name' });
    expect(await client.host()).toMatchObject({ version: '0.1.0', templates: ['busybox'] });
  }));

test('errors come as problems with our codes, and as the errors they were in the client', () =>
  withDaemon(async daemon => {
    const { status, headers, json } = await daemon.call('POST', '/v1/containers', {
      body: { name: 'x', rootfs: '/x', limits: { memory: 'much' } },
    });
    expect([status, headers['content-type']]).toEqual([400, 'application/problem+json']);
    expect(json).toMatchObject({
      type: 'urn:caisson:error:SPEC_INVALID',
      status: 400,
      code: 'SPEC_INVALID',
      field: 'limits.memory',
    });
    const error = await daemon.client
      .create({ name: 'x', rootfs: '/nope/at/all' })
      .then(
        created => created.start(),
        (error: unknown) => Promise.reject(error),
      )
      .catch((error: unknown) => error);
    expect(CaissonError.is(error) && [error.code, error.step?.id]).toEqual(['ROOTFS_MISSING', 'creating.rootfs.open']);
    expect((await daemon.call('PUT', '/v1/containers/x')).headers.allow).toBe('GET, PATCH, DELETE');
  }));

test('the daemon is killed and started again: containers live on, readers of events miss nothing and see nothing twice', () =>
  withDaemon(async daemon => {
    const { client } = daemon;
    const web = await client.create({ name: 'web', ...SPEC });
    const enough = new AbortController();
    const seen: CaissonEvent[] = [];
    const reading = (async () => {
      for await (const event of client.events({ since: 0, signal: enough.signal })) seen.push(event);
    })();
    await web.start();
    const { pid } = await web.inspect();
    await daemon.stop('SIGKILL');
    expect(isAlive(pid ?? 0)).toBe(true);
    await daemon.start();
    expect(await web.inspect()).toMatchObject({ state: 'running', pid });
    await web.stop({ timeout: 5000 });
    expect(await daemon.stop()).toBe(0);
    await daemon.start();
    await web.start();
    const { seq } = await client.host();
    await cli.until(() => seen.at(-1)?.seq === seq, 'the reader has come back');
    enough.abort();
    await reading;
    expect(seen.map(event => event.seq)).toEqual(Array.from({ length: seq }, (_, index) => index + 1));
    expect(seen.filter(event => event.type === 'state' && event.to === 'running').length).toBe(2);
    const only: string[] = [];
    for await (const { type } of client.events({ since: 0, types: ['created', 'notice'], containers: ['web'] })) {
      only.push(type);
      if (only.length === 2) break;
    }
    expect(new Set(only)).toEqual(new Set(['created', 'notice']));
    const future = await daemon.call('GET', '/v1/events', { headers: { 'last-event-id': '99999' } });
    expect([future.status, future.json.field]).toEqual([400, 'last-event-id']);
  }));

test('over TCP: a token by its scope, until it is revoked; no foreign name, no foreign page', () =>
  withDaemon(
    async daemon => {
      const { url } = daemon;
      const get = (headers: Record<string, string> = {}, path = '/v1/containers') =>
        daemon.call('GET', path, { headers, url });
      expect((await get({}, '/healthz')).json).toEqual({ status: 'ok' });
      for (const path of ['/v1/containers', '/metrics', '/v1/openapi.json', '/nowhere'])
        expect((await get({}, path)).status).toBe(401);
      const made = await daemon.call('POST', '/v1/tokens', { body: { name: 'ci', scope: 'read' } });
      const { token, id } = made.json as { token: string; id: string };
      const authorization = `Bearer ${token}`;
      expect((await get({ authorization })).status).toBe(200);
      const post = await daemon.call('POST', '/v1/containers', {
        url,
        headers: { authorization },
        body: { name: 'x' },
      });
      expect([post.status, post.json.code]).toEqual([403, 'FORBIDDEN']);
      const port = new URL(url).port;
      for (const host of ['evil.example', `evil.example:${port}`, '127.0.0.1'])
        expect((await get({ authorization, host })).json.field).toBe('host');
      expect((await get({ authorization, origin: 'http://evil.example' })).json.field).toBe('origin');
      expect((await get({ authorization, host: `localhost:${port}`, origin: `http://localhost:${port}` })).status).toBe(
        200,
      );
      expect((await get({ authorization: `${authorization.slice(0, -1)}_` })).status).toBe(401);
      expect((await daemon.call('GET', '/v1/tokens')).text).not.toContain(token.split('_').at(-1));
      const reader = new Client({ url, token });
      const reading = reader.events({ since: 0, reconnect: false });
      await daemon.client.create({ name: 'web', ...SPEC });
      expect((await reading.next()).value?.type).toBe('created');
      const done = reading.next();
      await daemon.call('DELETE', `/v1/tokens/${id}`);
      expect((await done).done).toBe(true);
      expect((await get({ authorization })).status).toBe(401);
      reader.close();
      expect(daemon.running.complained).not.toContain(token);
    },
    '--listen',
    '127.0.0.1:0',
  ));

test('a call with an idempotency key is carried out once', () =>
  withDaemon(async daemon => {
    const create = (name: string, key: string) =>
      daemon.call('POST', '/v1/containers', { headers: { 'idempotency-key': key }, body: { name, ...SPEC } });
    const both = await Promise.all([create('once', 'k1'), create('once', 'k1')]);
    expect(both.map(({ status }) => status)).toEqual([201, 201]);
    expect(both[0]?.text).toBe(both[1]?.text);
    expect((await create('once', 'k2')).json.code).toBe('CONTAINER_EXISTS');
    expect((await create('other', 'k1')).json.code).toBe('IDEMPOTENCY_CONFLICT');
  }));

test('a socket that somebody listens at is refused, one that is no socket too; a stale one is replaced', () =>
  withDaemon(async daemon => {
    const second = cli.start(['daemon', '--state', cli.state(), '--socket', daemon.socket]);
    const { code, stderr } = await second.finished;
    expect([code, stderr]).toEqual([125, expect.stringContaining('[SOCKET_IN_USE]')]);
    const wrong = await cli.start(['daemon', '--state', cli.state(), '--socket', '/etc/passwd']).finished;
    expect(wrong.stderr).toContain('field: socket');
    const open = await cli.start([
      'daemon',
      '--state',
      cli.state(),
      '--socket',
      `${cli.path('t')}.sock`,
      '--listen',
      '0.0.0.0:0',
    ]).finished;
    expect(open.stderr).toContain('field: listen');
    await daemon.stop('SIGKILL');
    await daemon.start();
  }));

test('SIGPWR stops the containers, and what ran is to run', () =>
  withDaemon(async daemon => {
    const web = await daemon.client.create({ name: 'web', ...SPEC });
    await web.start();
    const { pid } = await web.inspect();
    expect(await daemon.stop('SIGPWR')).toBe(0);
    expect(isAlive(pid ?? 0)).toBe(false);
  }));

test('metrics and the document', () =>
  withDaemon(async daemon => {
    const web = await daemon.client.create({ name: 'web', ...SPEC });
    await web.start();
    const { text } = await daemon.call('GET', '/metrics');
    expect(text).toContain('caisson_containers{state="running"} 1\n');
    expect(text).toMatch(/^caisson_start_seconds_count 1$/m);
    const { json } = await daemon.call('GET', '/v1/openapi.json');
    expect(json).toMatchObject({
      openapi: '3.1.0',
      components: { schemas: { ContainerSpec: { properties: { limits: {} } } } },
    });
  }));

test('a manager is told when the daemon is ready, that it lives, and when it ends (sd_notify)', async () => {
  const place = cli.path('notify');
  const listener = cli.spawn('python3', [
    '-c',
    `import socket\ns=socket.socket(socket.AF_UNIX,socket.SOCK_DGRAM)\ns.bind('${place}')\nprint('bound',flush=True)\nwhile True: print(s.recv(4096).decode(),flush=True)`,
  ]);
  await listener.shows('bound');
  const daemon = new TestDaemon(cli, cli.state(), `${cli.path('s')}.sock`);
  await daemon.start({ NOTIFY_SOCKET: place, WATCHDOG_USEC: '200000' });
  try {
    await listener.shows(/READY=1\nSTATUS=listening at unix:/);
    await listener.shows(/WATCHDOG=1\n(.*\n)*WATCHDOG=1/);
  } finally {
    await clear(daemon);
    await listener.shows('STOPPING=1');
    listener.kill('SIGTERM');
    await listener.finished;
  }
});
