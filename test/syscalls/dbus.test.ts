/** The D-Bus client against the real dbus-daemon, and its codec against what systemd's own library sends. */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { BusConnection } from '#src/syscalls/dbus/connection.js';
import { marshal } from '#src/syscalls/dbus/marshal.js';
import { decodeMessage, type Message, messageLength } from '#src/syscalls/dbus/message.js';
import type { Value } from '#src/syscalls/dbus/types.js';
import { Bus } from '../lib/bus.ts';
import { removeTree } from '../lib/rig.ts';
import { slow } from '../lib/slow.ts';

const DBUS = { destination: 'org.freedesktop.DBus', path: '/org/freedesktop/DBus', interface: 'org.freedesktop.DBus' };
const NAME = 'org.example.Caisson';

let directory: string;
let bus: Bus;
const soon = (ms = slow(5000)): number => performance.now() + ms;

function caught(call: () => unknown): unknown {
  try {
    call();
  } catch (error) {
    return error;
  }
  throw new Error('nothing was thrown');
}

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'caisson-bus-'));
  bus = await Bus.start(directory);
});

afterAll(async () => {
  await bus?.stop();
  removeTree(directory);
});

describe('calls', () => {
  let connection: BusConnection;
  beforeAll(() => {
    connection = BusConnection.open(bus.path, soon());
  });
  afterAll(() => connection.close());

  test('the bus knows who we are, and answers', () => {
    const [names] = connection.call({ ...DBUS, member: 'ListNames' }, soon());
    const own = (names as string[]).filter(name => name.startsWith(':'));
    expect(own.length).toBeGreaterThanOrEqual(1);
    const args = [own.at(-1) as string];
    const ask = (member: string): readonly Value[] =>
      connection.call({ ...DBUS, member, signature: 's', args }, soon());
    expect(ask('GetConnectionUnixUser')).toEqual([process.getuid?.()]);
    expect(ask('GetConnectionUnixProcessID')).toEqual([process.pid]);
    const [credentials] = ask('GetConnectionCredentials');
    expect(credentials).toContainEqual(['ProcessID', { signature: 'u', value: process.pid }]);
  });

  test('a property comes out of its variant', () => {
    expect(connection.property(DBUS, 'Interfaces', soon())).toContain('org.freedesktop.DBus.Monitoring');
  });

  test('an error reply is an error with its name, its text and the errno that says the same', () => {
    const nobody = { ...DBUS, destination: 'org.example.Nobody', member: 'Hello' };
    expect(caught(() => connection.call(nobody, soon()))).toMatchObject({
      errorName: 'org.freedesktop.DBus.Error.ServiceUnknown',
      code: 'EHOSTUNREACH',
      message: expect.stringContaining('org.example.Nobody'),
    });
    const unknown = { ...DBUS, member: 'NoSuchMethod' };
    expect(caught(() => connection.call(unknown, soon()))).toMatchObject({ code: 'ENOSYS' });
    // What came after it is not mixed up with it.
    expect(connection.call({ ...DBUS, member: 'GetId' }, soon())).toEqual([expect.stringMatching(/^[0-9a-f]{32}$/)]);
  });

  test('a reply of many packets is put together', () => {
    const environment = Array.from({ length: 2000 }, (_, index): Value => [`NAME_${index}`, 'x'.repeat(100)]);
    const call = { ...DBUS, member: 'UpdateActivationEnvironment', signature: 'a{ss}', args: [environment] };
    expect(connection.call(call, soon())).toEqual([]);
    const rules = Array.from({ length: 400 }, (_, index) => `type='signal',arg0='${'y'.repeat(500)}${index}'`);
    for (const rule of rules) connection.match(rule, soon());
    const [stats] = connection.call(
      { ...DBUS, interface: 'org.freedesktop.DBus.Debug.Stats', member: 'GetAllMatchRules' },
      soon(),
    );
    expect(JSON.stringify(stats).length).toBeGreaterThan(200_000);
  });
});

describe('signals', () => {
  test('those that were asked for are waited for; others, and earlier ones, are passed over', () => {
    const connection = BusConnection.open(bus.path, soon());
    try {
      const rule = `type='signal',sender='org.freedesktop.DBus',member='NameOwnerChanged',arg0='${NAME}'`;
      connection.match(rule, soon());
      const other = BusConnection.open(bus.path, soon());
      other.call({ ...DBUS, member: 'RequestName', signature: 'su', args: [NAME, 0] }, soon());
      // It is here before the reply to this call is, and is kept.
      connection.call({ ...DBUS, member: 'GetId' }, soon());
      other.close();
      const isGone = ({ member, body }: Message): boolean => member === 'NameOwnerChanged' && body[2] === '';
      const gone = connection.signal(isGone, soon());
      expect(gone).toMatchObject({ type: 'signal', path: DBUS.path, sender: DBUS.destination });
      expect(gone.body[0]).toBe(NAME);
      const begun = performance.now();
      expect(caught(() => connection.signal(isGone, soon(200)))).toMatchObject({ errno: 'ETIMEDOUT' });
      expect(performance.now() - begun).toBeGreaterThanOrEqual(190);
      expect(performance.now() - begun).toBeLessThan(slow(2000));
    } finally {
      connection.close();
    }
  });
});

