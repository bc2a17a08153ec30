/** What containers use (NET-28): which files of which host, what they say, and what happened between two looks. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { HostFacts } from '#src/plan/facts.js';
import { statsFiles, statsTarget } from '#src/plan/stats.js';
import { parseInterfaces, parseStats, type StatsFormat } from '#src/spec/stats/parse.js';
import { statsRates } from '#src/spec/stats/rates.js';
import { emptyRow, SLOTS, statsOf } from '#src/spec/stats/slots.js';
import { type ContainerStats, STATS_PARTS } from '#src/spec/stats/types.js';
import { collectStats } from '#src/workers/stats.js';
import { HYBRID, PURE_V1, PURE_V2, SYSTEMD } from '../lib/facts.ts';
import { privileged, unprivileged } from './kit.ts';

const paths = (facts: HostFacts): string[] =>
  statsFiles(facts, STATS_PARTS).map(
    ({ base, leaf, file }) => `${base ?? 'v2'}/${leaf === true ? 'leaf:' : ''}${file}`,
  );

describe('files', () => {
  test('v2: all below one directory', () => {
    expect(paths(PURE_V2)).toEqual([
      'v2/cpu.stat',
      ...['memory.current', 'memory.peak', 'memory.swap.current', 'memory.events', 'memory.stat'].map(f => `v2/${f}`),
      'v2/pids.current',
      'v2/io.stat',
      ...['v2/cpu.pressure', 'v2/memory.pressure', 'v2/io.pressure'],
    ]);
  });

  test('hybrid: controllers of v1, processor time and pressure of v2', () => {
    expect(paths(HYBRID)).toEqual([
      'v2/cpu.stat',
      '/sys/fs/cgroup/cpu/caisson/cpu.stat',
      '/sys/fs/cgroup/memory/own/caisson/memory.usage_in_bytes',
      '/sys/fs/cgroup/memory/own/caisson/memory.max_usage_in_bytes',
      '/sys/fs/cgroup/memory/own/caisson/memory.memsw.usage_in_bytes',
      '/sys/fs/cgroup/memory/own/caisson/leaf:memory.oom_control',
      '/sys/fs/cgroup/memory/own/caisson/memory.stat',
      '/sys/fs/cgroup/pids/caisson/pids.current',
      '/sys/fs/cgroup/blkio/caisson/blkio.throttle.io_service_bytes_recursive',
      '/sys/fs/cgroup/blkio/caisson/blkio.throttle.io_serviced_recursive',
      ...['v2/cpu.pressure', 'v2/memory.pressure', 'v2/io.pressure'],
    ]);
  });

  test('v1: no pressure, and without blkio no bytes', () => {
    const memory = '/sys/fs/cgroup/memory/system.slice/caisson.service/caisson';
    expect(paths(PURE_V1)).toEqual([
      ...['cpuacct.usage', 'cpuacct.usage_user', 'cpuacct.usage_sys', 'cpu.stat'].map(
        file => `/sys/fs/cgroup/cpu,cpuacct/caisson/${file}`,
      ),
      ...['memory.usage_in_bytes', 'memory.max_usage_in_bytes', 'memory.memsw.usage_in_bytes'].map(
        f => `${memory}/${f}`,
      ),
      `${memory}/leaf:memory.oom_control`,
      `${memory}/memory.stat`,
      '/sys/fs/cgroup/pids/caisson/pids.current',
    ]);
  });

  test('where a container has them', () => {
    expect(statsTarget(unprivileged(), PURE_V2, 7)).toEqual({
      name: 'web',
      pid: 7,
      v2: '/sys/fs/cgroup/caisson/web',
      leaf: '',
    });
    expect(statsTarget(unprivileged(), SYSTEMD, 7).v2).toMatch(/\.scope\/container$/);
    expect(statsTarget(unprivileged(), HYBRID, 7).leaf).toBe('');
    // Its processes are in a leaf: there v1 counts the kills.
    expect(statsTarget(privileged(), HYBRID, 7).leaf).toBe('payload/');
    expect(statsTarget(unprivileged({ cgroups: { layout: 'legacy' } }), HYBRID, 7).leaf).toBe('payload/');
    expect(statsTarget(unprivileged(), PURE_V1, 7).v2).toBeNull();
  });
});

function said(texts: readonly (readonly [StatsFormat, string])[]): ContainerStats {
  const row = emptyRow();
  for (const [format, text] of texts) parseStats(format, text, row);
  return statsOf('web', 7, row, null);
}

const format = (facts: HostFacts, file: string): StatsFormat => {
  const found = statsFiles(facts, STATS_PARTS).find(candidate => candidate.file === file);
  if (found === undefined) throw new Error(`no ${file}`);
  return found.format;
};

const PRESSURE = `some avg10=1.50 avg60=0.25 avg300=0.00 total=1234
full avg10=0.00 avg60=0.00 avg300=0.00 total=5
`;

describe('what they say', () => {
  test('nothing: every part is null, never 0', () => {
    const { name, pid, timeNs, ...parts } = said([]);
    expect({ name, pid, timeNs }).toEqual({ name: 'web', pid: 7, timeNs: Number.NaN });
    expect(Object.values(parts)).toEqual(Object.keys(parts).map(() => null));
    for (const text of ['', 'max\n', '\n', 'Total 0\n']) {
      const files = [...statsFiles(HYBRID, ['memory', 'pids', 'pressure']), ...statsFiles(HYBRID, ['io'])];
      const { memory, pids, io, pressure } = said(files.map(file => [file.format, text]));
      expect({ memory, pids, io, pressure }, text).toEqual({ memory: null, pids: null, io: null, pressure: null });
    }
  });

  test('cpu', () => {
    const text = 'usage_usec 2500\nuser_usec 2000\nsystem_usec 500\nnr_throttled 3\nthrottled_usec 70\n';
    expect(said([[format(PURE_V2, 'cpu.stat'), text]]).cpu).toEqual({
      usageNs: 2_500_000,
      userNs: 2_000_000,
      systemNs: 500_000,
      throttledNs: 70_000,
    });
    expect(said([[format(PURE_V1, 'cpu.stat'), 'nr_periods 0\nnr_throttled 0\nthrottled_time 123\n']]).cpu).toEqual({
      usageNs: null,
      userNs: null,
      systemNs: null,
      throttledNs: 123,
    });
  });

  test('memory: v1 counts swap with memory', () => {
    const v1 = (usage: number, both: number): number | null | undefined =>
      said([
        [format(HYBRID, 'memory.usage_in_bytes'), `${usage}\n`],
        [format(HYBRID, 'memory.memsw.usage_in_bytes'), `${both}\n`],
      ]).memory?.swapBytes;
    expect([v1(4096, 12_288), v1(4096, 0)]).toEqual([8192, 0]);
    const v2 = said([
      [format(PURE_V2, 'memory.current'), '4096\n'],
      [format(PURE_V2, 'memory.events'), 'low 0\nhigh 0\nmax 9\noom 4\noom_kill 2\noom_group_kill 0\n'],
    ]);
    expect(v2.memory).toEqual({ currentBytes: 4096, peakBytes: null, swapBytes: null, oomKills: 2 });
    const detail = 'anon 1\nfile 2\nkernel 3\nfile_mapped 99\nshmem 4\ninactive_file 5\nconstructor 6\n';
    expect(said([[format(PURE_V2, 'memory.stat'), detail]]).memoryDetail).toEqual({
      anonymousBytes: 1,
      fileBytes: 2,
      kernelBytes: 3,
      sharedBytes: 4,
      inactiveFileBytes: 5,
    });
  });

  test('io: all devices together', () => {
    const v2 =
      '8:0 rbytes=10 wbytes=20 rios=1 wios=2 dbytes=99 dios=9\n254:0 rbytes=5 wbytes=0 rios=1 wios=0 dbytes=0 dios=0\n';
    expect(said([[format(PURE_V2, 'io.stat'), v2]]).io).toEqual({
      readBytes: 15,
      writtenBytes: 20,
      reads: 2,
      writes: 2,
    });
    expect(said([[format(PURE_V2, 'io.stat'), '']]).io).toEqual({ readBytes: 0, writtenBytes: 0, reads: 0, writes: 0 });
    const v1 = (read: number, write: number): string =>
      `8:0 Read ${read}\n8:0 Write ${write}\n8:0 Sync 0\n8:0 Total 999\n254:0 Read 1\n254:0 Write 2\nTotal 999\n`;
    const v1Stats = said([
      [format(HYBRID, 'blkio.throttle.io_service_bytes_recursive'), v1(10, 20)],
      [format(HYBRID, 'blkio.throttle.io_serviced_recursive'), v1(3, 4)],
    ]);
    expect(v1Stats.io).toEqual({ readBytes: 11, writtenBytes: 22, reads: 4, writes: 6 });
  });

  test('pressure; a kernel before 5.13 has no full for cpu', () => {
    const some = PRESSURE.split('\n')[0] as string;
    const { pressure } = said([
      [format(PURE_V2, 'cpu.pressure'), `${some}\n`],
      [format(PURE_V2, 'memory.pressure'), PRESSURE],
      [format(PURE_V2, 'io.pressure'), PRESSURE],
    ]);
    expect(pressure?.cpu).toEqual({ some: { avg10: 1.5, avg60: 0.25, avg300: 0, totalNs: 1_234_000 }, full: null });
    expect(pressure?.io.full).toEqual({ avg10: 0, avg60: 0, avg300: 0, totalNs: 5000 });
  });

  test('interfaces: totals without lo, whatever they are called; a line that is cut off is left out', () => {
    const line = (name: string, from: number): string =>
      `${name.padStart(6)}: ${Array.from({ length: 16 }, (_, column) => from + column).join('   ')}\n`;
    const head = 'Inter-|   Receive |  Transmit\n face |bytes    packets|bytes    packets\n';
    const text = `${head}${line('lo', 1)}${line('__proto__', 100)}${line(Buffer.from('é').toString('latin1'), 1000)}${line('cut', 5).slice(0, 30)}`;
    const { network } = statsOf('web', 7, emptyRow(), parseInterfaces(text));
    expect(Object.keys(network?.interfaces ?? {})).toEqual(['lo', '__proto__', 'é']);
    expect(network).toMatchObject({
      receivedBytes: 1100,
      receivedPackets: 1102,
      receiveErrors: 1104,
      receiveDropped: 1106,
    });
    expect(network).toMatchObject({ sentBytes: 1116, sentPackets: 1118, sendErrors: 1120, sendDropped: 1122 });
    expect(network?.interfaces.lo).toMatchObject({ receivedBytes: 1, sentBytes: 9 });
    const many = head + Array.from({ length: 500 }, (_, index) => line(`d${index}`, 0)).join('');
    expect(parseInterfaces(many).names).toHaveLength(64);
    expect(parseInterfaces('')).toEqual({ names: [], counters: [] });
  });
});

test('a worker reads what is there, container after container, and closes what it has opened', () => {
  const root = mkdtempSync(join(tmpdir(), 'caisson-stats-'));
  try {
    const facts = { ...PURE_V2, cgroups: { ...PURE_V2.cgroups, v2: { base: root, controllers: ['memory', 'pids'] } } };
    const put = (name: string, files: Record<string, string>): void => {
      mkdirSync(join(root, 'caisson', name), { recursive: true });
      for (const [file, text] of Object.entries(files)) writeFileSync(join(root, 'caisson', name, file), text);
    };
    put('a', { 'memory.current': '4096\n', 'pids.current': '3\n', 'cpu.stat': 'usage_usec 7\n' });
    put('b', { 'memory.current': '8192\n' });
    const targets = ['a', 'b', 'gone'].map(name => statsTarget(unprivileged({ name }), facts, process.pid));
    const { rows, interfaces } = collectStats({ files: statsFiles(facts, STATS_PARTS), network: true, targets });
    const [a, b, gone] = targets.map(({ name }, index) =>
      statsOf(name, 1, rows.subarray(index * SLOTS, (index + 1) * SLOTS), interfaces[index] ?? null),
    );
    expect(a).toMatchObject({ memory: { currentBytes: 4096 }, pids: { current: 3 }, cpu: { usageNs: 7000 } });
    expect(b).toMatchObject({ memory: { currentBytes: 8192 }, pids: null, cpu: null });
    expect(gone).toMatchObject({ memory: null, pids: null, cpu: null });
    expect(a?.network?.interfaces.lo).toBeDefined();
  } finally {
    rmSync(root, { recursive: true });
  }
});

describe('rates', () => {
  const at = (timeNs: number, change: Partial<ContainerStats> = {}): ContainerStats => ({
    ...statsOf('web', 7, emptyRow(), null),
    timeNs,
    ...change,
  });
  const io = (readBytes: number): ContainerStats['io'] => ({ readBytes, writtenBytes: 0, reads: 0, writes: 0 });
  const cpu = (usageNs: number): ContainerStats['cpu'] => ({ usageNs, userNs: 0, systemNs: 0, throttledNs: null });

  test('per second, whatever the interval', () => {
    const rates = statsRates(at(0, { io: io(100), cpu: cpu(0) }), at(2e9, { io: io(1100), cpu: cpu(3e9) }));
    expect(rates).toMatchObject({ seconds: 2, readBytesPerSecond: 500, cpuCores: 1.5, writesPerSecond: 0 });
    // Not told is not nothing.
    expect(rates).toMatchObject({ cpuThrottled: null, receivedBytesPerSecond: null, memoryStalled: null });
  });

  test('a counter that went back, or has come or gone: that one alone is null', () => {
    expect(statsRates(at(0, { io: io(100) }), at(1e9, { io: io(99), cpu: cpu(5) }))).toMatchObject({
      readBytesPerSecond: null,
      cpuCores: null,
      writesPerSecond: 0,
    });
  });

  test('another life, another container, no time: nothing can be said', () => {
    expect(statsRates(at(0), at(1e9, { pid: 8 }))).toBeNull();
    expect(statsRates(at(0), at(1e9, { name: 'db' }))).toBeNull();
    expect(statsRates(at(1e9), at(1e9))).toBeNull();
    expect(statsRates(at(1e9), at(0))).toBeNull();
  });
});
