/** The host's start and end with real containers (LIF-44 to LIF-47, NET-35 to NET-37). */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import type { CaissonEvent, Supervisor } from 'caisson';
import { describe, expect, test } from 'vitest';
import { compile, REAPER } from '../lib/programs.ts';
import { finish, type Spec, until, useRig } from '../lib/rig.ts';
import { slow } from '../lib/slow.ts';
import { Victim } from '../lib/victim.ts';

const rig = useRig();

const SLEEP = { init: '/bin/sleep', args: ['1000'] };
const shell = (script: string): Spec => ({ init: '/bin/sh', args: ['-c', script] });
/** A PID 1 that ends when it is asked to, `ms` later. */
const polite = (ms = 0): Spec => shell(`trap 'sleep ${ms / 1000}; exit 0' PWR; echo up; while :; do sleep 0.02; done`);

function follow(supervisor: Supervisor, to: string): string[] {
  const seen: string[] = [];
  supervisor.on((event: CaissonEvent) => {
    if (event.type === 'state' && event.to === to) seen.push(event.container);
  });
  return seen;
}
const powerOf = (supervisor: Supervisor, name: string): { power: string; warning?: { message: string } } =>
  JSON.parse(readFileSync(join(supervisor.stateDir, name, 'power.json'), 'utf8'));

