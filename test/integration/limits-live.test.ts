/** Limits that change while the container runs (NET-24): in the kernel, on record, and not at all when refused. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Container } from 'caisson';
import { describe, expect, test } from 'vitest';
import { outerV2 } from '../lib/place.ts';
import { MODES, useRig, waitForText } from '../lib/rig.ts';
import { startShell } from '../lib/shell.ts';

const rig = useRig();
const MIB = 1024 * 1024;
const FILES = { memory: ['memory.limit_in_bytes', 'memory.max'], pids: ['pids.max', 'pids.max'] } as const;

function limit(container: Container, name: keyof typeof FILES): string {
  const { v1, prefix } = rig.supervisor.facts.cgroups;
  const [one, two] = FILES[name];
  const hierarchy = v1.find(({ controllers }) => controllers.includes(name));
  const path =
    hierarchy === undefined
      ? join(outerV2(rig.supervisor.facts, container.name) ?? '', two)
      : join(hierarchy.base, prefix, container.name, one);
  return readFileSync(path, 'utf8').trim();
}

function recorded(container: Container): unknown {
  const path = join(rig.supervisor.stateDir, container.name, 'container.json');
  return JSON.parse(readFileSync(path, 'utf8')).spec.limits;
}

const hasControllers = (): boolean => {
  const { v1, v2 } = rig.supervisor.facts.cgroups;
  const all = [...v1.flatMap(({ controllers }) => controllers), ...(v2?.controllers ?? [])];
  const has = all.includes('memory') && all.includes('pids');
  if (!has) console.log('not tried: this host has no controllers of memory and pids');
  return has;
};

describe.each(MODES)('%s', mode => {
  test('NET-24: a fork bomb meets a limit that was set while it ran, and can go on when it is gone', async () => {
    if (!hasControllers()) return;
    const { container, say } = await startShell(rig, mode);
    await container.update({ limits: { pids: 6 } });
    expect(limit(container, 'pids')).toBe('6');
    expect(recorded(container)).toEqual({ pids: 6 });
    expect(container.spec.limits).toEqual({ memory: null, pids: 6 });
    const fork = 'for i in 1 2 3 4 5 6 7 8 9; do sleep 1000 & done';
    await say(`(${fork}) 2>/dev/null; :`);
    const { pids } = await container.stats();
    expect(pids?.current).toBeGreaterThan(2);
    expect(pids?.current).toBeLessThanOrEqual(6);
    await container.update({ limits: {} });
    expect(limit(container, 'pids')).toBe('max');
    await say(fork);
    expect((await container.stats()).pids?.current).toBeGreaterThan(9);
  });

  test('NET-24: memory goes up and down; below what is in use it is refused, and all of the change with it', async () => {
    if (!hasControllers()) return;
    const script = 'dd if=/dev/zero of=/dev/shm/block bs=1M count=40 2>/dev/null; echo ready; exec sleep 1000';
    const before = { memory: 200 * MIB, pids: 50 };
    const container = await rig.start({ mode, init: '/bin/sh', args: ['-c', script], limits: before });
    await waitForText(container, 'ready');
    for (const memory of [100, 300, 90].map(size => size * MIB)) {
      await container.update({ limits: { memory, pids: 50 } });
      expect(limit(container, 'memory')).toBe(String(memory));
    }
    const swapless = readFileSync('/proc/swaps', 'utf8').trim().split('\n').length === 1;
    if (!swapless) console.log('not tried: with swap there is nothing that cannot be reclaimed');
    else {
      const begun = Date.now();
      await expect(container.update({ limits: { pids: 20, memory: 10 * MIB } })).rejects.toMatchObject({
        code: 'SPEC_INVALID',
        field: 'limits.memory',
      });
      expect(Date.now() - begun).toBeLessThan(20_000);
      expect([limit(container, 'memory'), limit(container, 'pids')]).toEqual([String(90 * MIB), '50']);
      expect(recorded(container)).toEqual({ memory: 90 * MIB, pids: 50 });
      expect(container.spec.limits).toEqual({ memory: 90 * MIB, pids: 50 });
    }
    expect(container.state, 'nothing was killed').toBe('running');
    expect((await container.stats()).memory?.oomKills).toBe(0);
    await container.update({ limits: {} });
    expect(Number(limit(container, 'memory'))).not.toBe(90 * MIB);
  });
});

test('NET-24: a second limit that cannot be set puts the first back', async () => {
  if (!hasControllers()) return;
  const supervisor = await rig.open({ faults: { 'live.limit.pids': 22 } });
  const container = await rig.start({ supervisor, init: '/bin/sleep', args: ['1000'], limits: { memory: 64 * MIB } });
  const stats = (): Promise<number | null | undefined> => container.stats().then(({ pids }) => pids?.current);
  await expect(container.update({ limits: { memory: 32 * MIB, pids: 5 } })).rejects.toMatchObject({
    code: 'STEP_FAILED',
    errno: 'EINVAL',
    step: { id: 'live.limit.pids' },
  });
  expect(container.spec.limits).toEqual({ memory: 64 * MIB, pids: null });
  const { prefix, v1 } = supervisor.facts.cgroups;
  const memory = v1.find(({ controllers }) => controllers.includes('memory'));
  if (memory !== undefined) {
    const path = join(memory.base, prefix, container.name, 'memory.limit_in_bytes');
    expect(readFileSync(path, 'utf8').trim()).toBe(String(64 * MIB));
  }
  expect(await stats()).toBe(1);
});

test('NET-24: of a container that does not run they are for its next start; a wrong value changes nothing', async () => {
  if (!hasControllers()) return;
  const container = await rig.create({ init: '/bin/sleep', args: ['1000'], limits: { pids: 9 } });
  await expect(container.update({ limits: { pids: 0 } })).rejects.toMatchObject({ field: 'limits.pids' });
  await expect(container.update({ limits: { colour: 1 } as never })).rejects.toMatchObject({ field: 'limits.colour' });
  expect(recorded(container)).toEqual({ pids: 9 });
  await container.update({ limits: { memory: 32 * MIB } });
  await container.start();
  expect([limit(container, 'memory'), limit(container, 'pids')]).toEqual([String(32 * MIB), 'max']);
});

test('NET-24: whatever comes in between, what is told, recorded and in force is the same', async () => {
  if (!hasControllers()) return;
  for (const yields of [0, 1, 2, 4, 8]) {
    const container = await rig.create({ init: '/bin/sleep', args: ['1000'], limits: { pids: 9 } });
    const updated = container.update({ limits: { pids: 6 } });
    for (let turn = 0; turn < yields; turn++) await new Promise(resolve => setImmediate(resolve));
    const [update] = await Promise.allSettled([updated, container.start()]);
    const pids = update.status === 'fulfilled' ? 6 : 9;
    if (update.status === 'rejected') expect(update.reason).toMatchObject({ code: 'INVALID_TRANSITION' });
    expect([limit(container, 'pids'), recorded(container), container.spec.limits.pids]).toEqual([
      String(pids),
      { pids },
      pids,
    ]);
    await container.kill();
  }
});

test('a container that is removed meanwhile is not there, and another of its name is left alone', async () => {
  const { supervisor } = rig;
  const old = await rig.create({ name: 'same', init: '/bin/true', limits: { pids: 9 } });
  const refused = { code: 'CONTAINER_NOT_FOUND' };
  const meanwhile = expect(old.update({ limits: { pids: 6 } })).rejects.toMatchObject(refused);
  await supervisor.remove('same');
  await meanwhile;
  const fresh = await rig.create({ name: 'same', init: '/bin/true', limits: { pids: 8 } });
  await expect(old.update({ limits: { pids: 5 } })).rejects.toMatchObject(refused);
  expect([recorded(fresh), fresh.spec.limits.pids]).toEqual([{ pids: 8 }, 8]);
});
