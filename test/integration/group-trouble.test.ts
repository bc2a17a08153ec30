/** Groups where something goes wrong: the host ends in between, records are torn, two callers want opposite things. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { CaissonEvent, Supervisor } from 'caisson';
import { describe, expect, test } from 'vitest';
import { type Spec, until, useRig } from '../lib/rig.ts';

const rig = useRig();

const SLEEP: Spec = { init: '/bin/sleep', args: ['1000'] };
/** Ends when it is asked to, half a second later. */
const SLOW_END: Spec = {
  init: '/bin/sh',
  args: ['-c', "trap 'sleep 0.5; exit 0' PWR; echo up; while :; do sleep 0.02; done"],
};

async function make(names: readonly string[], supervisor: Supervisor, spec: Spec = SLEEP): Promise<void> {
  for (const name of names) await rig.create({ supervisor, name, ...spec });
}
const running = (supervisor: Supervisor): string[] =>
  supervisor.list().flatMap(({ name, state }) => (state === 'running' ? [name] : []));

describe('LIF-46: the end of the host', () => {
  test('stops what was started by hand in a group that does not run, and in one within it', async () => {
    const supervisor = await rig.open();
    await make(['a', 'b', 'c'], supervisor);
    await supervisor.createGroup({ name: 'inner', children: ['b', 'c'] });
    await supervisor.createGroup({ name: 'outer', children: ['a', 'inner'] });
    await supervisor.get('a').start();
    await supervisor.group('inner').start();
    expect(supervisor.group('outer').state).toBe('stopped');
    expect(await supervisor.shutdown()).toMatchObject([{ name: 'outer', error: null }]);
    expect([running(supervisor), supervisor.group('inner').state]).toEqual([[], 'stopped']);
  });

  test('force that one container of a group needs is told of the group', async () => {
    const supervisor = await rig.open();
    await make(['willing'], supervisor, SLOW_END);
    await make(['deaf'], supervisor, { ...SLEEP, boot: { hostShutdownTimeout: 50 } });
    await make(['other'], supervisor, SLOW_END);
    await supervisor.createGroup({ name: 'forced', children: ['willing', 'deaf'] });
    await supervisor.createGroup({ name: 'calm', children: ['other'] });
    for (const group of supervisor.groups) await group.start();
    expect(await supervisor.shutdown()).toEqual([
      { name: 'calm', forced: false, error: null },
      { name: 'forced', forced: true, error: null },
    ]);
  });

  test('no start comes in between: neither of a child, nor of a group that was waited for to stop', async () => {
    const supervisor = await rig.open();
    await make(['first', 'last'], supervisor, SLOW_END);
    const group = await supervisor.createGroup({ name: 'g', children: ['first', 'last'] });
    await group.start();
    const over = supervisor.shutdown();
    await until(() => supervisor.get('last').state === 'stopped', 'the last child has ended');
    expect(group.state).toBe('stopping');
    await expect(supervisor.get('last').start()).rejects.toMatchObject({ code: 'CLOSED' });
    await expect(group.start()).rejects.toMatchObject({ code: 'CLOSED' });
    await over;
    expect(running(supervisor)).toEqual([]);
  });

  test('a start that waits for the stop before it is given up', async () => {
    const supervisor = await rig.open();
    await make(['a'], supervisor, SLOW_END);
    const group = await supervisor.createGroup({ name: 'g', children: ['a'] });
    await group.start();
    const stopped = group.stop();
    const refused = expect(group.start()).rejects.toMatchObject({ code: 'CLOSED' });
    await supervisor.shutdown();
    await Promise.all([stopped, refused]);
    expect([group.state, running(supervisor)]).toEqual(['stopped', []]);
  });
});

test('a start that waits for a stop ends with the supervisor, and leaves the record of the stop', async () => {
  const stateDir = rig.stateDir();
  const supervisor = await rig.open({ stateDir });
  await make(['a'], supervisor, SLOW_END);
  const group = await supervisor.createGroup({ name: 'g', children: ['a'] });
  await group.start();
  const stopped = expect(group.stop()).rejects.toMatchObject({ code: 'CLOSED' });
  const refused = expect(group.start()).rejects.toMatchObject({ code: 'CLOSED' });
  await rig.close(supervisor);
  await Promise.all([stopped, refused]);
  expect(JSON.parse(readFileSync(join(stateDir, '.groups/g/power.json'), 'utf8')).power).toBe('stopped');
});

describe('a removal', () => {
  test('of a group lets no start in; of a container, no group', async () => {
    const supervisor = await rig.open();
    await make(['a', 'b'], supervisor);
    const group = await supervisor.createGroup({ name: 'g', children: ['a'] });
    const removed = supervisor.removeGroup('g');
    await expect(group.start()).rejects.toMatchObject({ code: 'GROUP_NOT_FOUND' });
    await removed;
    const gone = supervisor.remove('b');
    await expect(supervisor.createGroup({ name: 'h', children: ['b'] })).rejects.toMatchObject({
      code: 'CONTAINER_NOT_FOUND',
    });
    await gone;
    expect([running(supervisor), supervisor.groups]).toEqual([[], []]);
  });
});

describe('records', () => {
  test('a group is taken over with those in it, though the clock was set back when they were made', async () => {
    const stateDir = rig.stateDir();
    let supervisor = await rig.open({ stateDir });
    await make(['a'], supervisor);
    await supervisor.createGroup({ name: 'inner', children: ['a'] });
    await supervisor.createGroup({ name: 'outer', children: ['inner'] });
    await rig.close(supervisor);
    const path = join(stateDir, '.groups/outer/group.json');
    writeFileSync(path, readFileSync(path, 'utf8').replace(/"created": \d+/, '"created": 1'));
    supervisor = await rig.open({ stateDir });
    expect(supervisor.groups.map(({ name }) => name)).toEqual(['inner', 'outer']);
  });

  test('a torn power.json costs a group only that; its children are its own, and it can be removed', async () => {
    const stateDir = rig.stateDir();
    let supervisor = await rig.open({ stateDir });
    await make(['a'], supervisor);
    const group = await supervisor.createGroup({ name: 'g', children: ['a'] });
    await group.start();
    await group.stop();
    await rig.close(supervisor);
    writeFileSync(join(stateDir, '.groups/g/power.json'), '{"version":1,"pow');
    supervisor = await rig.open({ stateDir });
    const notices: CaissonEvent[] = [];
    const all = supervisor.events({ since: 0 });
    for (let seq = 0; seq < supervisor.seq; seq++) {
      const { value } = await all.next();
      if (value?.type === 'notice' && value.code === 'record-set-aside') notices.push(value);
    }
    expect(notices).toHaveLength(1);
    expect(existsSync(join(stateDir, '.groups/g/power.json.bad'))).toBe(true);
    await supervisor.group('g').start();
    expect(running(supervisor)).toEqual(['a']);
    await supervisor.group('g').stop();
    await supervisor.removeGroup('g');
    await supervisor.remove('a');
  });

  test('a name whose record was set aside is refused, and its children stay free', async () => {
    const stateDir = rig.stateDir();
    let supervisor = await rig.open({ stateDir });
    await make(['a'], supervisor);
    await supervisor.createGroup({ name: 'g', children: ['a'] });
    await rig.close(supervisor);
    writeFileSync(join(stateDir, '.groups/g/group.json'), '{');
    supervisor = await rig.open({ stateDir });
    await expect(supervisor.createGroup({ name: 'g', children: ['a'] })).rejects.toMatchObject({
      code: 'GROUP_EXISTS',
      field: 'name',
    });
    await supervisor.createGroup({ name: 'other', children: ['a'] });
  });
});
