/** `caisson inspect`: containers of other processes, running and ended. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Inspection } from 'caisson';
import { expect, test } from 'vitest';
import { isAlive, useCli } from './cli.ts';

const cli = useCli();

const inspect = (state: string, ...words: string[]) => cli.start(['inspect', '--state', state, ...words]).finished;

test('a container that has ended: how it is, how it ended, what its start did without, its spec', async () => {
  const state = cli.state();
  const { code } = await cli.sh('exit 3', { state, name: 'job', rm: false });
  expect(code).toBe(3);
  const said = await inspect(state, 'job');
  expect([said.code, said.stderr]).toEqual([0, '']);
  expect(said.text).toMatch(/^job\n {2}state +failed\n/);
  expect(said.text).toMatch(/^ {2}exit +exited with status 3$/m);
  expect(said.text).toMatch(/^ {2}started .*, in [\d.]+ ms \(creating [\d.]+, .*running [\d.]+\)$/m);
  expect(said.text).toMatch(/^Start report: \d+ steps done, \d+ skipped$/m);
  expect(said.text).toMatch(/^ {2}skipped +.*: ENOENT: .+$/m);
  expect(said.text).toContain('"exit 3"');
  const json = await inspect(state, '--json', 'job');
  const found = JSON.parse(json.text) as Inspection;
  expect(found).toMatchObject({ name: 'job', state: 'failed', pid: null, exit: { kind: 'exit', status: 3 } });
  expect(found.spec).toMatchObject({ name: 'job', args: ['-c', 'exit 3'], hostname: 'job' });
  expect(found.start?.timeline.map(({ phase }) => phase)).toEqual(
    expect.arrayContaining(['creating', 'mounting', 'devices', 'network', 'running']),
  );
});

test('one that runs, thrown away or not, while its supervisor has the lock', async () => {
  const state = cli.state();
  for (const rm of [true, false]) {
    const name = rm ? 'gone' : 'kept';
    const stateDir = rm ? cli.throwAway(state, name) : state;
    const running = cli.begin(['/bin/sleep', '1000'], { state, name, rm });
    await cli.until(() => existsSync(join(stateDir, name, 'state.json')), 'the start is written down');
    const found = JSON.parse((await inspect(state, '--json', name)).text) as Inspection;
    expect(found).toMatchObject({ name, state: 'running', directory: join(stateDir, name), exit: null });
    expect(isAlive(found.pid ?? 0)).toBe(true);
    running.kill('SIGTERM');
    expect((await running.finished).code).toBe(137);
    const after = await inspect(state, name);
    expect(after.code, after.text).toBe(rm ? 125 : 0);
  }
});

test('refuses what is not there, and a name that leads elsewhere', async () => {
  const state = cli.state();
  for (const name of ['none', '../job']) {
    const { code, stderr, text } = await inspect(state, name);
    expect([code, text]).toEqual([125, '']);
    expect(stderr).toMatch(/^caisson: there is no container .* \[CONTAINER_NOT_FOUND\]\n {2}field: name\n {2}hint: /);
  }
});
