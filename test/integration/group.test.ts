/** Groups with real containers: order, readiness, strategies, nested groups, and what a supervisor leaves to the next. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import type { CaissonEvent, Container, Group, Supervisor } from 'caisson';
import { beforeEach, describe, expect, test } from 'vitest';
import { NOTIFIER } from '../lib/notifier.ts';
import { compile, compileInto, REAPER } from '../lib/programs.ts';
import { type Spec, until, useRig } from '../lib/rig.ts';
import { slow } from '../lib/slow.ts';
import { Victim } from '../lib/victim.ts';

const rig = useRig({ prepare: rootfs => compileInto(rootfs, 'notifier', NOTIFIER) });

const SLEEP = { init: '/bin/sleep', args: ['1000'] };
/** Ends without failure on SIGUSR1, and on a halt. */
const CALM: Spec = {
  init: '/bin/sh',
  args: ['-c', "trap 'exit 0' USR1 PWR; echo up; while :; do sleep 0.02; done"],
};

let supervisor: Supervisor;
let events: CaissonEvent[];
beforeEach(async () => {
  supervisor = await rig.open();
  events = follow(supervisor);
});

function follow(of: Supervisor): CaissonEvent[] {
  const seen: CaissonEvent[] = [];
  of.on(event => seen.push(event));
  return seen;
}
async function make(names: readonly string[], spec: Spec = SLEEP, of: Supervisor = supervisor): Promise<Container[]> {
  const containers: Container[] = [];
  for (const name of names) containers.push(await rig.create({ supervisor: of, name, ...spec }));
  return containers;
}
const crash = (name: string, of: Supervisor = supervisor): void => {
  process.kill(of.get(name).pid ?? 0, 'SIGKILL');
};
/** `a running`, `group:g stopped`, of those that matter to an order. */
const order = (seen: readonly CaissonEvent[]): string[] =>
  seen.flatMap(event => {
    if (event.type === 'state' && ['running', 'stopped', 'failed'].includes(event.to))
      return [`${event.container} ${event.to}`];
    return event.type === 'group-state' ? [`${event.group}: ${event.to}`] : [];
  });
const decisions = (seen: readonly CaissonEvent[]): string[] =>
  seen.flatMap(event =>
    event.type === 'group-decided' ? [`${event.group} ${event.child} ${event.decision} ${event.cause}`] : [],
  );
const restarted = (group: Group): Promise<void> =>
  until(
    () => group.state === 'running' && order(events).at(-1) === `${group.name}: running`,
    'restarted',
    slow(20_000),
  );

describe('order', () => {
  test('children start in order, each when the one before is ready, and stop in reverse', async () => {
    const ready: Spec = { init: '/bin/notifier', args: ['ms:150', 'say:READY=1', 'hang'], ready: 'notify' };
    await make(['db'], ready);
    await make(['app', 'web']);
    const group = await supervisor.createGroup({ name: 'site', children: ['db', 'app', 'web'] });
    await group.start();
    const ready1 = events.find(event => event.type === 'ready')?.seq ?? 0;
    const app = events.find(event => event.container === 'app' && event.type === 'state')?.seq ?? 0;
    expect(app).toBeGreaterThan(ready1);
    expect(group.children).toEqual(['db', 'app', 'web'].map(name => ({ name, status: 'up' })));
    await group.stop();
    expect(order(events)).toEqual([
      'site: starting',
      'db running',
      'app running',
      'web running',
      'site: running',
      'site: stopping',
      'web stopped',
      'app stopped',
      'db stopped',
      'site: stopped',
    ]);
  });

  test('a child that does not become ready fails the start; what had been started is stopped', async () => {
    await make(['a', 'c']);
    await make(['b'], { init: '/bin/notifier', args: ['hang'], ready: 'notify' });
    const group = await supervisor.createGroup({
      name: 'g',
      children: ['a', { name: 'b', readyTimeout: 100 }, 'c'],
    });
    await expect(group.start()).rejects.toMatchObject({ code: 'TIMEOUT' });
    expect(group).toMatchObject({ state: 'failed', error: { code: 'TIMEOUT' } });
    expect(supervisor.list().map(({ state }) => state)).not.toContain('running');
    expect(order(events)).not.toContain('c running');
  });

  test('a stop during the start cancels it', async () => {
    await make(['a'], { init: '/bin/notifier', args: ['hang'], ready: 'notify' });
    const group = await supervisor.createGroup({ name: 'g', children: ['a'] });
    const started = group.start();
    await until(() => supervisor.get('a').state === 'running', 'a runs');
    await group.stop();
    await expect(started).rejects.toMatchObject({ code: 'CANCELLED' });
    expect([group.state, supervisor.get('a').state]).toEqual(['stopped', 'stopped']);
  });
});

