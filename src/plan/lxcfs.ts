/**
 * Files of /proc and /sys that tell of the container instead of the host, from LXCFS (ENV-44 to ENV-47). A start never
 * asks LXCFS itself: the supervisor holds a descriptor of each file, and copying its mount asks nobody.
 */
import type { ContainerSpec } from '../spec/container.js';
import type { HostFacts, LxcfsFacts } from './facts.js';
import { livePlan, liveStep, TARGET } from './live-mount.js';
import type { HostStep, InitStep, Plan, PlanNotice, Tolerance } from './step.js';

const CPU = 'sys/devices/system/cpu';

/** What every LXCFS shows, for one that has died before it was asked. */
const KNOWN = ['cpuinfo', 'diskstats', 'loadavg', 'meminfo', 'slabinfo', 'stat', 'swaps', 'uptime'];

const ATTRIBUTES = ['MOUNT_ATTR_RDONLY', 'MOUNT_ATTR_NOSUID', 'MOUNT_ATTR_NODEV', 'MOUNT_ATTR_NOEXEC'];

/** ms that looking into a container may take; what its payload serves itself may never answer. */
const LOOK_MS = 1000;

const LEFT_OUT: readonly Tolerance[] = [
  { errno: 'ENOENT', why: 'LXCFS shows no such file any more' },
  { errno: 'EINVAL', why: 'LXCFS has been unmounted meanwhile' },
  { errno: 'ENOSYS', why: 'before Linux 5.12 a copy cannot be severed from the host before it is attached' },
];

const NOT_INSIDE: readonly Tolerance[] = [
  { errno: 'ENOENT', why: 'there is no such path in the container' },
  { errno: 'ENOTDIR', why: 'there is no such path in the container' },
];

interface Shown {
  /** Below the directory of LXCFS; '.' for that itself. */
  readonly name: string;
  /** Path inside. */
  readonly target: string;
}

/** What LXCFS shows, and where a container is to have it. Its own directory is for containers inside (ENV-47). */
export function shownBy(lxcfs: LxcfsFacts): Shown[] {
  const { proc, cpu } = lxcfs.state === 'alive' ? lxcfs : { proc: KNOWN, cpu: null };
  return [
    ...[...proc.map(file => `proc/${file}`), ...(cpu === null ? [CPU] : cpu.map(file => `${CPU}/${file}`))].map(
      name => ({
        name,
        target: `/${name}`,
      }),
    ),
    { name: '.', target: lxcfs.path },
  ];
}

const NOTICES: Readonly<Record<Exclude<LxcfsFacts['state'], 'alive'>, (path: string) => PlanNotice>> = {
  absent: path => ({ code: 'lxcfs-absent', outcome: 'skipped', message: `no LXCFS is mounted at ${path}` }),
  dead: path => ({
    code: 'lxcfs-dead',
    message: `LXCFS at ${path} has ended: files as /proc/meminfo tell of the host until it runs again`,
  }),
  hung: path => ({
    code: 'lxcfs-hung',
    message: `LXCFS at ${path} does not answer: files as /proc/meminfo tell of the host`,
  }),
};

export interface LxcfsSteps {
  readonly open: readonly HostStep[];
  readonly attach: readonly InitStep[];
  readonly close: readonly HostStep[];
  readonly notices: readonly PlanNotice[];
}

const NONE: LxcfsSteps = { open: [], attach: [], close: [], notices: [] };

function register({ name }: Shown): string {
  return `fd:lxcfs/${name}`;
}

function copy(shown: Shown): { readonly op: 'bind.held'; name: string; attributes: string[]; save: string } {
  return { op: 'bind.held', name: shown.name, attributes: ATTRIBUTES, save: register(shown) };
}

export function lxcfsMounts(spec: ContainerSpec, facts: HostFacts): LxcfsSteps {
  const { lxcfs } = facts;
  if (spec.lxcfs === 'off' || lxcfs === null) return NONE;
  if (lxcfs.state !== 'alive') return { ...NONE, notices: [NOTICES[lxcfs.state](lxcfs.path)] };
  const all = shownBy(lxcfs);
  const id = ({ name }: Shown): string => `mounting.lxcfs.${name === '.' ? 'root' : name.replaceAll('/', '.')}`;
  return {
    open: all.map(shown => ({
      id: `${id(shown)}.open`,
      phase: 'mounting',
      executor: 'host',
      label: shown.name === '.' ? 'LXCFS itself' : `${shown.target} of LXCFS`,
      action: copy(shown),
      tolerate: LEFT_OUT,
    })),
    attach: all.map(shown => ({
      id: id(shown),
      phase: 'mounting',
      executor: 'init',
      label: shown.name === '.' ? `attach LXCFS at ${shown.target}` : `attach ${shown.target}`,
      action: { op: 'move_mount', mount: register(shown), target: shown.target },
      tolerate: NOT_INSIDE,
      needs: register(shown),
    })),
    close: [
      {
        id: 'mounting.lxcfs.close',
        phase: 'mounting',
        executor: 'host',
        label: 'close what LXCFS shows',
        action: { op: 'close', registers: all.map(register) },
      },
    ],
    notices: [],
  };
}

/** In a running container: nothing of an LXCFS that has ended, and the files of one that lives (ENV-49). */
export function compileLxcfsReplace(spec: ContainerSpec, lxcfs: LxcfsFacts): Plan {
  const all = shownBy(lxcfs);
  const copies = lxcfs.state !== 'alive' ? [] : all;
  return livePlan(
    spec,
    [
      ...copies.map(
        (shown): HostStep => ({
          ...liveStep(`lxcfs.${shown.name}`, `${shown.target} of LXCFS`, copy(shown)),
          tolerate: LEFT_OUT,
        }),
      ),
      liveStep('lxcfs.replace', 'in place of those of an LXCFS that has ended', {
        op: 'live.revive',
        pidfd: TARGET,
        mounts: all.map(shown => ({ mount: register(shown), target: shown.target })),
        timeoutMs: LOOK_MS,
      }),
    ],
    [...copies.map(register), TARGET],
  );
}
