/** What containers use (NET-28), by real payloads on the kernel of this host. */
import process from 'node:process';
import { type Container, type ContainerStats, type StatsSample, statsRates } from 'caisson';
import { describe, expect, test } from 'vitest';
import { MODES, useRig, waitForText } from '../lib/rig.ts';
import { slow } from '../lib/slow.ts';

const rig = useRig();
const MIB = 1024 * 1024;
const controllers = (): string[] => {
  const { v1, v2 } = rig.supervisor.facts.cgroups;
  return [...v1.flatMap(hierarchy => hierarchy.controllers), ...(v2?.controllers ?? [])];
};
const has = (...names: string[]): boolean => names.some(name => controllers().includes(name));

/** A shell that says when it has done `script`, and stays. */
function shell(script: string, spec: Parameters<typeof rig.start>[0] = {}): Promise<Container> {
  return rig.start({ init: '/bin/sh', args: ['-c', `${script}\necho ready; exec sleep 1000`], ...spec });
}

async function look(container: Container): Promise<ContainerStats> {
  const stats = await container.stats();
  expect(stats).toMatchObject({ name: container.name, pid: container.pid });
  return stats;
}

describe.each(MODES)('%s', mode => {
  test('NET-28: processor time, memory, processes and what it sent are those of its payload', async () => {
    const script = `dd if=/dev/zero of=/dev/shm/block bs=1M count=24 2>/dev/null
      ip link set lo up; ping -c 3 -i 0.2 127.0.0.1 >/dev/null
      i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done
      sleep 1000 & sleep 1000 &`;
    const container = await shell(script, { mode });
    await waitForText(container, 'ready');
    const { cpu, memory, memoryDetail, pids, network, pressure } = await look(container);
    if (cpu === null) expect(has('cpuacct') || rig.supervisor.facts.cgroups.v2 !== null).toBe(false);
    else {
      expect(cpu.usageNs).toBeGreaterThan(20e6);
      expect(cpu.usageNs).toBeLessThan(slow(60) * 1e9);
      expect((cpu.userNs ?? 0) + (cpu.systemNs ?? 0)).toBeGreaterThan((cpu.usageNs ?? 0) * 0.9);
    }
    if (has('memory')) {
      expect(memory?.currentBytes).toBeGreaterThan(24 * MIB);
      expect(memory?.currentBytes).toBeLessThan(100 * MIB);
      expect(memory?.peakBytes).toBeGreaterThanOrEqual(24 * MIB);
      expect(memory?.oomKills).toBe(0);
      const { memoryDetail: detail } = await container.stats({ parts: ['memory-detail'] });
      expect(detail?.sharedBytes).toBeGreaterThanOrEqual(24 * MIB);
      expect(detail?.fileBytes).toBeGreaterThanOrEqual(detail?.sharedBytes ?? Number.NaN);
    } else expect(memory).toBeNull();
    expect(memoryDetail, 'not asked for').toBeNull();
    if (has('pids')) expect(pids).toEqual({ current: 3 });
    // Each of three echos and their answers.
    expect(network?.interfaces.lo?.receivedPackets).toBeGreaterThanOrEqual(6);
    expect(network?.interfaces.lo?.sentBytes).toBeGreaterThanOrEqual(6 * 84);
    expect(network?.receivedBytes, 'lo is not in the total').toBe(0);
    if (pressure !== null) {
      expect(pressure.cpu.some.totalNs).toBeGreaterThan(0);
      expect(pressure.memory.full?.avg10).toBeGreaterThanOrEqual(0);
    }
  });

  test('NET-28: interfaces that the payload makes and names, as many as it likes', async () => {
    const names = ['__proto__', 'constructor', 'é'];
    const made = names.map(name => `ip link add '${name}' type dummy || ip link add '${name}' type bridge`).join('; ');
    const container = await shell(
      `${made}; i=0; while [ $i -lt 100 ]; do ip link add d$i type bridge; i=$((i+1)); done`,
      { mode },
    );
    await waitForText(container, 'ready', { timeoutMs: slow(20_000) });
    const { network } = await look(container);
    const interfaces = Object.keys(network?.interfaces ?? {});
    expect(interfaces.length).toBeLessThanOrEqual(64);
    if (!interfaces.includes('d0')) console.log('made no interfaces: this kernel has neither dummy nor bridge');
    else expect(interfaces).toEqual(expect.arrayContaining([...names, 'lo']));
  });
});

