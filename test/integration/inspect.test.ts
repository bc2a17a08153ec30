/** What is known of a container when its supervisor is gone, or another process: its last start, its end (design §5). */
import { existsSync, mkdirSync, readFileSync, rmdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Container, inspect, type Supervisor } from 'caisson';
import { afterEach, expect, test } from 'vitest';
import { finish, until, useRig } from '../lib/rig.ts';
import { Victim } from '../lib/victim.ts';

const rig = useRig();
const SLEEP = { init: '/bin/sleep', args: ['1000'] };

const victims: Victim[] = [];
afterEach(async () => {
  for (const victim of victims.splice(0)) await victim.release();
});

const fileOf = (stateDir: string, name: string): string => join(stateDir, name, 'state.json');
const look = (container: Container, { stateDir }: Supervisor) => inspect(container.name, stateDir);

test('ENV-38, ENV-52: report and timeline of a start outlive its supervisor, and a later one has them', async () => {
  const stateDir = rig.stateDir();
  const victim = new Victim({ stateDir, specs: [{ ...rig.spec('unprivileged', { name: 'web', ...SLEEP }) }] });
  victims.push(victim);
  const { pids } = await victim.ready;
  await until(() => existsSync(fileOf(stateDir, 'web')), 'the start is written down');
  // The state directory is locked: another supervisor has it open.
  await expect(rig.open({ stateDir })).rejects.toMatchObject({ code: 'STATE_LOCKED' });
  const beside = await inspect('web', stateDir);
  expect(beside).toMatchObject({ name: 'web', state: 'running', pid: pids?.web, exit: null, error: null });
  await victim.kill();

  const orphan = await inspect('web', stateDir);
  expect(orphan).toEqual(beside);
  const { report, timeline } = orphan.start ?? {};
  expect(report?.steps.done).toBeGreaterThan(50);
  expect(report?.entries.length).toBeGreaterThan(0);
  for (const { why } of report?.entries ?? []) expect(why).not.toBe('');
  expect(timeline?.at(-1)).toMatchObject({ phase: 'running', outcome: 'done' });
  expect(Date.now() - (orphan.start?.time ?? 0)).toBeLessThan(60_000);

  const supervisor = await rig.open({ stateDir });
  const container = supervisor.get('web');
  expect(container.report()).toEqual(report);
  expect(container.timeline()).toEqual(timeline);
  await container.freeze();
  expect(await look(container, supervisor)).toMatchObject({ state: 'frozen', pid: pids?.web });
  await container.unfreeze();
  await container.kill();
  await rig.close(supervisor);
  const ended = await inspect('web', stateDir);
  expect(ended).toMatchObject({ state: 'stopped', pid: null, start: orphan.start });
  // It was adopted, and that is noted with the life it is of.
  expect(ended.notices.map(({ code }) => code)).toContain('adopted');
  // Whoever reaped it before the supervisor could: before 6.15 the kernel does not tell how it ended (LIF-13).
  const { major, minor } = rig.supervisor.facts.kernel;
  const told = major > 6 || (major === 6 && minor >= 15);
  expect(['killed', ...(told ? [] : ['lost'])]).toContain(ended.exit?.kind);
  expect((await rig.open({ stateDir })).get('web').exit).toEqual(ended.exit);
});

test('a start that failed tells the step, also later; the next one is told of instead', async () => {
  const supervisor = await rig.open({ faults: { 'mounting.proc': 12 } });
  const { stateDir } = supervisor;
  const container = await rig.create({ ...SLEEP, supervisor, environment: { SECRET: 'x' } });
  await expect(container.start()).rejects.toMatchObject({ errno: 'ENOMEM' });
  await rig.close(supervisor);
  const failed = await inspect(container.name, stateDir);
  expect(failed).toMatchObject({
    state: 'failed',
    pid: null,
    error: { code: 'STEP_FAILED', errno: 'ENOMEM', step: { id: 'mounting.proc' } },
  });
  expect(failed.start?.timeline).toContainEqual(expect.objectContaining({ id: 'mounting.proc', outcome: 'failed' }));

  const next = await rig.open({ stateDir });
  const again = next.get(container.name);
  expect(again.error).toMatchObject({ code: 'STEP_FAILED', step: { id: 'mounting.proc' } });
  await again.start();
  expect(again.error).toBeUndefined();
  expect(again.timeline().filter(({ outcome }) => outcome === 'failed')).toEqual([]);
  await until(() => !readFileSync(fileOf(stateDir, container.name), 'utf8').includes('ENOMEM'), 'written again');
  expect((await look(again, next)).start?.time).toBeGreaterThan(failed.start?.time ?? 0);
});

test('only for root, without the values of credentials, and nothing for a life that is over and removed at once', async () => {
  const supervisor = await rig.open();
  const container = await rig.start({ ...SLEEP, supervisor, credentials: { token: 'hunter2' } });
  const file = fileOf(supervisor.stateDir, container.name);
  await until(() => existsSync(file), 'the start is written down');
  expect(statSync(file).mode & 0o777).toBe(0o600);
  expect(readFileSync(file, 'utf8')).not.toContain('hunter2');
  expect(JSON.stringify(await look(container, supervisor))).not.toContain('hunter2');
  const short = await rig.start({ init: '/bin/true', supervisor });
  await finish(short);
  expect(existsSync(fileOf(supervisor.stateDir, short.name))).toBe(false);
  await supervisor.remove(short.name);
  await new Promise(resolve => setTimeout(resolve, 700));
  expect(existsSync(join(supervisor.stateDir, short.name))).toBe(false);
});

test('a torn file is set aside and told about; one that cannot be written is a notice, not an end', async () => {
  const supervisor = await rig.open();
  const { stateDir } = supervisor;
  const container = await rig.create({ ...SLEEP, supervisor });
  const { name } = container;
  const file = fileOf(stateDir, name);
  expect(await look(container, supervisor)).toMatchObject({ state: 'stopped', start: null, notices: [] });
  await rig.close(supervisor);
  writeFileSync(file, '{"version": 1, "state": "run');
  const torn = await inspect(name, stateDir);
  expect(torn.start).toBeNull();
  expect(torn.notices).toMatchObject([{ code: 'record-set-aside' }]);

  const next = await rig.open({ stateDir });
  expect(existsSync(file)).toBe(false);
  expect(existsSync(`${file}.bad`)).toBe(true);
  const notices: string[] = [];
  next.on(event => {
    if (event.type === 'notice') notices.push(event.code);
  });
  mkdirSync(`${file}.new`);
  await next.get(name).start();
  await until(() => notices.includes('record-not-written'), 'told that it could not be written');
  expect(next.get(name).state).toBe('running');
  rmdirSync(`${file}.new`);
  await next.get(name).kill();
  await rig.close(next);
  expect(await inspect(name, stateDir)).toMatchObject({ state: 'stopped', exit: { kind: 'killed' } });
});

test('refuses what is no container', async () => {
  for (const name of ['none', '..', 'a/b', '']) {
    await expect(inspect(name, rig.supervisor.stateDir)).rejects.toMatchObject({ code: 'CONTAINER_NOT_FOUND' });
  }
  await expect(inspect('a', '/nowhere')).rejects.toMatchObject({ code: 'CONTAINER_NOT_FOUND', field: 'name' });
});
