/** Commands that ask the daemon, or do without one. */
import { type CreateInput, Supervisor } from 'caisson';
import { expect, test } from 'vitest';
import { slow } from '../lib/slow.ts';
import { type Finished, isAlive, useCli } from './cli.ts';
import { clear, TestDaemon } from './daemon.ts';

const cli = useCli();
const SCRIPT = 'trap "exit 0" TERM; while :; do sleep 1; done';
/** Halts and reboots when it is asked to, as an init does, and says how it began. */
const INIT = 'trap "echo halting; exit 0" TERM; trap "reboot -f" INT; echo up; while :; do sleep 0.1; done';

/** From a creation to the removal; `where` says whom to ask. */
async function wholeLife(where: readonly string[]): Promise<void> {
  const ran = async (code: number, command: string, ...words: string[]): Promise<{ text: string; stderr: string }> => {
    const finished = await cli.start([command, ...where, ...words]).finished;
    expect(finished.code, `${command}: ${finished.stderr}`).toBe(code);
    return finished;
  };
  const listed = async (): Promise<Record<string, unknown>> =>
    (JSON.parse((await ran(0, 'ls', '--json')).text) as Record<string, unknown>[])[0] ?? {};
  expect((await ran(0, 'create', '--name', 'web', 'busybox', '--', '/bin/sh', '-c', SCRIPT)).text).toBe('web\n');
  expect((await ran(1, 'create', '--name', 'web', 'busybox')).stderr).toContain('[CONTAINER_EXISTS]');
  await ran(0, 'start', 'web');
  const { pid, state } = await listed();
  expect([state, isAlive(pid as number)]).toEqual(['running', true]);
  expect((await ran(0, 'ls', '--columns', 'state,name')).text).toBe('STATE    NAME\nrunning  web\n');
  expect((await ran(0, 'ls', '-q', '--filter', 'stopped,failed')).text).toBe('');
  expect((await ran(125, 'ls', '--columns', 'nam')).stderr).toContain('field: columns');
  expect((await ran(1, 'rm', 'web', 'none')).stderr).toMatch(/INVALID_TRANSITION[\s\S]*CONTAINER_NOT_FOUND/);
  expect((await ran(125, 'ls', '--filter', 'runing')).stderr).toContain('field: filter');
  expect((await ran(0, 'stats')).text).toMatch(
    /^NAME +CPU +CPU TIME +MEMORY +PIDS\nweb +- +[\d.]+ s +[\d.]+ MiB +\d+\n$/,
  );
  expect(JSON.parse((await ran(0, 'stats', '--json', 'web')).text)).toMatchObject([{ name: 'web', pid }]);
  expect((await ran(125, 'stats', 'none')).stderr).toContain('[CONTAINER_NOT_FOUND]');
  const watching = cli.start(['stats', ...where, '--watch', 'web']);
  await watching.shows(/^web +[\d.]+%/m);
  watching.kill('SIGTERM');
  expect((await watching.finished).code).toBe(0);
  await ran(0, 'freeze', 'web');
  expect((await ran(0, 'ls', '--columns', 'state', '--sort', 'name')).text).toBe('STATE\nfrozen\n');
  await ran(0, 'unfreeze', 'web');
  await ran(0, 'restart', '--force', 'web');
  expect(isAlive(pid as number)).toBe(false);
  expect((await ran(0, 'timeline', 'web')).text).toMatch(/^AT .*\n[\d.]+ +[\d.]+ +creating +host +done +/);
  expect((await ran(125, 'timeline', 'none')).stderr).toContain('[CONTAINER_NOT_FOUND]');
  await ran(0, 'kill', 'web');
  expect((await ran(0, 'wait', 'web')).text).toBe('137\n');
  const events = cli.start(['events', ...where, '--since', '0', '--container', 'web', '--json']);
  await events.shows('"action":"instance-created"');
  events.kill('SIGTERM');
  expect((await events.finished).code).toBe(0);
  await ran(0, 'rm', 'web');
  expect((await ran(0, 'ls', '-q')).text).toBe('');
}

test(
  'the whole life of a container without a daemon: it lives on between the commands',
  { timeout: slow(90_000) },
  () => wholeLife(['--state', cli.state()]),
);

test('the same by a daemon', { timeout: slow(90_000) }, async () => {
  const daemon = await new TestDaemon(cli, cli.state(), `${cli.path('s')}.sock`).start();
  try {
    await wholeLife(['--socket', daemon.socket]);
  } finally {
    await clear(daemon);
  }
});

