/** Programs and consoles over WebSockets, with all their streams. */
import type { Readable } from 'node:stream';
import { Client } from 'caisson/client';
import { expect, test } from 'vitest';
import WebSocket from 'ws';
import { isAlive, useCli } from './cli.ts';
import { clear, TestDaemon } from './daemon.ts';

const cli = useCli();

async function withContainer(
  act: (daemon: TestDaemon, web: ReturnType<Client['get']>) => Promise<void>,
): Promise<void> {
  const options = ['--listen', '127.0.0.1:0'];
  const daemon = await new TestDaemon(cli, cli.state(), `${cli.path('s')}.sock`, options).start();
  try {
    const web = await daemon.client.create({ name: 'web', template: 'busybox', init: '/bin/sh' });
    await web.start();
    await act(daemon, web);
  } finally {
    await clear(daemon);
  }
}

async function textOf(stream: Readable): Promise<string> {
  let text = '';
  for await (const chunk of stream) text += String(chunk);
  return text;
}

async function shows(stream: Readable, wanted: RegExp): Promise<string> {
  let text = '';
  for await (const chunk of stream.iterator({ destroyOnReturn: false })) {
    text += String(chunk);
    if (wanted.test(text)) return text;
  }
  throw new Error(`${wanted} was not shown: ${text}`);
}

test('a program with pipes: every byte of its streams, its end, a signal', () =>
  withContainer(async (_daemon, web) => {
    const program = await web.open(['sh', '-c', 'cat; echo bad >&2; exit 3']);
    const bytes = Buffer.alloc(3_000_000, 'abcdefg');
    program.stdin.end(bytes);
    const [out, error] = await Promise.all([textOf(program.stdout), textOf(program.stderr)]);
    expect(out === bytes.toString()).toBe(true);
    expect(error).toBe('bad\n');
    expect(await program.wait()).toMatchObject({ kind: 'exit', status: 3 });
    const sleeper = await web.open(['sleep', '1000']);
    sleeper.kill('SIGTERM');
    expect(await sleeper.wait()).toMatchObject({ kind: 'signal', signal: 'SIGTERM' });
    await expect(web.open(['/no/such/program'])).rejects.toMatchObject({ code: 'EXEC_FAILED', errno: 'ENOENT' });
  }));

test('a program with a terminal, and its size', () =>
  withContainer(async (_daemon, web) => {
    const program = await web.open(['sh'], { tty: { rows: 30, cols: 90 } });
    program.stdin.write('stty size\n');
    await shows(program.stdout, /30 90/);
    program.resize(40, 120);
    program.stdin.write('stty size\n');
    await shows(program.stdout, /40 120/);
    program.stdin.write('exit 5\n');
    program.stdout.resume();
    expect(await program.wait()).toMatchObject({ kind: 'exit', status: 5 });
  }));

test('a program whose caller goes is killed, at the end of the daemon, too', () =>
  withContainer(async (daemon, web) => {
    const isThere = async (): Promise<boolean> =>
      (await web.exec(['sh', '-c', 'ps | grep "[s]leep 4242"'])).stdout.length > 0;
    const program = await web.open(['sh', '-c', 'echo on; exec sleep 4242']);
    await shows(program.stdout, /on/);
    expect(await isThere()).toBe(true);
    program.close();
    for (let tries = 0; (await isThere()) && tries < 100; tries++) await new Promise(next => setTimeout(next, 20));
    expect(await isThere()).toBe(false);
    const another = await web.open(['sh', '-c', 'echo on; exec sleep 4242']);
    await shows(another.stdout, /on/);
    const { pid } = await web.inspect();
    await daemon.stop();
    await expect(another.wait()).rejects.toMatchObject({ code: 'DAEMON_UNREACHABLE' });
    await daemon.start();
    expect(isAlive(pid ?? 0)).toBe(true);
    expect(await isThere()).toBe(false);
  }));

test('the console: what was shown, what is typed; others read along', () =>
  withContainer(async (_daemon, web) => {
    const [one, two] = [await web.attach(), await web.attach({ from: 'now' })];
    one.stdin.write('echo $((6 * 7))x\n');
    await Promise.all([shows(one.stdout, /42x/), shows(two.stdout, /42x/)]);
    one.close();
    two.close();
  }));

test('who may not, and what is not understood, is refused', () =>
  withContainer(async (daemon, web) => {
    await expect(daemon.client.get('none').open(['true'])).rejects.toMatchObject({ code: 'CONTAINER_NOT_FOUND' });
    const { json } = await daemon.call('POST', '/v1/tokens', { body: { name: 'r', scope: 'read' } });
    const reader = new Client({ url: daemon.url, token: String(json.token) });
    await expect(reader.get('web').open(['true'])).rejects.toMatchObject({ code: 'FORBIDDEN' });
    await expect(new Client({ url: daemon.url }).get('web').open(['true'])).rejects.toMatchObject({
      code: 'UNAUTHORIZED',
    });
    const said = (first: string, path = 'exec', headers = {}) =>
      new Promise<string>(resolve => {
        const socket = new WebSocket(`ws+unix:${daemon.socket}:/v1/containers/web/${path}`, { headers });
        socket.on('open', () => socket.send(first));
        socket.on('message', data => resolve(String(data)));
        socket.on('error', error => resolve(error.message));
        socket.on('close', () => resolve('closed'));
      });
    for (const first of [
      '{',
      '7',
      '{}',
      '{"argv":"ls"}',
      '{"argv":[]}',
      '{"argv":["ls"],"x":1}',
      '{"argv":["a\\u0000"]}',
    ])
      expect(await said(first), first).toMatch(/REQUEST_INVALID|SPEC_INVALID/);
    expect(await said('{}', 'exec', { origin: 'http://evil.example' })).toContain('403');
    expect(await said('{}', 'nothing')).toContain('404');
    expect((await web.exec(['true'])).exit).toMatchObject({ kind: 'exit', status: 0 });
    reader.close();
  }));
