/** A console's log whose disk, directory or link fails, and a payload that makes the most of it (LIF-12, ENV-25). */
import { execFileSync, spawn } from 'node:child_process';
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import type { ConsoleChunk, Container } from 'caisson';
import { afterEach, describe, expect, test } from 'vitest';
import { LOG_PIPE } from '#src/plan/kept.js';
import { Recorder } from '#src/supervisor/console-log/recorder.js';
import { Segments } from '#src/supervisor/console-log/segments.js';
import { close } from '#src/syscalls/fs.js';
import { writeNow } from '#src/syscalls/io.js';
import { syscall } from '#src/syscalls/libc.js';
import { openPipe, type Pipe } from '#src/syscalls/splice.js';
import { finish, type Spec, until, useRig } from '../lib/rig.ts';
import { slow } from '../lib/slow.ts';

const rig = useRig();
const shell = (script: string): Spec => ({ init: '/bin/sh', args: ['-c', script] });
const KIB = 1024;

const undo: (() => void)[] = [];
afterEach(() => {
  for (const step of undo.splice(0).reverse()) step();
});

interface Made {
  readonly container: Container;
  /** Its directory below the state directory. */
  readonly dir: string;
  readonly notices: string[];
}

async function create(spec: Spec): Promise<Made> {
  const stateDir = rig.stateDir();
  const supervisor = await rig.open({ stateDir });
  const container = await rig.create({ supervisor, ...spec });
  const notices: string[] = [];
  container.on('event', event => {
    if (event.type === 'notice' && event.code === 'console-log') notices.push(event.message);
  });
  return { container, dir: join(stateDir, container.name), notices };
}