test('NET-28: one call tells of all that run, of some, and of no other', async () => {
  const first = await shell(':');
  const second = await shell(':');
  const stopped = await rig.create({ init: '/bin/true' });
  const names = (all: ContainerStats[]): string[] => all.map(({ name }) => name);
  expect(names(await rig.supervisor.stats())).toEqual([first.name, second.name]);
  expect(names(await rig.supervisor.stats({ names: [second.name, second.name, stopped.name] }))).toEqual([second.name]);
  await expect(rig.supervisor.stats({ names: ['nobody'] })).rejects.toMatchObject({ code: 'CONTAINER_NOT_FOUND' });
  await expect(stopped.stats()).rejects.toMatchObject({ code: 'INVALID_TRANSITION', field: 'state' });
  await expect(first.stats({ parts: ['colour' as 'cpu'] })).rejects.toMatchObject({
    code: 'SPEC_INVALID',
    field: 'parts',
  });
  const { cpu, memory, pids, io, network, pressure } = await first.stats({ parts: ['pids'] });
  expect({ cpu, memory, io, network, pressure }).toEqual({
    cpu: null,
    memory: null,
    io: null,
    network: null,
    pressure: null,
  });
  if (has('pids')) expect(pids).toEqual({ current: 1 });
  await first.freeze();
  expect(await look(first)).toMatchObject({ name: first.name });
});

test('NET-28: samples come with rates, none over a restart, and end with the signal', async () => {
  const busy = await shell('while :; do :; done');
  const idle = await shell(':');
  const end = new AbortController();
  const seen: StatsSample[] = [];
  for await (const sample of rig.supervisor.watchStats({ intervalMs: 200, signal: end.signal })) {
    seen.push(sample);
    if (seen.length === 3) await idle.restart({ force: true });
    if (seen.length === 5) end.abort();
  }
  expect(seen).toHaveLength(5);
  const rates = (sample: number, { name }: Container) =>
    seen[sample]?.containers.find(({ stats }) => stats.name === name)?.rates;
  expect([0, 1, 2, 3, 4].map(sample => rates(sample, busy) === null)).toEqual([true, false, false, false, false]);
  expect([0, 1, 2, 3, 4].map(sample => rates(sample, idle) === null)).toEqual([true, false, false, true, false]);
  for (const sample of [1, 2, 4]) {
    expect(rates(sample, busy)?.seconds).toBeGreaterThan(0.1);
    // One shell is never in two places; the clocks of the two counters differ by a tick.
    expect(rates(sample, busy)?.cpuCores).toBeLessThan(1.2);
  }
  expect((rates(1, busy)?.cpuCores ?? 0) + (rates(2, busy)?.cpuCores ?? 0)).toBeGreaterThan(0.1);
  expect(() => rig.supervisor.watchStats({ intervalMs: 1 })).toThrowError(
    expect.objectContaining({ field: 'intervalMs' }),
  );
});

test('NET-28: a supervisor that closes ends its samples', async () => {
  const supervisor = await rig.open();
  const samples = supervisor.watchStats({ intervalMs: 10_000 });
  await samples.next();
  const last = samples.next();
  await rig.close(supervisor);
  expect(await last).toMatchObject({ done: true });
});

test('NET-28: bytes read and written are counted', async () => {
  if (!has('blkio', 'io')) {
    console.log('not tried: no io controller on this host');
    return;
  }
  // To the file system of the overlay, past the page cache: without O_DIRECT v1 does not know who wrote.
  const container = await shell('sync; dd if=/dev/zero of=/block bs=1M count=8 oflag=direct && echo direct');
  const text = await waitForText(container, 'ready');
  const { io } = await look(container);
  if (!text.includes('direct')) console.log('not tried: dd or this file system cannot write directly');
  else if (io === null) console.log('not tried: this kernel does not count for this disk on cgroup v1');
  else expect(io.writtenBytes).toBeGreaterThanOrEqual(8 * MIB);
});

test('NET-28: what a look at many containers costs', async () => {
  const count = Number(process.env.CAISSON_TEST_MANY ?? 100);
  const supervisor = await rig.open();
  for (let made = 0; made < count; made += 20) {
    await Promise.all(
      Array.from({ length: Math.min(20, count - made) }, () =>
        rig.start({ supervisor, init: '/bin/sleep', args: ['1000'] }),
      ),
    );
  }
  for (let warm = 0; warm < 10; warm++) await supervisor.stats();
  const looks = 20;
  const begun = process.cpuUsage();
  const time = performance.now();
  const thread = performance.eventLoopUtilization();
  let before: ContainerStats[] = [];
  for (let done = 0; done < looks; done++) before = await supervisor.stats();
  const { user, system } = process.cpuUsage(begun);
  const busy = performance.eventLoopUtilization(thread).active;
  const ms = (user + system) / 1000 / looks;
  console.log(
    `${count} containers: ${ms.toFixed(1)} ms of processor a look, ${((ms / count) * 1000).toFixed(0)} ms for 1,000; ` +
      `${((performance.now() - time) / looks).toFixed(1)} ms until it is there, ` +
      `${(busy / looks).toFixed(1)} ms of the event loop`,
  );
  expect(before).toHaveLength(count);
  // Far above what it takes: this is to find out when each look does something foolish.
  expect(ms / count).toBeLessThan(slow(0.5));
  const after = await supervisor.stats();
  expect(statsRates(before[0] as ContainerStats, after[0] as ContainerStats)?.cpuCores).toBeLessThan(0.5);
}, 120_000);
