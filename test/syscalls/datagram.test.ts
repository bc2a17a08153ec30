/** Datagram sockets against the kernel: where they can be bound, whom they name, and that no descriptor gets in (LIF-37). */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { release } from 'node:os';
import process from 'node:process';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { AT, MOUNT_ATTR } from '#src/syscalls/abi/constants.js';
import { scratch } from '#src/syscalls/arena.js';
import { bindDatagram, type Datagram, discardEntry, receiveDatagram } from '#src/syscalls/datagram.js';
import { close, mkdirat } from '#src/syscalls/fs.js';
import { runErrand } from '#src/syscalls/launcher/errand.js';
import { syscall } from '#src/syscalls/libc.js';
import { newMount } from '#src/syscalls/mount.js';
import { releaseWatches } from '#src/syscalls/watch.js';

const SIZE = 4096;
const children: ChildProcess[] = [];
let mount: number;
let socket: number;

beforeEach(() => {
  mount = newMount('tmpfs', { mode: '0755' }, 0);
  socket = bindDatagram(mount, 'notify', { uid: 0, gid: 0, mode: 0o600 });
});

afterEach(async () => {
  for (const child of children.splice(0)) {
    if (child.exitCode === null && child.signalCode === null) {
      const ended = once(child, 'exit');
      child.kill('SIGKILL');
      await ended;
    }
  }
  close(socket);
  close(mount);
});

/** A python that has `s`, a socket connected to ours, and runs `code`; `line()` resolves with its next line. */
function sender(code: string, how: string[] = []): { child: ChildProcess; line: () => Promise<string> } {
  const path = `/proc/${process.pid}/fd/${mount}/notify`;
  const prelude = `
import array, os, select, socket, struct, sys, time
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.connect("${path}")
def rights(text, fd): s.sendmsg([text], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))])
def say(*words): print(*words, flush=True)
`;
  const [program = 'python3', ...args] = [...how, 'python3', '-c', prelude + code];
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  children.push(child);
  let text = '';
  child.stdout.on('data', (chunk: Buffer) => {
    text += chunk.toString();
  });
  return {
    child,
    line: async () => {
      const deadline = Date.now() + 10_000;
      while (!text.includes('\n')) {
        if (Date.now() > deadline) throw new Error(`nothing printed but ${JSON.stringify(text)}`);
        await new Promise(resolve => setTimeout(resolve, 5));
      }
      const [first = '', ...rest] = text.split('\n');
      text = rest.join('\n');
      return first;
    },
  };
}

async function until(condition: () => boolean): Promise<void> {
  const deadline = Date.now() + 10_000;
  while (!condition()) {
    if (Date.now() > deadline) throw new Error('nothing was received');
    await new Promise(resolve => setTimeout(resolve, 5));
  }
}

async function next(): Promise<Datagram> {
  const deadline = Date.now() + 10_000;
  for (;;) {
    const datagram = receiveDatagram(socket, { size: SIZE });
    if (datagram !== undefined) return datagram;
    if (Date.now() > deadline) throw new Error('nothing was received');
    await new Promise(resolve => setTimeout(resolve, 5));
  }
}

const descriptors = (): number => readdirSync('/proc/self/fd').length;

test('nothing there is undefined, at once', () => {
  expect(receiveDatagram(socket, { size: SIZE })).toBeUndefined();
});

test('a socket bound on a mount that is attached nowhere is heard, and names the sender', async () => {
  const { child } = sender('s.send(b"READY=1\\nSTATUS=up")');
  expect(await next()).toEqual({ pid: child.pid, data: Buffer.from('READY=1\nSTATUS=up'), rights: false });
});

test('an empty datagram, one of just the size, and one longer: undefined, and out of the way', async () => {
  sender(`s.send(b""); s.send(b"x" * ${SIZE}); s.send(b"y" * ${SIZE + 1}); s.send(b"last")`);
  expect((await next()).data).toHaveLength(0);
  expect((await next()).data).toHaveLength(SIZE);
  expect((await next()).data).toBeUndefined();
  expect((await next()).data?.toString()).toBe('last');
});