/** A file system of its own for the log. */
function mountSmall(dir: string, size: number): { resize(size: number): void } {
  const path = join(dir, 'console');
  mkdirSync(path, { recursive: true });
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${size}`, 'caisson-test', path]);
  undo.push(() => execFileSync('umount', ['--lazy', path]));
  return { resize: to => void execFileSync('mount', ['-o', `remount,size=${to}`, path]) };
}

async function collect(chunks: AsyncIterable<ConsoleChunk>): Promise<{ text: string; gaps: number; end: number }> {
  const parts: Buffer[] = [];
  let gaps = 0;
  let next = 0;
  for await (const { offset, data, lost } of chunks) {
    expect(offset).toBe(next + lost);
    if (lost > 0) gaps++;
    next = offset + data.length;
    parts.push(data);
  }
  return { text: Buffer.concat(parts).toString('latin1'), gaps, end: next };
}

test('LIF-12: a full disk holds nobody up; what it could not take is one gap, and then it goes on', async () => {
  const { container, dir, notices } = await create({
    ...shell(
      'i=0; say() { i=$((i+1)); echo "line $i"; }; while [ $i -lt 30000 ]; do say; done; ' +
        'while [ ! -e /tmp/room ]; do sleep 0.1; done; say; sleep 7; say; echo done',
    ),
    console: { ring: KIB, log: { maxBytes: 64 * KIB, files: 100 } },
  });
  const disk = mountSmall(dir, 256 * KIB);
  await container.start();
  await until(() => container.console.history().includes('line 30000'), 'it prints to its end', slow(20_000));
  expect(notices).toEqual([expect.stringContaining('not recorded')]);
  const newest = readdirSync(join(dir, 'console')).sort().at(-1);
  expect(readlinkSync(join(dir, 'console.log'))).toBe(`console/${newest}`);
  disk.resize(1024 * KIB);
  writeFileSync(`/proc/${container.pid}/root/tmp/room`, '');
  await finish(container);
  expect(notices).toEqual([expect.stringContaining('not recorded'), expect.stringContaining('recorded again')]);
  expect(readFileSync(join(dir, 'console.log'), 'latin1')).toContain('done\r\n');
  const { text, gaps, end } = await collect(container.logs({ since: 0 }));
  expect({ gaps, end }).toEqual({ gaps: 1, end: container.console.end });
  const lines = [...text.matchAll(/line (\d+)\r\n/g)].map(([, number]) => Number(number));
  expect(text.length).toBeGreaterThan(200 * KIB);
  expect(lines.at(-1)).toBe(30_002);
  await container.kill().catch(() => undefined);
});

test('ENV-25: a payload that prints without end leaves the event loop to others, also while its disk is full', async () => {
  const { container, dir, notices } = await create({
    ...shell('stty raw; for i in 1 2 3; do yes & done; yes'),
    console: { ring: KIB, log: { maxBytes: 64 * KIB, files: 3 } },
  });
  mountSmall(dir, 64 * KIB);
  const delay = monitorEventLoopDelay({ resolution: 5 });
  await container.start();
  await until(() => notices.length > 0, 'the disk is full', slow(10_000));
  delay.enable();
  const before = container.console.end;
  await new Promise(resolve => setTimeout(resolve, 3000));
  delay.disable();
  console.log(
    `${container.console.end - before} bytes in 3 s; the event loop was late by ${(delay.max / 1e6).toFixed(0)} ms at most`,
  );
  expect(container.console.end).toBeGreaterThan(before);
  expect(delay.max / 1e6).toBeLessThan(slow(500));
  await container.kill();
});

test('LIF-12: a log directory that vanishes is made again', async () => {
  const { container, dir } = await create({
    ...shell('i=0; while [ ! -e /tmp/end ]; do i=$((i+1)); echo "line $i"; sleep 0.05; done; echo "all $i"'),
  });
  await container.start();
  await until(() => existsSync(join(dir, 'console.log')), 'recorded');
  rmSync(join(dir, 'console'), { recursive: true });
  const gone = container.console.end;
  await until(() => container.console.end > gone + 100, 'it goes on');
  writeFileSync(`/proc/${container.pid}/root/tmp/end`, '');
  await finish(container);
  const { text, end } = await collect(container.logs({ since: 0 }));
  expect(end).toBe(container.console.end);
  expect(text).toMatch(/all \d+\r\n$/);
  expect(readFileSync(join(dir, 'console.log'), 'latin1')).toMatch(/all \d+\r\n$/);
});

test('LIF-12: a link that cannot be made costs no byte, no file and no descriptor', async () => {
  const { container, dir, notices } = await create({
    ...shell('i=0; while [ $i -lt 30000 ]; do i=$((i+1)); echo "line $i"; done'),
    console: { ring: KIB, log: { maxBytes: 64 * KIB, files: 100 } },
  });
  // A rename onto it fails.
  mkdirSync(join(dir, 'console.log/inside'), { recursive: true });
  await container.start();
  await finish(container);
  const { text, gaps, end } = await collect(container.logs({ since: 0 }));
  expect({ gaps, end }).toEqual({ gaps: 0, end: container.console.end });
  expect(text.endsWith('line 30000\r\n')).toBe(true);
  expect(notices).toEqual([expect.stringContaining('console.log')]);
  expect(readdirSync(dir)).not.toContain('console.log.new');
});

test('LIF-12: a log that cannot be read keeps no container from being supervised', async () => {
  const stateDir = rig.stateDir();
  const first = await rig.open({ stateDir });
  const script = 'echo before; while [ ! -e /tmp/go ]; do sleep 0.1; done; echo after; exec sleep 1000';
  const { name } = await rig.start({ supervisor: first, ...shell(script) });
  await rig.start({ supervisor: first, name: 'other', ...shell('exec sleep 1000') });
  await until(() => first.get(name).console.end > 0, 'it prints');
  await rig.close(first);
  rmSync(join(stateDir, name, 'console'), { recursive: true });
  writeFileSync(join(stateDir, name, 'console'), 'no directory');
  const second = await rig.open({ stateDir });
  const container = second.get(name);
  expect([container.state, second.get('other').state]).toEqual(['running', 'running']);
  const signal = AbortSignal.timeout(slow(5000));
  let told = '';
  for await (const event of second.events({ since: 0, signal })) {
    if (event.type === 'notice' && event.code === 'console-log') told = event.message;
    if (told !== '') break;
  }
  expect(told).toMatch(/cannot be read: .*ENOTDIR/);
  writeFileSync(`/proc/${container.pid}/root/tmp/go`, '');
  await until(() => container.console.history().includes('after'), 'its console is followed');
});

test('ENV-25: who prints on the terminal of a container that has ended does not hold up its end', async () => {
  for (const log of [false, {}] as const) {
    const { container } = await create({ ...shell('stty raw; exec sleep 1000'), console: { log } });
    await container.start();
    // As a process of another container could, which was sent the descriptor.
    const slave = openSync(`/proc/${container.pid}/root/dev/pts/0`, 'r+');
    const printer = spawn('yes', { stdio: ['ignore', slave, 'ignore'] });
    undo.push(() => printer.kill('SIGKILL'));
    closeSync(slave);
    await until(() => container.console.end > 10_000, 'it prints');
    const begun = performance.now();
    await container.kill();
    expect(performance.now() - begun).toBeLessThan(slow(5000));
    printer.kill('SIGKILL');
  }
});

describe('LIF-12: the way to the log by itself', () => {
  const fds: number[] = [];
  const pipe = (): Pipe => {
    const made = openPipe(512);
    fds.push(made.read, made.write);
    return made;
  };
  const record = (dir: string, notices: string[] = []): Recorder => {
    const recorder = new Recorder(
      new Segments(dir),
      { maxBytes: 64 * KIB, files: 2 },
      { hold: async () => undefined, notice: message => void notices.push(message) },
    );
    undo.push(() => {
      recorder.close();
      for (const fd of fds.splice(0)) close(fd);
    });
    return recorder;
  };
  const logged = (dir: string): string => readFileSync(join(dir, 'console.log'), 'latin1');

  test('what was between the two moves when its supervisor was killed comes first, and once', async () => {
    const dir = rig.directory('log');
    const recorder = record(dir);
    const [terminal, between] = [pipe(), openPipe(512)];
    writeNow(between.write, Buffer.from('before, '));
    writeNow(terminal.write, Buffer.from('after'));
    recorder.resume({ [LOG_PIPE.read]: between.read, [LOG_PIPE.write]: between.write });
    expect((await recorder.take(terminal.read, 0)).toString()).toBe('before, after');
    expect(logged(dir)).toBe('before, after');
    expect(await recorder.take(terminal.read, 13)).toHaveLength(0);
  });

  test('it is told from memory where there is no directory any more', async () => {
    const notices: string[] = [];
    const recorder = record(join(rig.dir, 'nowhere/at/all'), notices);
    const [terminal, between] = [pipe(), openPipe(512)];
    writeNow(between.write, Buffer.from('before, '));
    writeNow(terminal.write, Buffer.from('after'));
    recorder.resume({ [LOG_PIPE.read]: between.read, [LOG_PIPE.write]: between.write });
    expect((await recorder.take(terminal.read, 0)).toString()).toBe('before, after');
    expect(notices).toEqual([expect.stringContaining('ENOENT')]);
  });

  test('what cannot be moved within the kernel is told from memory', async () => {
    const notices: string[] = [];
    const recorder = record(rig.directory('log'), notices);
    // Can be read, but has no splice, as terminals of Linux 5.10.
    const terminal = syscall('eventfd2', 7, 0o2004000);
    fds.push(terminal);
    expect(await recorder.take(terminal, 0)).toEqual(Buffer.from([7, 0, 0, 0, 0, 0, 0, 0]));
    expect(notices).toEqual([expect.stringContaining('EINVAL')]);
  });
});