/** The ends that ask PID 1, and the new beginnings: each within its time, and by force when there is no answer. */
async function ends(where: readonly string[], create: (spec: CreateInput) => Promise<unknown>): Promise<void> {
  const ran = async (code: number, command: string, ...words: string[]): Promise<Finished> => {
    const finished = await cli.start([command, ...where, ...words]).finished;
    expect(finished.code, `${command} ${words.join(' ')}: ${finished.stderr}`).toBe(code);
    return finished;
  };
  const look = async (
    name: string,
  ): Promise<{ pid: number; state: string; restartCount: number; exit: object | null }> =>
    (JSON.parse((await ran(0, 'ls', '--json')).text) as []).find((one: { name: string }) => one.name === name) as never;
  const signals = { halt: 'SIGTERM', reboot: 'SIGINT' };
  const common = { template: 'busybox' as const, init: '/bin/sh', signals };
  await create({ ...common, name: 'good', args: ['-c', INIT] });
  await create({ ...common, name: 'deaf', args: ['-c', 'trap "" TERM INT; while :; do sleep 1; done'] });
  await ran(0, 'start', 'good', 'deaf');
  const first = await look('good');
  await ran(0, 'reboot', '--timeout', '15', 'good');
  const second = await look('good');
  expect(second).toMatchObject({ state: 'running', restartCount: first.restartCount + 1 });
  expect([isAlive(first.pid), isAlive(second.pid)]).toEqual([false, true]);
  await ran(0, 'restart', '--timeout', '15', 'good');
  const third = await look('good');
  expect([third.state, isAlive(second.pid), isAlive(third.pid)]).toEqual(['running', false, true]);
  const stopped = await ran(0, 'stop', '--timeout', '15', 'good');
  expect(stopped.ms).toBeLessThan(slow(10_000));
  expect(await look('good')).toMatchObject({ state: 'stopped', exit: { kind: 'exit', status: 0 } });
  expect((await ran(0, 'wait', 'good')).text).toBe('0\n');
  const deaf = await look('deaf');
  expect((await ran(1, 'reboot', '--timeout', '0.5', 'deaf')).stderr).toContain('[TIMEOUT]');
  expect(isAlive(deaf.pid)).toBe(true);
  await ran(0, 'reboot', '--force', '--timeout', '0.5', 'deaf');
  const again = await look('deaf');
  expect([again.state, isAlive(deaf.pid)]).toEqual(['running', false]);
  await ran(0, 'stop', '--timeout', '0.5', 'deaf');
  expect(await look('deaf')).toMatchObject({ exit: { kind: 'killed' } });
  expect((await ran(1, 'stop', 'deaf')).stderr).toContain('[INVALID_TRANSITION]');
  expect((await ran(125, 'stop', '--timeout', 'soon', 'deaf')).stderr).toContain('must be a number of seconds');
  await ran(0, 'rm', 'good', 'deaf');
}

test('stop, restart and reboot ask PID 1 first: without a daemon', { timeout: slow(90_000) }, async () => {
  const state = cli.state();
  await ends(['--state', state], async spec => {
    const supervisor = await Supervisor.open({ stateDir: state, threads: 1 });
    try {
      await supervisor.create(spec);
    } finally {
      await supervisor.close();
    }
  });
});

test('the same by a daemon: stop, restart and reboot', { timeout: slow(90_000) }, async () => {
  const daemon = await new TestDaemon(cli, cli.state(), `${cli.path('s')}.sock`).start();
  try {
    await ends(['--socket', daemon.socket], spec => daemon.client.create(spec));
  } finally {
    await clear(daemon);
  }
});

test('a daemon that is named and does not answer is an error', async () => {
  const { code, stderr } = await cli.start(['ls', '--socket', cli.path('none')]).finished;
  expect([code, stderr]).toEqual([125, expect.stringContaining('[DAEMON_UNREACHABLE]')]);
});

test('ls is quick', async () => {
  const state = cli.state();
  const times: number[] = [];
  for (let round = 0; round < 5; round++) times.push((await cli.start(['ls', '--state', state]).finished).ms);
  console.log(`ls: ${times.map(ms => ms.toFixed(0)).join(', ')} ms`);
  expect(Math.min(...times)).toBeLessThan(slow(500));
});