test('one longer can be cut instead', async () => {
  sender(`s.send(b"y" * ${SIZE + 1}); s.send(b"last")`);
  await until(() => {
    const datagram = receiveDatagram(socket, { size: 16, cut: true });
    if (datagram === undefined) return false;
    expect(datagram.data?.toString()).toBe('y'.repeat(16));
    return true;
  });
  expect((await next()).data?.toString()).toBe('last');
});

test('descriptors can be refused, where the kernel can', async () => {
  const strict = bindDatagram(mount, 'strict', { uid: 0, gid: 0, mode: 0o600, descriptors: 'refused' });
  try {
    const { line } = sender(`
s.close()
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.connect("/proc/${process.pid}/fd/${mount}/strict")
try: rights(b"x", 0); say("taken")
except PermissionError: say("refused")
s.send(b"y")
`);
    const [major = 0, minor = 0] = release().split('.').map(Number);
    expect(await line()).toBe(major > 6 || (major === 6 && minor >= 16) ? 'refused' : 'taken');
  } finally {
    close(strict);
  }
});

test('a mount made read-only later lets nothing be made in it, but the socket be written to, from any network', async () => {
  const arena = scratch();
  const attributes = arena.alloc(32);
  arena.setU64(attributes, MOUNT_ATTR.MOUNT_ATTR_RDONLY);
  syscall('mount_setattr', mount, arena.cstring(''), AT.AT_EMPTY_PATH, attributes, 32);
  expect(() => mkdirat(mount, 'more', 0o755)).toThrow('EROFS');
  sender('s.send(b"inside")', ['unshare', '--mount', '--net']);
  expect((await next()).data?.toString()).toBe('inside');
});

test('a sender in a pid namespace below is named by its pid out here', async () => {
  const { line } = sender('say(os.getpid()); s.send(b"x"); time.sleep(10)', ['unshare', '--pid', '--fork']);
  expect(await line()).toBe('1');
  const { pid } = await next();
  expect(pid).toBeGreaterThan(1);
});

describe('descriptors that come along', () => {
  test('none is ever ours, and the sender sees its copy closed: what BARRIER=1 waits for', async () => {
    const { line } = sender(`
r, w = os.pipe()
rights(b"BARRIER=1", w)
os.close(w)
p = select.poll()
p.register(r, 0)
say("early" if p.poll(200) else "waits")
say("closed" if p.poll(8000) else "never")
time.sleep(10)
`);
    const before = descriptors();
    const datagram = await next();
    expect(datagram).toMatchObject({ data: Buffer.from('BARRIER=1'), rights: true });
    // It stays there until it is thrown away.
    expect(receiveDatagram(socket, { size: SIZE })).toMatchObject({ rights: true });
    expect(await line()).toBe('waits');
    expect(
      await runErrand(
        () => [discardEntry(socket)],
        5000,
        () => true,
      ),
    ).toBe(true);
    expect(await line()).toBe('closed');
    expect(receiveDatagram(socket, { size: SIZE })).toBeUndefined();
    releaseWatches();
    expect(descriptors()).toBe(before);
  });

  test('one that blocks when it is closed blocks neither us nor what comes after it', async () => {
    sender(`
listener = socket.socket()
listener.bind(("127.0.0.1", 0))
listener.listen(1)
c = socket.socket()
c.connect(listener.getsockname())
c.setblocking(False)
try:
    while True: c.send(b"x" * 65536)
except BlockingIOError: pass
c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 60))
rights(b"LINGER=1", c.fileno())
os.close(c.detach())
s.send(b"AFTER=1")
time.sleep(30)
`);
    const begun = performance.now();
    expect(await next()).toMatchObject({ data: Buffer.from('LINGER=1'), rights: true });
    expect(performance.now() - begun).toBeLessThan(5000);
    const errand = performance.now();
    expect(
      await runErrand(
        () => [discardEntry(socket)],
        300,
        () => true,
      ),
    ).toBeUndefined();
    expect(performance.now() - errand).toBeLessThan(5000);
    expect((await next()).data?.toString()).toBe('AFTER=1');
  });
});

test('a name too long for an address is refused', () => {
  expect(() => bindDatagram(mount, 'n'.repeat(108), { uid: 0, gid: 0, mode: 0o600 })).toThrow(RangeError);
});
