/** Who comes in through the daemon's doors: modes and groups of its socket, TLS, and those who are turned away. */
import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { Client } from 'caisson/client';
import { expect, test } from 'vitest';
import { MAIN, useCli } from './cli.ts';
import { clear, TestDaemon } from './daemon.ts';

const cli = useCli();
const STRANGER = 64_123;
const GROUP = 64_124;

async function withDaemon(act: (daemon: TestDaemon) => Promise<void>, ...options: string[]): Promise<void> {
  const daemon = await new TestDaemon(cli, cli.state(), `${cli.path('s')}.sock`, options).start();
  try {
    await act(daemon);
  } finally {
    await clear(daemon);
  }
}

/** Every mode that the socket at a path is seen with, until it is gone. */
const WATCH = `
import os,sys,stat
path=sys.argv[1]; seen=set()
print('watching',flush=True)
while True:
  try: mode=os.lstat(path).st_mode
  except FileNotFoundError:
    if seen: break
    continue
  if mode not in seen:
    seen.add(mode); print('mode %o' % stat.S_IMODE(mode),flush=True)
`;

test('the socket has its mode from the first moment on, whatever the umask', async () => {
  const socket = `${cli.path('s')}.sock`;
  const watcher = cli.spawn('python3', ['-c', WATCH, socket]);
  await watcher.shows('watching');
  const script = 'umask 0; exec "$@"';
  const words = [MAIN, 'daemon', '--state', cli.state(), '--socket', socket];
  const daemon = cli.spawn('/bin/sh', ['-c', script, 'sh', process.execPath, ...words]);
  await cli.until(() => daemon.complained.includes('listening at'), 'the daemon listens');
  await watcher.shows('mode');
  daemon.kill('SIGTERM');
  expect((await daemon.finished).code).toBe(0);
  expect((await watcher.finished).text).toBe('watching\nmode 660\n');
});

/** A call of the socket by another user; what came of it. */
function callAs(uid: number, gid: number, socket: string, path = '/v1/host'): string {
  const call = ['curl', '-s', '-m', '10', '-w', '%{http_code}', '-o', '/dev/null'];
  const ids = ['--reuid', String(uid), '--regid', String(gid), '--clear-groups'];
  try {
    return execFileSync('setpriv', [
      ...ids,
      ...call,
      '-X',
      'POST',
      '--unix-socket',
      socket,
      `http://x${path}`,
    ]).toString();
  } catch (error) {
    return String((error as { stdout: Buffer }).stdout);
  }
}

test('the group caisson may call, and is named by its uid; nobody else may', async () => {
  const dir = cli.path('open');
  mkdirSync(dir, { mode: 0o755 });
  chmodSync(cli.dir, 0o755);
  const group = `${dir}/group`;
  writeFileSync(group, `${readFileSync('/etc/group', 'utf8')}caisson:x:${GROUP}:\n`);
  const socket = `${dir}/c.sock`;
  // It has a group file of its own.
  const script = 'mount --bind "$1" /etc/group && shift && exec "$@"';
  const words = [MAIN, 'daemon', '--state', cli.state(), '--socket', socket];
  const unshared = ['-m', '--propagation', 'private', '/bin/sh', '-c', script, 'sh', group];
  const daemon = cli.spawn('unshare', [...unshared, process.execPath, ...words]);
  try {
    await cli.until(() => daemon.complained.includes('listening at'), 'the daemon listens');
    const { mode, uid, gid } = statSync(socket);
    expect([(mode & 0o777).toString(8), uid, gid]).toEqual(['660', 0, GROUP]);
    expect(callAs(STRANGER, STRANGER, socket)).toBe('000');
    expect(callAs(STRANGER, GROUP, socket, '/v1/containers/none/kill')).toBe('404');
    expect(callAs(STRANGER, GROUP, socket, '/v1/containers')).toBe('400');
    const client = new Client({ socket });
    await client.create({ name: 'x', template: 'busybox' });
    await client.remove('x');
    expect(callAs(STRANGER, GROUP, socket, '/v1/tokens')).toBe('400');
    await cli.until(() => daemon.complained.includes('"who":"uid 0"'), 'root is named');
    execFileSync('setpriv', [
      ...[
        '--reuid',
        String(STRANGER),
        '--regid',
        String(GROUP),
        '--clear-groups',
        'curl',
        '-sf',
        '--unix-socket',
        socket,
      ],
      ...['-H', 'content-type: application/json', '-d', '{"name":"t","scope":"read"}', 'http://x/v1/tokens'],
    ]);
    await cli.until(() => daemon.complained.includes(`"who":"uid ${STRANGER}"`), 'the other is named');
    client.close();
  } finally {
    daemon.kill('SIGTERM');
    await daemon.finished;
  }
});

const UPGRADE = ['Host: HOST', 'Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Version: 13'];

function knock(port: number, head: readonly string[]): Promise<{ socket: Socket; said: () => string }> {
  return new Promise((resolve, reject) => {
    let said = '';
    const socket = connect({ host: '127.0.0.1', port, allowHalfOpen: true }, () => {
      socket.write(`${head.join('\r\n')}\r\n\r\n`);
    });
    socket.on('error', reject);
    socket.once('data', () => resolve({ socket, said: () => said }));
    socket.on('data', data => {
      said += data.toString();
    });
  });
}