describe('strategies', () => {
  test('rest_for_one: those after the one that crashed are stopped in reverse and started in order', async () => {
    await make(['a', 'b', 'c']);
    const group = await supervisor.createGroup({ name: 'g', strategy: 'rest_for_one', children: ['a', 'b', 'c'] });
    await group.start();
    const { pid } = supervisor.get('a');
    events.length = 0;
    crash('b');
    await restarted(group);
    expect(order(events)).toEqual(['b failed', 'g: restarting', 'c stopped', 'b running', 'c running', 'g: running']);
    expect(events.find(event => event.type === 'group-decided')).toMatchObject({
      child: 'b',
      decision: 'restart',
      cause: 'failed',
      message: 'PID 1 died of SIGKILL',
      affected: ['b', 'c'],
    });
    expect(supervisor.get('a').pid).toBe(pid);
    expect(supervisor.get('b').restartCount).toBe(1);
  });

  test(
    'one_for_all with 20 containers: one crash, and all come back',
    async () => {
      const names = Array.from({ length: 20 }, (_, index) => `n${String(index).padStart(2, '0')}`);
      await make(names);
      const group = await supervisor.createGroup({ name: 'all', strategy: 'one_for_all', children: names });
      await group.start();
      const pids = new Set(supervisor.list().map(({ pid }) => pid));
      events.length = 0;
      crash('n07');
      await restarted(group);
      const others = names.filter(name => name !== 'n07');
      expect(order(events)).toEqual([
        'n07 failed',
        'all: restarting',
        ...others.toReversed().map(name => `${name} stopped`),
        ...names.map(name => `${name} running`),
        'all: running',
      ]);
      expect(supervisor.list().every(({ pid, state }) => state === 'running' && !pids.has(pid))).toBe(true);
    },
    slow(60_000),
  );

  test('restart types: a clean end of a transient or temporary child is left at that, of a permanent one not', async () => {
    await make(['p', 't', 'once'], CALM);
    const group = await supervisor.createGroup({
      name: 'g',
      intensity: 5,
      children: ['p', { name: 't', restart: 'transient' }, { name: 'once', restart: 'temporary' }],
    });
    await group.start();
    for (const { name, console } of supervisor.list())
      await until(() => console.history().includes('up'), `${name} is up`, slow(10_000));
    for (const { name } of group.children) {
      process.kill(supervisor.get(name).pid ?? 0, 'SIGUSR1');
      await until(() => decisions(events).some(text => text.includes(` ${name} `)), `decided on ${name}`);
    }
    expect(decisions(events)).toEqual(['g p restart ended', 'g t stay type', 'g once stay type']);
    await until(() => group.state === 'running' && supervisor.get('p').state === 'running', 'p is back');
    expect(group.children.map(({ status }) => status)).toEqual(['up', 'done', 'done']);
  });

  test('a deliberate stop of a child is never undone, and it can be started again', async () => {
    await make(['a', 'b']);
    const group = await supervisor.createGroup({
      name: 'g',
      strategy: 'one_for_all',
      intensity: 5,
      children: ['a', 'b'],
    });
    await group.start();
    await supervisor.get('b').kill();
    expect(decisions(events)).toEqual(['g b stay asked']);
    crash('a');
    await until(() => supervisor.get('a').restartCount === 1 && group.state === 'running', 'a is back');
    expect(group.children).toEqual([
      { name: 'a', status: 'up' },
      { name: 'b', status: 'held' },
    ]);
    await supervisor.get('b').start();
    expect(group.children[1]).toEqual({ name: 'b', status: 'up' });
    // A restart is a stop and a start: it stays a child that is up.
    await supervisor.get('b').restart({ timeout: 0 });
    expect(group.children[1]).toEqual({ name: 'b', status: 'up' });
  });
});

