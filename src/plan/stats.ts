/** Which files of a host tell what a container uses: the same for all its containers, so that one task reads them all. */
import type { ContainerSpec } from '../spec/container.js';
import type { StatsFormat } from '../spec/stats/parse.js';
import type { SlotName } from '../spec/stats/slots.js';
import type { StatsPart } from '../spec/stats/types.js';
import { cgroupPaths, PAYLOAD_LEAF } from './cgroups.js';
import type { HostFacts } from './facts.js';

export interface StatsFile {
  /** Directory that holds one for each container, by its name; null: the container's own v2 cgroup. */
  readonly base: string | null;
  readonly file: string;
  /** It is in the group that the payload is in, where that is another one. */
  readonly leaf?: true;
  readonly format: StatsFormat;
}

export interface StatsTarget {
  readonly name: string;
  /** PID 1 on the host. */
  readonly pid: number;
  readonly v2: string | null;
  /** Where the files with `leaf` are, below its other ones: '' or `payload/`. */
  readonly leaf: string;
}

const US = 1000;

function number(slot: SlotName): StatsFormat {
  return { is: 'number', slot };
}

function keys(entries: Readonly<Record<string, SlotName>>, scale = 1): StatsFormat {
  return {
    is: 'keys',
    keys: Object.fromEntries(Object.entries(entries).map(([key, slot]) => [key, { slot, scale }])),
  };
}

type Format = readonly [file: string, format: StatsFormat];

/** The limit and the policy are on the outer group: what it counts is of the whole container. */
const V1: Readonly<Record<'cpuacct' | 'cpu' | 'memory' | 'memory-detail' | 'pids' | 'io', readonly Format[]>> = {
  cpuacct: [
    ['cpuacct.usage', number('usageNs')],
    ['cpuacct.usage_user', number('userNs')],
    ['cpuacct.usage_sys', number('systemNs')],
  ],
  cpu: [['cpu.stat', keys({ throttled_time: 'throttledNs' })]],
  memory: [
    ['memory.usage_in_bytes', number('currentBytes')],
    ['memory.max_usage_in_bytes', number('peakBytes')],
    ['memory.memsw.usage_in_bytes', number('memswBytes')],
  ],
  'memory-detail': [
    [
      'memory.stat',
      keys({
        total_rss: 'anonymousBytes',
        total_cache: 'fileBytes',
        total_shmem: 'sharedBytes',
        total_inactive_file: 'inactiveFileBytes',
      }),
    ],
  ],
  pids: [['pids.current', number('pids')]],
  io: [
    ['blkio.throttle.io_service_bytes_recursive', { is: 'blkio', read: 'readBytes', write: 'writtenBytes' }],
    ['blkio.throttle.io_serviced_recursive', { is: 'blkio', read: 'reads', write: 'writes' }],
  ],
};

const V2: Readonly<Record<'memory' | 'memory-detail' | 'pids' | 'io', readonly Format[]>> = {
  memory: [
    ['memory.current', number('currentBytes')],
    ['memory.peak', number('peakBytes')],
    ['memory.swap.current', number('swapBytes')],
    ['memory.events', keys({ oom_kill: 'oomKills' })],
  ],
  'memory-detail': [
    [
      'memory.stat',
      keys({
        anon: 'anonymousBytes',
        file: 'fileBytes',
        shmem: 'sharedBytes',
        inactive_file: 'inactiveFileBytes',
        kernel: 'kernelBytes',
      }),
    ],
  ],
  pids: [['pids.current', number('pids')]],
  io: [['io.stat', { is: 'io.stat' }]],
};

const CONTROLLER = { memory: 'memory', 'memory-detail': 'memory', pids: 'pids' } as const;
const PRESSURE = ['cpu', 'memory', 'io'] as const;

/** The files that tell `parts`; those of a part that this host does not count are not there. */
export function statsFiles({ cgroups }: HostFacts, parts: readonly StatsPart[]): StatsFile[] {
  const baseOf = (controller: string): string | undefined => {
    const found = cgroups.v1.find(({ controllers }) => controllers.includes(controller));
    return found && `${found.base}/${cgroups.prefix}`;
  };
  const onV1 = (controller: string, formats: readonly Format[]): StatsFile[] => {
    const base = baseOf(controller);
    return base === undefined ? [] : formats.map(([file, format]) => ({ base, file, format }));
  };
  const onV2 = (formats: readonly Format[]): StatsFile[] =>
    cgroups.v2 === null ? [] : formats.map(([file, format]) => ({ base: null, file, format }));
  const controls = (controller: string): boolean => cgroups.v2?.controllers.includes(controller) === true;
  const of = (part: StatsPart): StatsFile[] => {
    switch (part) {
      case 'cpu': {
        const usage = { usage_usec: 'usageNs', user_usec: 'userNs', system_usec: 'systemNs' } as const;
        // On v2 processor time is counted without any controller, and in one file.
        if (cgroups.v2 === null) return [...onV1('cpuacct', V1.cpuacct), ...onV1('cpu', V1.cpu)];
        const all = controls('cpu') ? { ...usage, throttled_usec: 'throttledNs' as const } : usage;
        return [...onV2([['cpu.stat', keys(all, US)]]), ...onV1('cpu', V1.cpu)];
      }
      case 'io':
        if (baseOf('blkio') !== undefined) return onV1('blkio', V1.io);
        return controls('io') ? onV2(V2.io) : [];
      case 'memory':
      case 'memory-detail':
      case 'pids': {
        const controller = CONTROLLER[part];
        const base = baseOf(controller);
        if (base === undefined) return controls(controller) ? onV2(V2[part]) : [];
        // v1 counts a kill in the victim's own group only.
        const kills = { base, file: 'memory.oom_control', leaf: true, format: keys({ oom_kill: 'oomKills' }) } as const;
        return [...onV1(controller, V1[part]), ...(part === 'memory' ? [kills] : [])];
      }
      case 'pressure':
        return onV2(PRESSURE.map(resource => [`${resource}.pressure`, { is: 'pressure', resource }]));
      case 'network':
        return [];
    }
  };
  return parts.flatMap(of);
}

export function statsTarget(spec: ContainerSpec, facts: HostFacts, pid: number): StatsTarget {
  const { v1, v2 } = cgroupPaths(spec, facts);
  const memory = v1.find(({ hierarchy }) => hierarchy.controllers.includes('memory'));
  const leaf = memory !== undefined && memory.joined !== memory.outer ? `${PAYLOAD_LEAF}/` : '';
  return { name: spec.name, pid, v2: v2?.outer ?? null, leaf };
}
