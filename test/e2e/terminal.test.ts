/** `caisson run` on a terminal: raw while attached and restored, its size, its keys, and a terminal that stalls or goes. */
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, expect, test } from 'vitest';
import { releaseWatches } from '#src/syscalls/watch.js';
import { useCli } from './cli.ts';
import { Terminal } from './terminal.ts';

const LINES = Buffer.from(
  Array.from({ length: 5 * 65_536 }, (_, index) => `${String(index).padStart(15, '0')}\n`).join(''),
);

let terminal: Terminal | undefined;
const cli = useCli(rootfs => {
  writeFileSync(join(rootfs, 'lines'), LINES);
});
// Runs before the rig's, which came first: that one is to find the terminal gone.
afterEach(() => {
  terminal?.close();
  terminal = undefined;
  releaseWatches();
});

function open(): Terminal {
  terminal = new Terminal();
  return terminal;
}

const sh = (script: string): string[] => ['/bin/sh', '-c', script];

test('is raw while attached, follows the window, hands on every key, and is restored', async () => {
  const tty = open();
  const { screen } = tty;
  const before = tty.settings();
  const script = `
    trap 'echo got INT' INT; trap 'echo got QUIT' QUIT; trap 'stty size' WINCH
    stty size; echo ready
    while :; do
      read -r line || continue
      case $line in
        raw) stty raw; printf 'a\\nb|'; head -c 5 | od -An -tx1; stty sane; echo cooked;;
        end) exit 4;;
        *) echo "<$line>";;
      esac
    done`;
  const running = tty.start(cli, cli.words(sh(script)));
  await screen.shows('30 100\r\nready\r\n');
  const raw = tty.settings('-a');
  for (const flag of ['-icanon', '-echo ', '-isig', '-icrnl', '-ixon', '-opost']) expect(raw).toContain(flag);
  // The payload's terminal echoes, ours does not.
  await tty.type('hello\r');
  await screen.shows('hello\r\n<hello>\r\n');
  expect(screen.bytes.toString().match(/hello/g)).toHaveLength(2);
  tty.resize(41, 123);
  await screen.shows('41 123\r\n');
  await tty.type('\x03');
  await screen.shows('got INT');
  await tty.type('\x1c');
  await screen.shows('got QUIT');
  await tty.type('raw\r');
  // A line feed stays one: what a full-screen program prints is not changed again on the way.
  await screen.shows('a\nb|');
  await tty.type(Buffer.from([0x03, 0x0d, 0x1d, 0x11, 0xff]));
  await screen.shows(' 03 0d 1d 11 ff');
  await screen.shows('cooked');
  await tty.type('end\r');
  expect((await running.finished).code).toBe(4);
  expect(tty.settings()).toBe(before);
});

test('is restored when the command is told to end, and untouched when the start fails', async () => {
  const tty = open();
  const before = tty.settings();
  const failed = tty.start(cli, cli.words(['/bin/nosuch']));
  expect((await failed.finished).code).toBe(127);
  await tty.screen.shows('[ROOTFS_INIT_MISSING]\r\n');
  expect(tty.settings()).toBe(before);

  const running = tty.start(cli, cli.words(sh('trap "echo bye; exit 5" PWR; echo up; while :; do sleep 0.1; done')));
  await tty.screen.shows('up\r\n');
  expect(tty.settings()).not.toBe(before);
  running.kill('SIGTERM');
  expect((await running.finished).code).toBe(5);
  await tty.screen.shows('bye\r\n');
  expect(tty.settings()).toBe(before);
});

test('three ^] within a second kill the container, whatever it does with its input', async () => {
  const tty = open();
  const before = tty.settings();
  // It reads nothing: what is typed piles up.
  const running = tty.start(cli, cli.words(sh('trap "" INT HUP TERM; stty raw; echo up; while :; do sleep 1; done')));
  await tty.screen.shows('up\n');
  await tty.type('\x1d\x1dx\x1d');
  await tty.type(Buffer.alloc(200_000, 'x'));
  // Too slow to count.
  for (let press = 0; press < 3; press++) {
    await tty.type('\x1d');
    await sleep(550);
  }
  expect(running.ended).toBe(false);
  await tty.type('\x1d\x1d\x1d');
  expect((await running.finished).code).toBe(137);
  expect(tty.settings()).toBe(before);
});