describe('nested groups', () => {
  test(
    'a group that gives up is a failed child of its parent, which restarts it and then gives up, too',
    async () => {
      await make(['db', 'w1', 'w2']);
      await supervisor.createGroup({ name: 'workers', intensity: 1, children: ['w1', 'w2'] });
      const site = await supervisor.createGroup({
        name: 'site',
        strategy: 'rest_for_one',
        intensity: 1,
        period: 60_000,
        children: ['db', 'workers'],
      });
      await site.start();
      const workers = supervisor.group('workers');
      const crashed = async (count: number): Promise<void> => {
        crash('w1');
        await until(() => decisions(events).filter(text => text.startsWith('workers')).length === count, 'decided');
        await until(() => !['restarting', 'stopping', 'starting'].includes(workers.state), 'workers at rest');
      };
      await crashed(1);
      await crashed(2);
      await until(() => site.state === 'running' && workers.state === 'running', 'both run again', slow(20_000));
      await crashed(3);
      crash('w2');
      await until(() => site.state === 'failed', 'all given up', slow(20_000));
      expect(decisions(events)).toEqual([
        'workers w1 restart failed',
        'workers w1 give-up limit',
        'site workers restart failed',
        'workers w1 restart failed',
        'workers w2 give-up limit',
        'site workers give-up limit',
      ]);
      expect(site.error).toMatchObject({ code: 'RESTART_LIMIT' });
      expect(supervisor.list().map(({ state }) => state)).not.toContain('running');
      // By hand everything starts again.
      await site.start();
      expect(supervisor.list().map(({ state }) => state)).toEqual(['running', 'running', 'running']);
      await site.stop();
      expect(order(events).slice(-6)).toEqual([
        'workers: stopping',
        'w2 stopped',
        'w1 stopped',
        'workers: stopped',
        'db stopped',
        'site: stopped',
      ]);
    },
    slow(60_000),
  );
});

describe('from one supervisor to the next', () => {
  test('a running group is taken over, and goes on restarting; nothing is started without being asked to', async () => {
    const stateDir = rig.stateDir();
    let own = await rig.open({ stateDir });
    await make(['a', 'b', 'c'], SLEEP, own);
    await own.createGroup({ name: 'inner', children: ['b', 'c'] });
    await own.createGroup({ name: 'outer', children: ['a', 'inner'], intensity: 5 });
    await own.group('outer').start();
    await own.get('c').kill();
    const { pid } = own.get('a');
    await rig.close(own);
    own = await rig.open({ stateDir });
    const outer = own.group('outer');
    expect([outer.state, own.group('inner').state, own.get('a').pid]).toEqual(['running', 'running', pid]);
    expect(own.group('inner').children.map(({ status }) => status)).toEqual(['up', 'held']);
    crash('b', own);
    await until(() => own.get('b').state === 'running' && own.group('inner').state === 'running', 'b is back');
    await outer.stop();
    expect(own.list().map(({ state }) => state)).not.toContain('running');
    await rig.close(own);
    own = await rig.open({ stateDir });
    expect([own.group('outer').state, await own.autostart()]).toEqual(['stopped', []]);
  });

  test(
    'a child that crashed while no supervisor was there is restarted by its group',
    async () => {
      const stateDir = rig.stateDir();
      const program = join(rig.dir, 'reaper');
      compile(program, REAPER);
      const specs = ['a', 'b', 'c'].map(name => rig.spec('unprivileged', { name, ...SLEEP }));
      const groups = [{ name: 'g', strategy: 'rest_for_one', children: ['a', 'b', 'c'] }] as const;
      const victim = new Victim({ stateDir, specs, groups: groups as never }, { program, mode: 'slow' });
      try {
        const { pids = {} } = await victim.ready;
        await until(() => ['a', 'b', 'c'].every(name => existsSync(join(stateDir, name, 'power.json'))), 'written');
        await victim.kill();
        process.kill(pids.b ?? 0, 'SIGKILL');
        const own = await rig.open({ stateDir });
        const back = (): boolean => own.group('g').state === 'running' && own.get('c').restartCount === 1;
        await until(back, 'restarted', slow(20_000));
        expect(own.list().map(({ name, pid, restartCount }) => [name, pid === pids[name], restartCount])).toEqual([
          ['a', true, 0],
          ['b', false, 1],
          ['c', false, 1],
        ]);
      } finally {
        await victim.release();
      }
    },
    slow(40_000),
  );

  test(
    'LIF-44, LIF-46: a shutdown stops a group as one, and autostart brings it back as one',
    async () => {
      const stateDir = rig.stateDir();
      let own = await rig.open({ stateDir });
      await make(['a', 'b', 'single'], CALM, own);
      await own.createGroup({ name: 'g', children: ['a', 'b'], boot: { priority: 1, stopPriority: 5 } });
      await own.group('g').start();
      await own.get('single').start();
      let seen = follow(own);
      expect((await own.shutdown()).map(({ name }) => name)).toEqual(['g', 'single']);
      expect(order(seen)).toEqual(['g: stopping', 'b stopped', 'a stopped', 'g: stopped', 'single stopped']);
      await expect(own.group('g').start()).rejects.toMatchObject({ code: 'CLOSED' });
      await rig.close(own);
      own = await rig.open({ stateDir });
      seen = follow(own);
      expect(await own.autostart()).toEqual([
        { name: 'single', started: true },
        { name: 'g', started: true },
      ]);
      expect(order(seen)).toEqual(['single running', 'g: starting', 'a running', 'b running', 'g: running']);
      // A group whose record cannot be read is set aside, and its members are as they are.
      await rig.close(own);
      writeFileSync(join(stateDir, '.groups/g/group.json'), '{');
      own = await rig.open({ stateDir });
      expect([own.groups, own.get('a').state]).toEqual([[], 'running']);
      expect(existsSync(join(stateDir, '.groups/g/group.json.bad'))).toBe(true);
    },
    slow(30_000),
  );
});