/** As if the host had booted since the record was written. */
function bootAnew(supervisor: Supervisor, ...names: string[]): void {
  for (const name of names) {
    const path = join(supervisor.stateDir, name, 'power.json');
    writeFileSync(path, readFileSync(path, 'utf8').replace(/"bootId":"[^"]*"/, '"bootId":"of-another-boot"'));
  }
}

describe('autostart', () => {
  test('LIF-44: what ran when the host went down starts again; what was stopped stays so', async () => {
    const stateDir = rig.stateDir();
    let supervisor = await rig.open({ stateDir });
    const names = ['ran', 'stopped', 'never', 'not-at-boot', 'at-every-boot'];
    for (const name of names) {
      const boot =
        name === 'not-at-boot' ? { autostart: false } : name === 'at-every-boot' ? { autostart: true } : undefined;
      await rig.create({ supervisor, name, ...SLEEP, ...(boot && { boot }) });
    }
    for (const name of names.filter(name => name !== 'never')) await supervisor.get(name).start();
    await supervisor.get('stopped').kill();
    await supervisor.get('at-every-boot').kill();
    expect(powerOf(supervisor, 'at-every-boot').power).toBe('stopped');
    const stopped = await supervisor.shutdown();
    expect(stopped.map(({ name }) => name)).toEqual(['not-at-boot', 'ran']);
    await expect(supervisor.get('never').start()).rejects.toMatchObject({ code: 'CLOSED' });
    await rig.close(supervisor);

    // Nothing is started that nobody has asked for.
    supervisor = await rig.open({ stateDir });
    expect(supervisor.list().map(({ state }) => state)).toEqual(names.map(() => 'stopped'));
    const started = await supervisor.autostart();
    // On the same boot of the host a deliberate stop is not undone.
    expect(started).toEqual([{ name: 'ran', started: true }]);
    await supervisor.shutdown();
    await rig.close(supervisor);

    bootAnew({ stateDir } as Supervisor, 'at-every-boot');
    supervisor = await rig.open({ stateDir, autostart: true });
    await until(() => supervisor.get('at-every-boot').state === 'running', 'started with the host');
    await until(() => supervisor.get('ran').state === 'running', 'started with the host');
    expect(supervisor.get('stopped').state).toBe('stopped');
    await supervisor.autostart();
  });

  test('LIF-44: what a supervisor that was killed has left running is adopted, and not started', async () => {
    const stateDir = rig.stateDir();
    const first = await rig.open({ stateDir });
    const container = await rig.start({ supervisor: first, ...SLEEP });
    const { pid } = container;
    await rig.close(first);
    const supervisor = await rig.open({ stateDir });
    expect(await supervisor.autostart()).toEqual([]);
    expect(supervisor.get(container.name)).toMatchObject({ state: 'running', pid });
  });

  test('LIF-45: the recorded order', async () => {
    const stateDir = rig.stateDir();
    let supervisor = await rig.open({ stateDir });
    const priorities = { low: 1, high: 9, also: 9 };
    for (const [name, priority] of Object.entries(priorities))
      await rig.create({ supervisor, name, ...SLEEP, boot: { priority } });
    await rig.create({ supervisor, name: 'free', ...SLEEP });
    await rig.create({ supervisor, name: 'slow', ...SLEEP, boot: { priority: 5, delay: 300 } });
    for (const container of supervisor.list()) await container.start();
    await supervisor.shutdown();
    await rig.close(supervisor);
    supervisor = await rig.open({ stateDir });
    const events: CaissonEvent[] = [];
    supervisor.on(event => events.push(event));
    await supervisor.autostart();
    const running = events.filter(event => event.type === 'state' && event.to === 'running');
    expect(running.map(({ container }) => container)).toEqual(['free', 'also', 'high', 'slow', 'low']);
    expect(running[4]!.time - running[3]!.time).toBeGreaterThanOrEqual(299);
  });

  test(
    'NET-37: one that fails three times leaves a warning until it runs',
    async () => {
      const stateDir = rig.stateDir();
      let supervisor = await rig.open({ stateDir });
      const { name } = await rig.start({ supervisor, ...SLEEP, name: 'broken' });
      await supervisor.shutdown();
      await rig.close(supervisor);
      supervisor = await rig.open({ stateDir, faults: { 'mounting.proc': 12 } });
      const tries = follow(supervisor, 'failed');
      expect(await supervisor.autostart()).toEqual([{ name, started: false }]);
      expect(tries).toEqual([name, name, name]);
      const warning = { code: 'autostart-failed', message: expect.stringContaining('proc'), time: expect.any(Number) };
      expect(supervisor.get(name).warnings).toEqual([warning]);
      await rig.close(supervisor);
      supervisor = await rig.open({ stateDir });
      expect(supervisor.get(name).toJSON().warnings).toEqual([warning]);
      await supervisor.autostart();
      expect(supervisor.get(name)).toMatchObject({ state: 'running', warnings: [] });
    },
    slow(30_000),
  );
});

describe('one whose start ends the supervisor', () => {
  test.each(['container', 'group'] as const)(
    'a %s: what is not to blame is started, and after three times so is all but it',
    async kind => {
      const stateDir = rig.stateDir();
      let supervisor = await rig.open({ stateDir });
      const boot = { autostart: true };
      // By name the bad one comes first.
      await rig.create({ supervisor, name: 'bad', ...SLEEP, ...(kind === 'container' && { boot }) });
      await rig.create({ supervisor, name: 'good', ...SLEEP, boot });
      if (kind === 'group') await supervisor.createGroup({ name: 'a-group', children: ['bad'], boot });
      await rig.close(supervisor);
      const states: string[][] = [];
      for (let times = 0; times < 3; times++) {
        const victim = new Victim({ stateDir, specs: [], autostart: true, killAt: 'bad creating' });
        await victim.dead;
        states.push(victim.states.filter(state => state.endsWith(' running')));
      }
      expect(states[1]).toEqual(['good running']);
      supervisor = await rig.open({ stateDir });
      const name = kind === 'group' ? 'a-group' : 'bad';
      const told: CaissonEvent[] = [];
      supervisor.on(event => told.push(event));
      expect(await supervisor.autostart()).toEqual([{ name, started: false }]);
      expect(told).toMatchObject([{ type: 'notice', code: 'autostart-failed', message: expect.stringContaining('3') }]);
      expect(supervisor.get('good').state).toBe('running');
      // By hand, or the next time, it is tried as ever.
      expect(await supervisor.autostart()).toEqual([{ name, started: true }]);
      expect(supervisor.get('bad')).toMatchObject({ state: 'running', warnings: [] });
    },
    slow(30_000),
  );

  test('an ephemeral one is not taken for one that has run', async () => {
    const stateDir = rig.stateDir();
    let supervisor = await rig.open({ stateDir });
    await rig.create({ supervisor, name: 'bad', ...SLEEP, ephemeral: true, boot: { autostart: true } });
    await rig.close(supervisor);
    await new Victim({ stateDir, specs: [], autostart: true, killAt: 'bad creating' }).dead;
    supervisor = await rig.open({ stateDir });
    expect(await supervisor.autostart()).toEqual([{ name: 'bad', started: true }]);
  });
});

describe('shutdown', () => {
  test('LIF-46: in batches by falling priority, each finished before the next; the power state is kept', async () => {
    const supervisor = await rig.open();
    await rig.start({ supervisor, name: 'last', ...polite(), boot: { stopPriority: -1 } });
    await rig.start({ supervisor, name: 'first', ...polite(200), boot: { stopPriority: 7 } });
    await rig.start({ supervisor, name: 'force', ...polite(5000), boot: { hostShutdownAction: 'force-stop' } });
    await rig.start({ supervisor, name: 'late', ...SLEEP, boot: { hostShutdownTimeout: 100 } });
    const log: string[] = [];
    supervisor.on(event => {
      if (event.type === 'state' && ['stopping', 'stopped'].includes(event.to))
        log.push(`${event.container} ${event.to}`);
    });
    const outcomes = await supervisor.shutdown();
    expect(outcomes).toEqual([
      { name: 'first', forced: false, error: null },
      { name: 'force', forced: true, error: null },
      { name: 'late', forced: true, error: null },
      { name: 'last', forced: false, error: null },
    ]);
    expect(log.slice(0, 2)).toEqual(['first stopping', 'first stopped']);
    expect(log.slice(-2)).toEqual(['last stopping', 'last stopped']);
    await rig.close(supervisor);
    for (const name of ['first', 'force', 'late', 'last']) expect(powerOf(supervisor, name).power).toBe('running');
  });

  test('a restart that is due, and an autostart under way, are given up', async () => {
    const supervisor = await rig.open();
    const crashing = await rig.create({
      supervisor,
      ...shell('exit 1'),
      restart: { policy: 'always', backoff: { initial: 200, jitter: 0 } },
    });
    await crashing.start();
    await until(() => crashing.restarting !== undefined, 'a restart is due');
    expect(await supervisor.shutdown()).toEqual([]);
    await new Promise(resolve => setTimeout(resolve, 300));
    expect(crashing.state).toBe('failed');
  });
});

describe('LIF-47: an ephemeral container', () => {
  test('is removed after a stop, and after its own end', async () => {
    const { supervisor } = rig;
    for (const end of ['stop', 'itself'] as const) {
      const container = await rig.start({ ...(end === 'stop' ? SLEEP : shell('exit 0')), ephemeral: true });
      if (end === 'stop') await container.stop({ timeout: 0 });
      else await finish(container);
      await until(() => !supervisor.list().includes(container), 'removed');
      await expect(container.start()).rejects.toMatchObject({ code: 'CONTAINER_NOT_FOUND' });
    }
  });

  test('is kept over a reboot, a restart() and a restart by policy', async () => {
    const container = await rig.create({
      ...shell('[ -e /once ] || { touch /once; reboot -f; }; exec sleep 1000'),
      ephemeral: true,
    });
    await container.start();
    await until(() => container.restartCount === 1 && container.state === 'running', 'back after its reboot');
    await container.restart({ timeout: 0 });
    await until(() => container.restartCount === 2 && container.state === 'running', 'back after another reboot');
    await container.kill();
    expect(rig.supervisor.list()).not.toContain(container);

    const crashing = await rig.create({
      ...shell('exit 1'),
      ephemeral: true,
      restart: { policy: 'always', backoff: { initial: 0 }, limit: { count: 2, period: 60_000 } },
    });
    const running = follow(rig.supervisor, 'running');
    await crashing.start();
    await until(() => !rig.supervisor.list().includes(crashing), 'removed once it is given up');
    expect(running).toHaveLength(3);
  });

  test('is removed when the next supervisor finds it ended, and not when its start had failed', async () => {
    const stateDir = rig.stateDir();
    let supervisor = await rig.open({ stateDir, faults: { 'mounting.proc': 12 } });
    const failed = await rig.create({ supervisor, ...SLEEP, ephemeral: true });
    await expect(failed.start()).rejects.toThrow();
    await rig.close(supervisor);
    supervisor = await rig.open({ stateDir });
    expect(supervisor.list().map(({ name }) => name)).toEqual([failed.name]);
    await supervisor.remove(failed.name);
    await rig.close(supervisor);

    // Of a process that reaps it once its supervisor has been killed.
    const program = join(rig.dir, 'reaper');
    compile(program, REAPER);
    const name = 'short-lived';
    const spec = rig.spec('unprivileged', { name, ...SLEEP, ephemeral: true });
    const victim = new Victim({ stateDir, specs: [spec] }, { program, mode: 'fast' });
    try {
      const { pids } = await victim.ready;
      await until(() => existsSync(join(stateDir, name, 'power.json')), 'its power state is written');
      await victim.kill();
      process.kill(pids?.[name] ?? 0, 'SIGKILL');
      await until(() => !existsSync(`/proc/${pids?.[name]}`), 'ended');
      supervisor = await rig.open({ stateDir });
      const next = supervisor;
      await until(() => next.list().length === 0, 'its end is seen, and it is removed');
    } finally {
      await victim.release();
    }
  });
});

test('NET-35, NET-36: a wrong value is refused when it is given', async () => {
  const wrong = (boot: object): Promise<unknown> => rig.create({ ...SLEEP, boot: boot as never });
  await expect(wrong({ autostart: 'maybe' })).rejects.toMatchObject({ code: 'SPEC_INVALID', field: 'boot.autostart' });
  await expect(wrong({ delay: -1 })).rejects.toMatchObject({ code: 'SPEC_INVALID', field: 'boot.delay' });
  await expect(wrong({ hostShutdownAction: 'stateful-stop' })).rejects.toMatchObject({
    code: 'UNSUPPORTED',
    field: 'boot.hostShutdownAction',
  });
});

test('LIF-42: boot.autorestart restarts at once what nobody has asked to end', async () => {
  const container = await rig.create({ ...shell('exit 0'), boot: { autorestart: true } });
  await container.start();
  await until(() => container.state === 'failed', 'given up', slow(20_000));
  expect(container).toMatchObject({ restartCount: 10, error: { code: 'RESTART_LIMIT' } });
});
