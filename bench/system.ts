/** What the host is and what is on it: for the report, and for proving that nothing stays behind. */
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { cpus, totalmem } from 'node:os';
import { join } from 'node:path';

export interface HostReport {
  readonly kernel: string;
  readonly cpu: string;
  readonly cores: number;
  readonly memoryMiB: number;
  readonly cgroups: string;
  readonly distribution: string;
  readonly node: string;
}

function field(text: string, name: RegExp): string {
  return name.exec(text)?.[1] ?? 'unknown';
}

export function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

export function hostReport(): HostReport {
  const types = new Set(cgroupMounts().map(mount => mount.type));
  return {
    kernel: read('/proc/sys/kernel/osrelease').trim(),
    cpu: cpus()[0]?.model ?? 'unknown',
    cores: cpus().length,
    memoryMiB: Math.round(totalmem() / 1024 / 1024),
    cgroups: types.size === 2 ? 'hybrid (v1 and v2)' : types.has('cgroup2') ? 'v2' : 'v1',
    distribution: field(read('/etc/os-release'), /^PRETTY_NAME="?([^"\n]*)/m),
    node: process.version,
  };
}

export const NAMESPACES = ['mnt', 'pid', 'net', 'uts', 'ipc', 'cgroup', 'user'] as const;

export function ownNamespaces(): Record<string, string> {
  return Object.fromEntries(NAMESPACES.map(name => [name, readlinkSync(`/proc/self/ns/${name}`)]));
}

interface CgroupMount {
  readonly path: string;
  readonly type: 'cgroup' | 'cgroup2';
  readonly options: readonly string[];
}

function cgroupMounts(): CgroupMount[] {
  return read('/proc/self/mountinfo')
    .split('\n')
    .flatMap(line => {
      const match = /^\S+ \S+ \S+ \S+ (\S+) .* - (cgroup2?) \S+ (\S+)$/.exec(line);
      return match === null
        ? []
        : [{ path: match[1]!, type: match[2] as 'cgroup' | 'cgroup2', options: match[3]!.split(',') }];
    });
}

/** The directory of the cgroup we are in, per hierarchy. */
export function ownCgroups(): { readonly path: string; readonly mount: CgroupMount }[] {
  const own = read('/proc/self/cgroup')
    .trim()
    .split('\n')
    .map(line => line.split(':'));
  return cgroupMounts().map(mount => {
    const entry = own.find(([id, controllers]) =>
      mount.type === 'cgroup2' ? id === '0' : controllers !== '' && mount.options.includes(controllers!.split(',')[0]!),
    );
    return { path: join(mount.path, entry?.slice(2).join(':') ?? '/'), mount };
  });
}

/** Where cgroup2 is mounted on a host that also has v1 hierarchies. */
export function hybridTree(): string | null {
  const mounts = cgroupMounts();
  return mounts.some(mount => mount.type === 'cgroup')
    ? (mounts.find(mount => mount.type === 'cgroup2')?.path ?? null)
    : null;
}

const KERNEL_FIELDS = ['Slab', 'KernelStack', 'PageTables', 'SecPageTables', 'Percpu'] as const;
export type KernelMemory = Record<(typeof KERNEL_FIELDS)[number] | 'total' | 'available', number>;

/** KiB, from /proc/meminfo. */
export function kernelMemory(): KernelMemory {
  const text = read('/proc/meminfo');
  const value = (name: string): number => Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(text)?.[1] ?? 0);
  const fields = Object.fromEntries(KERNEL_FIELDS.map(name => [name, value(name)])) as Record<
    (typeof KERNEL_FIELDS)[number],
    number
  >;
  return {
    ...fields,
    total: KERNEL_FIELDS.reduce((sum, name) => sum + fields[name], 0),
    available: value('MemAvailable'),
  };
}

/** Proportional resident memory of a process, KiB: pages shared with others count in part. */
export function residentOf(pid: number): { readonly rss: number; readonly pss: number } {
  const text = read(`/proc/${pid}/smaps_rollup`);
  const value = (name: string): number => Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(text)?.[1] ?? 0);
  return { rss: value('Rss'), pss: value('Pss') };
}

export function processes(): { readonly pid: number; readonly command: string }[] {
  return readdirSync('/proc')
    .filter(name => /^\d+$/.test(name))
    .map(name => ({ pid: Number(name), command: read(`/proc/${name}/cmdline`).replaceAll('\0', ' ').trim() }));
}

function cgroupTree(path: string, depth = 6): string[] {
  if (depth === 0 || !existsSync(path)) return [];
  return readdirSync(path, { withFileTypes: true })
    .filter(entry => entry.isDirectory())
    .flatMap(entry => [join(path, entry.name), ...cgroupTree(join(path, entry.name), depth - 1)]);
}

export interface Snapshot {
  readonly mounts: readonly string[];
  readonly links: readonly string[];
  readonly cgroups: readonly string[];
  readonly processes: readonly string[];
}

/** `id` limits cgroups to ours: others may use this machine at the same time. */
export function snapshot(id: string): Snapshot {
  return {
    mounts: read('/proc/self/mountinfo')
      .trim()
      .split('\n')
      .map(line => line.split(' ').slice(4, 5).join('')),
    links: existsSync('/sys/class/net') ? readdirSync('/sys/class/net') : [],
    cgroups: cgroupMounts()
      .flatMap(mount => cgroupTree(mount.path))
      .filter(path => path.includes(id)),
    processes: processes().map(({ pid, command }) => `${pid} ${command}`),
  };
}

/** What `after` has more than `before`, as lines. Links are the host's: only names a runtime makes are ours. */
export function leftovers(before: Snapshot, after: Snapshot): string[] {
  const more = (kind: keyof Snapshot): string[] => {
    const known = new Set(before[kind]);
    return after[kind].filter(item => !known.has(item)).map(item => `${kind}: ${item}`);
  };
  return [...more('mounts'), ...more('links'), ...more('cgroups'), ...more('processes')];
}

export function commandVersion(command: string, args: readonly string[]): string | null {
  try {
    const output = execFileSync(command, args, {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: 10_000,
    });
    return output.trim().split('\n')[0] ?? '';
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    return 'unknown version';
  }
}