test('what is wrong with a group is refused with the field, and nothing has been made', async () => {
  await make(['a', 'b', 'free']);
  await make(['own-policy'], { ...SLEEP, restart: { policy: 'always' } });
  await make(['gone-soon'], { ...SLEEP, ephemeral: true });
  await supervisor.createGroup({ name: 'g', children: ['a'] });
  const refused = async (input: object, code: string, field: string): Promise<void> => {
    await expect(supervisor.createGroup(input as never)).rejects.toMatchObject({ code, field });
  };
  await refused({ name: 'x', children: [] }, 'SPEC_INVALID', 'children');
  await refused({ name: 'x', children: ['b', 'b'] }, 'SPEC_INVALID', 'children.1');
  await refused({ name: 'x', children: ['nobody'] }, 'CONTAINER_NOT_FOUND', 'children.0');
  await refused({ name: 'x', children: ['b', 'a'] }, 'SPEC_INVALID', 'children.1');
  await refused({ name: 'x', children: ['own-policy'] }, 'SPEC_INVALID', 'children.0');
  await refused({ name: 'x', children: ['gone-soon'] }, 'SPEC_INVALID', 'children.0');
  await refused({ name: 'x', children: [{ name: 'b', restart: 'ever' }] }, 'SPEC_INVALID', 'children.0.restart');
  await refused({ name: 'x', children: ['b'], strategy: 'all' }, 'SPEC_INVALID', 'strategy');
  await refused({ name: 'x', children: ['b'], intensty: 1 }, 'SPEC_INVALID', 'intensty');
  await refused({ name: 'g', children: ['b'] }, 'GROUP_EXISTS', 'name');
  await refused({ name: 'b', children: ['free'] }, 'GROUP_EXISTS', 'name');
  await expect(rig.create({ supervisor, name: 'g', ...SLEEP })).rejects.toMatchObject({ code: 'CONTAINER_EXISTS' });
  expect(() => supervisor.group('x')).toThrow(expect.objectContaining({ code: 'GROUP_NOT_FOUND' }));
  // What a group has can be removed only after it.
  await expect(supervisor.remove('a')).rejects.toMatchObject({ code: 'INVALID_TRANSITION' });
  await supervisor.group('g').start();
  await expect(supervisor.removeGroup('g')).rejects.toMatchObject({ code: 'INVALID_TRANSITION' });
  await supervisor.group('g').stop();
  expect(JSON.parse(readFileSync(join(supervisor.stateDir, '.groups/g/power.json'), 'utf8')).power).toBe('stopped');
  await supervisor.removeGroup('g');
  await supervisor.remove('a');
  expect(existsSync(join(supervisor.stateDir, '.groups/g'))).toBe(false);
});
