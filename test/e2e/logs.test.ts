/** `caisson logs`: beside the process that runs the container, and when there is none. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { MAIN, useCli } from './cli.ts';

const cli = useCli();

const logs = (state: string, ...words: string[]) => cli.start(['logs', '--state', state, ...words]);

test('what a container that has ended has printed: all, the last lines, from an offset on', async () => {
  const state = cli.state();
  const printed = 'one\r\ntwo\r\nthree\r\n';
  expect((await cli.sh('echo one; echo two; echo three', { state, name: 'job', rm: false })).code).toBe(0);
  const said = async (...words: string[]): Promise<string> => {
    const { code, stdout, stderr } = await logs(state, ...words).finished;
    expect([code, stderr]).toEqual([0, '']);
    return stdout.toString();
  };
  expect(await said('job')).toBe(printed);
  expect(await said('--tail', '1', 'job')).toBe('three\r\n');
  expect(await said('--tail', '0', 'job')).toBe('');
  expect(await said('--tail', '100', 'job')).toBe(printed);
  expect(await said('--since', '5', 'job')).toBe(printed.slice(5));
  expect(await said('--since', '100000', 'job')).toBe('');
  // Offsets go on over lives.
  await cli.start(['start', '--state', state, 'job']).finished;
  await cli.start(['wait', '--state', state, 'job']).finished;
  expect(await said('--since', String(printed.length), 'job')).toBe(printed);
  expect(await said('--tail', '4', 'job')).toBe(`three\r\n${printed}`);
});

test('follows one that another process runs, also from now on, until nobody reads', async () => {
  const state = cli.state();
  const running = cli.begin(['/bin/sh'], { state, name: 'shell', rm: false, stdin: 'pipe' });
  await cli.until(() => existsSync(join(state, 'shell', 'container.json')), 'it is recorded');
  const following = logs(state, '-f', 'shell');
  running.write('echo $((6 * 7))a\n');
  await following.shows('42a');
  const late = logs(state, '-f', '--tail', '0', 'shell');
  const head = cli.spawn('/bin/sh', ['-c', '"$0" "$@" | head -c 4', process.execPath, ...HEAD(state)]);
  // Until it has begun.
  while (!late.stdout.bytes.includes('42b') && !late.ended) {
    running.write('echo $((6 * 7))b\n');
    await new Promise(resolve => setTimeout(resolve, 200));
  }
  await following.shows('42b');
  expect(late.stdout.bytes.toString()).not.toContain('42a');
  running.write('exit\n');
  await running.finished;
  const { code, stdout } = await head.finished;
  expect([code, stdout.length]).toEqual([0, 4]);
  for (const one of [following, late]) {
    one.kill('SIGTERM');
    await one.finished;
  }
});

const HEAD = (state: string): string[] => [MAIN, 'logs', '--state', state, '-f', 'shell'];

test('what is not there, and options that exclude each other, are refused', async () => {
  const state = cli.state();
  expect((await logs(state, 'none').finished).stderr).toContain('[CONTAINER_NOT_FOUND]');
  for (const words of [
    ['--tail', '1', '--since', '1', 'x'],
    ['--tail', '-1', 'x'],
    ['--since', 'now', 'x'],
  ])
    expect((await logs(state, ...words).finished).code, words.join(' ')).toBe(125);
});
