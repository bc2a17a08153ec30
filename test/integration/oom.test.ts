/** Processes that the kernel kills because a container's memory has run out (NET-28): told as events. */
import type { CaissonEvent, Container } from 'caisson';
import { describe, expect, test } from 'vitest';
import { finish, MODES, until, useRig } from '../lib/rig.ts';
import { slow } from '../lib/slow.ts';

const rig = useRig();
const MIB = 1024 * 1024;
const memory = 24 * MIB;
/** Needs more than there is; only itself is killed, as it is the largest by far. */
const HOG = 'dd if=/dev/zero of=/dev/null bs=64M count=1';

type Oom = Extract<CaissonEvent, { type: 'oom' }>;

const hasMemory = (): boolean => {
  const { v1, v2 } = rig.supervisor.facts.cgroups;
  const has =
    v1.some(({ controllers }) => controllers.includes('memory')) || v2?.controllers.includes('memory') === true;
  if (!has) console.log('not tried: this host has no memory controller');
  return has;
};

function follow(container: Container): { ooms: Oom[]; types: string[] } {
  const ooms: Oom[] = [];
  const types: string[] = [];
  container.on('event', event => {
    types.push(event.type === 'state' ? event.to : event.type);
    if (event.type === 'oom') ooms.push(event);
  });
  return { ooms, types };
}

const total = (ooms: readonly Oom[]): number => ooms.reduce((sum, { killed }) => sum + killed, 0);

describe.each(MODES)('%s', mode => {
  test('NET-28: each kill is told once, of PID 1 or not, and the container goes on', async () => {
    if (!hasMemory()) return;
    const script = `${HOG}; ${HOG}; sleep 1; ${HOG}; exec sleep 1000`;
    const container = await rig.create({ mode, init: '/bin/sh', args: ['-c', script], limits: { memory } });
    const { ooms } = follow(container);
    await container.start();
    await until(() => total(ooms) >= 3, 'three kills are told', slow(20_000));
    expect(ooms.at(-1)?.total).toBe(3);
    expect(total(ooms)).toBe(3);
    expect(ooms.length, 'the last came a second later').toBeGreaterThan(1);
    expect(container.state).toBe('running');
    expect((await container.stats()).memory?.oomKills).toBe(3);
  });

  test('NET-28: what died right before PID 1 is told before its end', async () => {
    if (!hasMemory()) return;
    const container = await rig.create({ mode, init: '/bin/sh', args: ['-c', `${HOG}; exit 3`], limits: { memory } });
    const { ooms, types } = follow(container);
    await container.start();
    const { exit } = await finish(container);
    expect(exit).toMatchObject({ kind: 'exit', status: 3 });
    expect(total(ooms)).toBe(1);
    expect(types.indexOf('oom')).toBeGreaterThan(-1);
    expect(types.indexOf('oom')).toBeLessThan(types.indexOf('failed'));
  });
});

test('NET-28: from when a limit is set on a running container; none without one', async () => {
  if (!hasMemory()) return;
  const script = `while :; do ${HOG} 2>/dev/null; sleep 0.3; done`;
  const container = await rig.create({ init: '/bin/sh', args: ['-c', script] });
  const { ooms } = follow(container);
  await container.start();
  await new Promise(resolve => setTimeout(resolve, 500));
  expect(ooms).toEqual([]);
  await container.update({ limits: { memory } });
  await until(() => ooms.length > 0, 'a kill is told', slow(20_000));
});

test('NET-28: the next supervisor goes on telling, and not of what was told', async () => {
  if (!hasMemory()) return;
  const stateDir = rig.stateDir();
  const first = await rig.open({ stateDir });
  const script = `${HOG}; while [ ! -e /tmp/go ]; do sleep 0.1; done; ${HOG}; exec sleep 1000`;
  const container = await rig.create({ supervisor: first, init: '/bin/sh', args: ['-c', script], limits: { memory } });
  const before = follow(container);
  await container.start();
  await until(() => before.ooms.length > 0, 'a kill is told');
  await rig.close(first);
  const second = await rig.open({ stateDir });
  const adopted = second.get(container.name);
  const after = follow(adopted);
  await new Promise(resolve => setTimeout(resolve, 500));
  expect(after.ooms).toEqual([]);
  await (await adopted.exec(['touch', '/tmp/go'])).wait();
  await until(() => after.ooms.length > 0, 'the second kill is told', slow(20_000));
  expect(after.ooms).toMatchObject([{ killed: 1, total: 2 }]);
});