test('shows every line, in order', async () => {
  const tty = open();
  // As much as is kept even if this process does not get to read before the end.
  const wanted = LINES.subarray(0, 1_000_000);
  const running = tty.start(cli, cli.words(sh(`stty -opost; head -c ${wanted.length} /lines`)));
  expect((await running.finished).code).toBe(0);
  await cli.until(() => tty.screen.length >= wanted.length, 'all of it');
  expect(tty.screen.bytes.equals(wanted)).toBe(true);
});

test('that nobody reads holds up neither the payload nor the end', async () => {
  const tty = open();
  const before = tty.settings();
  const state = cli.state();
  const name = cli.name();
  const dir = cli.throwAwayPath(state, name);
  const running = tty.start(
    cli,
    cli.words(sh('stty -opost; echo begin; read x; cat /lines; echo end; exit 6'), { state, name }),
  );
  await tty.screen.shows('begin\n');
  tty.lookAway();
  await tty.type('\r');
  await cli.until(() => !existsSync(dir), 'the container is over and cleaned up');
  expect(running.ended).toBe(false);
  tty.look();
  expect((await running.finished).code).toBe(6);
  // Beyond what is kept for a slow terminal the newest counts, and what is missing is told.
  await tty.screen.shows(/end\ncaisson: \d+ bytes of output were lost: standard output was not read\r\n$/);
  const text = tty.screen.bytes.toString();
  const lost = Number(/(\d+) bytes of output were lost/.exec(text)?.[1]);
  const shown = text.slice(text.indexOf('000000000000000'), text.indexOf('end\ncaisson'));
  expect(shown.length + lost).toBe(LINES.length);
  expect(tty.settings()).toBe(before);

  const stuck = tty.start(cli, cli.words(sh('trap "exit 3" PWR; echo again; while :; do echo more; done')));
  await tty.screen.shows('again');
  tty.lookAway();
  // Long enough for the terminal to be full.
  await sleep(300);
  stuck.kill('SIGTERM');
  expect((await stuck.finished).code).toBe(3);
  expect(tty.settings()).toBe(before);
});

test('that is closed ends the container, and what it left', async () => {
  const tty = open();
  const state = cli.state();
  const done = join(cli.rootfs, 'done');
  mkdirSync(done);
  const name = cli.name();
  cli.throwAway(state, name);
  const script = 'trap "echo PWR > /done/how; exit 5" PWR; echo up; while :; do sleep 0.1; done';
  const running = tty.start(cli, ['run', '--rm', '--state', state, '--name', name, cli.rootfs, '--', ...sh(script)]);
  await tty.screen.shows('up\r\n');
  tty.close();
  expect((await running.finished).code).toBe(5);
  expect(readFileSync(join(done, 'how'), 'utf8')).toBe('PWR\n');
  expect(readdirSync(state)).toEqual([]);
});

test('stays attached over a reboot: size, keys and all; poweroff ends it with 0', async () => {
  const tty = open();
  const { screen } = tty;
  const before = tty.settings();
  const state = cli.state();
  const name = cli.name();
  const running = tty.start(cli, cli.words([], { rootfs: 'busybox', state, name }));
  await screen.shows(`${name}:/# `);
  tty.resize(50, 140);
  await tty.type('until stty size | grep "50 140"; do sleep 0.1; done\r');
  await screen.shows('\n50 140\r\n');
  const from = screen.length;
  const record = cli.pidFile(cli.throwAwayPath(state, name), name);
  const first = readFileSync(record, 'utf8');
  await tty.type('reboot\r');
  // Between the lives there is no console; what is typed then waits for the next one.
  while (existsSync(record) && readFileSync(record, 'utf8') === first) await sleep(1);
  await tty.type('echo $((6 * 7))$(stty size)\r');
  await screen.shows(`${name} is up\r\n`, from);
  await screen.shows('\n4250 140\r\n', from);
  expect(tty.settings()).not.toBe(before);
  await tty.type('poweroff\r');
  expect((await running.finished).code).toBe(0);
  expect(tty.settings()).toBe(before);
  expect(readdirSync(state)).toEqual([]);
});
