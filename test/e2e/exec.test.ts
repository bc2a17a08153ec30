/** `caisson exec`: programs in containers that an earlier supervisor has left running, seen as a shell sees them. */
import { Supervisor } from 'caisson';
import { afterEach, expect, test } from 'vitest';
import { Victim } from '../lib/victim.ts';
import { useCli } from './cli.ts';

const cli = useCli();
const victims: Victim[] = [];
const states: string[] = [];

afterEach(async () => {
  for (const victim of victims.splice(0)) await victim.kill();
  for (const stateDir of states.splice(0)) {
    const supervisor = await Supervisor.open({ stateDir });
    for (const container of supervisor.list()) {
      if (container.state === 'running') await container.kill();
      await supervisor.remove(container.name);
    }
    await supervisor.close();
  }
});

/** A container and the process that supervises it. */
async function supervised(name: string): Promise<{ victim: Victim; stateDir: string }> {
  const stateDir = cli.state();
  states.push(stateDir);
  const rootfs = { path: cli.rootfs, overlay: 'ephemeral' as const };
  const victim = new Victim({ stateDir, specs: [{ name, rootfs, init: '/bin/sleep', args: ['1000'] }] });
  victims.push(victim);
  await victim.ready;
  return { victim, stateDir };
}

test('the streams and the exit code are the program’s; user, directory, variables, terminal', async () => {
  const { victim, stateDir } = await supervised('web');
  const exec = (options: string[], ...argv: string[]) => [
    'exec',
    '--state',
    stateDir,
    ...options,
    'web',
    '--',
    ...argv,
  ];

  // Only the process that has the container can do it, which is told without touching anything.
  const locked = await cli.start(exec([], 'true')).finished;
  expect(locked.code).toBe(125);
  expect(locked.stderr).toMatch(
    /another process supervises .* \[STATE_LOCKED\]\n(.*\n)* {2}hint: .*container\.exec\(\)/,
  );
  await victim.kill();

  const plain = await cli.start(exec([], 'sh', '-c', 'echo out; echo err >&2; exit 7')).finished;
  expect([plain.code, plain.text, plain.stderr]).toEqual([7, 'out\n', 'err\n']);
  const killed = await cli.start(exec([], 'sh', '-c', 'kill -TERM $$')).finished;
  expect(killed.code).toBe(143);
  const typed = await cli.start(exec(['-i'], 'cat'), { stdin: 'through\n' }).finished;
  expect([typed.code, typed.text]).toEqual([0, 'through\n']);
  // Input that goes on when the program has ended keeps nobody.
  expect(await cli.start(exec(['-i'], 'true'), { stdin: 'pipe' }).finished).toMatchObject({ code: 0 });
  const silent = await cli.start(exec([], 'cat'), { stdin: 'not read\n' }).finished;
  expect([silent.code, silent.text]).toEqual([0, '']);
  const as = await cli.start(exec(['-u', '33', '-w', '/tmp', '-e', 'A=b c'], 'sh', '-c', 'id -u; pwd; echo $A'))
    .finished;
  expect(as.text).toBe('33\n/tmp\nb c\n');
  const tty = await cli.start(exec(['-t'], 'tty')).finished;
  expect([tty.code, tty.text]).toEqual([0, expect.stringMatching(/^\/dev\/pts\/\d+\n$/)]);
  const none = await cli.start(exec([], 'nonesuch')).finished;
  expect(none.code).toBe(127);
  expect(none.stderr).toMatch(/^caisson: .*\[EXEC_FAILED\]/);
});

test('a container that is not there, or does not run, is named; nothing is made', async () => {
  const state = cli.state();
  const missing = await cli.start(['exec', '--state', state, 'nobody', '--', 'true']).finished;
  expect([missing.code, missing.stderr]).toEqual([125, expect.stringContaining('[CONTAINER_NOT_FOUND]')]);
});