describe('a bus that does not answer', () => {
  /** Listens in a process of its own: a blocking client cannot be served by its own event loop. */
  async function listener(script: string): Promise<{ path: string; child: ChildProcess }> {
    const path = join(directory, `listener-${Math.random()}`);
    const program = `require('node:net').createServer(socket => {${script}}).listen(${JSON.stringify(path)}, () => console.log('up'))`;
    const child = spawn(process.execPath, ['-e', program], { stdio: ['ignore', 'pipe', 'inherit'] });
    await once(child.stdout as NodeJS.ReadableStream, 'data');
    return { path, child };
  }

  async function opened(script: string, ms: number): Promise<unknown> {
    const { path, child } = await listener(script);
    try {
      return caught(() => BusConnection.open(path, soon(ms)));
    } finally {
      child.kill();
      await once(child, 'exit');
    }
  }

  const descriptors = (): number => readdirSync('/proc/self/fd').length;

  test('there is none, or nobody listens', async () => {
    expect(caught(() => BusConnection.open(join(directory, 'none'), soon()))).toMatchObject({ errno: 'ENOENT' });
    expect(caught(() => BusConnection.open(`/${'x'.repeat(200)}`, soon()))).toMatchObject({ errno: 'ENAMETOOLONG' });
    const path = join(directory, 'file');
    writeFileSync(path, '');
    expect(caught(() => BusConnection.open(path, soon()))).toMatchObject({ errno: 'ECONNREFUSED' });
  });

  test('it is silent: the time limit holds, and no descriptor is left', async () => {
    const fds = descriptors();
    const begun = performance.now();
    expect(await opened('', 300)).toMatchObject({ errno: 'ETIMEDOUT' });
    expect(performance.now() - begun).toBeLessThan(slow(3000));
    expect(descriptors()).toBe(fds);
  });

  test('it hangs up', async () => {
    expect(await opened('socket.destroy()', slow(3000))).toBeInstanceOf(Error);
    expect(await opened('socket.once("data", () => socket.end())', slow(3000))).toMatchObject({ code: 'ECONNRESET' });
  });

  test('it refuses us', async () => {
    const error = await opened('socket.write("REJECTED EXTERNAL\\r\\n")', slow(3000));
    expect(error).toMatchObject({ errno: 'EACCES', message: expect.stringContaining('REJECTED') });
  });

  test('it speaks another protocol, or too much of one', async () => {
    expect(await opened('socket.write("HTTP/1.1 400 Bad Request\\r\\n")', slow(3000))).toMatchObject({
      errno: 'EACCES',
    });
    expect(String(await opened('socket.write("x".repeat(20000))', slow(3000)))).toContain('does not speak');
  });
});

interface Seen {
  readonly message: Message;
  /** As it was sent. */
  readonly body: Buffer;
}

/** Whole messages of a stream of them. */
function messagesIn(stream: Buffer): Seen[] {
  const out: Seen[] = [];
  for (let rest = stream; ; ) {
    const length = messageLength(rest);
    if (length === undefined || length > rest.length) return out;
    const message = decodeMessage(rest.subarray(0, length));
    if (message !== undefined) out.push({ message, body: rest.subarray(length - rest.readUInt32LE(4), length) });
    rest = rest.subarray(length);
  }
}

/** What passes the bus while `work` is done, up to a message to `member`. */
async function monitored(member: string, work: () => Promise<unknown>): Promise<Seen> {
  const child = spawn('dbus-monitor', ['--address', bus.address, '--binary'], { stdio: ['ignore', 'pipe', 'inherit'] });
  const chunks: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => chunks.push(chunk));
  const soonSeen = async (wanted: (seen: Seen) => boolean): Promise<Seen> => {
    for (const deadline = soon(); ; ) {
      const found = messagesIn(Buffer.concat(chunks)).find(wanted);
      if (found !== undefined) return found;
      if (performance.now() > deadline) throw new Error(`no message to ${member} passed the bus`);
      await new Promise(resolve => setTimeout(resolve, 10));
    }
  };
  try {
    // It is told of its own new state.
    await soonSeen(() => true);
    await work();
    return await soonSeen(({ message }) => message.member === member);
  } finally {
    child.kill();
    await once(child, 'exit');
  }
}

const BUSCTL = '/usr/bin/busctl';

test("what systemd's own library marshals is read, and written again to the same bytes", async ({ skip }) => {
  if (!existsSync(BUSCTL)) skip(`${BUSCTL} is missing: install the Debian package systemd`);
  const signature = 'ssa(sv)a(sa(sv))ayauxtnqdb(oay)a{sv}';
  const given =
    'web.scope fail 5 PIDs au 2 7 8 Slice s machine.slice Delegate b true KillSignal i 37 TasksMax t 18446744073709551615 ' +
    '1 aux.service 1 Description s text 3 1 2 255 2 1 4294967295 -- -5 7 -300 65535 2.5 false /a/b 2 1 2 1 k (si) v -1';
  const args = [
    `--address=${bus.address}`,
    'call',
    NAME,
    '/',
    'org.example.X',
    'Probe',
    signature,
    ...given.split(' '),
  ];
  const { message, body } = await monitored('Probe', () =>
    // Nobody has that name; what matters is what was sent.
    promisify(execFile)(BUSCTL, args).catch(() => undefined),
  );
  expect(message.signature).toBe(signature);
  const variant = (of: string, value: Value): Value => ({ signature: of, value });
  expect(message.body).toEqual([
    'web.scope',
    'fail',
    [
      ['PIDs', variant('au', [7, 8])],
      ['Slice', variant('s', 'machine.slice')],
      ['Delegate', variant('b', true)],
      ['KillSignal', variant('i', 37)],
      ['TasksMax', variant('t', (1n << 64n) - 1n)],
    ],
    [['aux.service', [['Description', variant('s', 'text')]]]],
    Uint8Array.of(1, 2, 255),
    [1, 4294967295],
    -5n,
    7n,
    -300,
    65535,
    2.5,
    false,
    ['/a/b', Uint8Array.of(1, 2)],
    [['k', variant('(si)', ['v', -1])]],
  ]);
  expect(marshal(signature, message.body).equals(body)).toBe(true);
});