test('a WebSocket that is refused is closed, also when the other side stays, and does not hold up the end', () =>
  withDaemon(
    async daemon => {
      const { pid } = daemon.running.child;
      const open = (): number =>
        execFileSync('ls', [`/proc/${pid}/fd`])
          .toString()
          .split('\n').length;
      const port = Number(new URL(daemon.url).port);
      const head = [
        'GET /v1/containers/web/exec HTTP/1.1',
        ...UPGRADE.map(line => line.replace('HOST', `127.0.0.1:${port}`)),
        'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
      ];
      const before = open();
      const knocked = await Promise.all(Array.from({ length: 50 }, () => knock(port, head)));
      try {
        expect(knocked[0]?.said()).toContain('401');
        await cli.until(() => open() <= before + 5, 'they are closed');
        expect(await daemon.stop()).toBe(0);
      } finally {
        for (const { socket } of knocked) socket.destroy();
      }
    },
    '--listen',
    '127.0.0.1:0',
  ));

interface Certificate {
  readonly cert: string;
  readonly key: string;
}

function certificate(): Certificate {
  const [cert, key] = [cli.path('cert'), cli.path('key')];
  const names = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1'];
  const kind = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'];
  execFileSync('openssl', ['req', '-x509', ...kind, ...names, '-out', cert, '-keyout', key], { stdio: 'ignore' });
  return { cert, key };
}

let made: Certificate | undefined;
function own(): Certificate {
  made ??= certificate();
  return made;
}
const tls = ({ cert, key }: Certificate): string[] => ['--tls-cert', cert, '--tls-key', key];

test('TLS: calls, streams and sessions of a client that knows the authority; nobody else, nothing in the clear', async () => {
  const ca = readFileSync(own().cert, 'utf8');
  const options = ['--listen', '127.0.0.1:0', ...tls(own())];
  await withDaemon(
    async daemon => {
      const { url } = daemon;
      expect(url).toMatch(/^https:/);
      const { json } = await daemon.call('POST', '/v1/tokens', { body: { name: 'a', scope: 'admin' } });
      const token = String(json.token);
      const client = new Client({ url, token, ca });
      const byName = new Client({ url: url.replace('127.0.0.1', 'localhost'), token, ca });
      try {
        const reading = client.events({ since: 0, reconnect: false });
        const web = await client.create({ name: 'web', template: 'busybox', init: '/bin/sh' });
        expect((await reading.next()).value?.type).toBe('created');
        await reading.return();
        await web.start();
        expect(await byName.get('web').inspect()).toMatchObject({ state: 'running' });
        const program = await web.open(['cat']);
        program.stdin.end('through');
        let text = '';
        for await (const chunk of program.stdout) text += String(chunk);
        expect([text, (await program.wait()).kind]).toEqual(['through', 'exit']);
        await expect(new Client({ url, token }).list()).rejects.toMatchObject({
          code: 'DAEMON_UNREACHABLE',
          errno: 'DEPTH_ZERO_SELF_SIGNED_CERT',
        });
        await expect(new Client({ url, token }).get('web').open(['true'])).rejects.toMatchObject({
          code: 'DAEMON_UNREACHABLE',
        });
        await expect(new Client({ url: url.replace('https', 'http'), token }).list()).rejects.toMatchObject({
          code: 'DAEMON_UNREACHABLE',
        });
        const other = new Client({ url, ca });
        await expect(other.list()).rejects.toMatchObject({ code: 'UNAUTHORIZED' });
        other.close();
        expect(daemon.running.complained).not.toContain(token);
      } finally {
        client.close();
        byName.close();
      }
    },
    ...options,
  );
});

test('TLS: who connects and says nothing does not hold up the end', async () => {
  const options = ['--listen', '127.0.0.1:0', ...tls(own())];
  await withDaemon(
    async daemon => {
      const silent = connect({ host: '127.0.0.1', port: Number(new URL(daemon.url).port) });
      await new Promise(resolve => silent.once('connect', resolve));
      // Until the daemon has it, too.
      await daemon.call('GET', '/healthz');
      const begun = Date.now();
      silent.on('error', () => undefined);
      expect(await daemon.stop()).toBe(0);
      expect(Date.now() - begun).toBeLessThan(9000);
      silent.destroy();
    },
    ...options,
  );
});

test('TLS: what is no certificate, or has another key, is refused by its field', async () => {
  const [right, other] = [own(), certificate()];
  const cases = [
    { cert: right.cert, key: other.key },
    { cert: right.key, key: right.key },
    { cert: '/etc/passwd', key: right.key },
  ];
  for (const wrong of cases) {
    const words = ['--listen', '127.0.0.1:0', ...tls(wrong), '--socket', `${cli.path('s')}.sock`];
    const { code, stderr } = await cli.start(['daemon', '--state', cli.state(), ...words]).finished;
    expect([code, stderr]).toEqual([125, expect.stringContaining('field: tls')]);
  }
  const alone = ['--listen', '127.0.0.1:0', '--tls-cert', right.cert, '--socket', `${cli.path('s')}.sock`];
  expect((await cli.start(['daemon', '--state', cli.state(), ...alone]).finished).stderr).toContain('field: tls');
});
