/**
 * What a container could leave behind on the machine, as lists of lines that can be compared: mounts, loop devices, links, cgroups,
 * processes, ptys, descriptors, volatile files, host device nodes, and what a child that shares our memory could have
 * changed in this process itself.
 *
 * What other supervisors own is left out: cgroups, directories and processes whose name holds an id that does not
 * belong to a state directory of these tests (`own`). Names that hold no id count as ours.
 */

import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { lstatSync, readdirSync, readFileSync, readlinkSync, realpathSync, statSync } from 'node:fs';
import { hostname } from 'node:os';
import { dirname } from 'node:path';
import process from 'node:process';
import { DEVICE_NODES } from '#src/spec/devices.js';
import { getDumpable } from '#src/syscalls/process.js';
import { releaseWatches } from '#src/syscalls/watch.js';
import { slow } from './slow.ts';

export type Snapshot = Readonly<Record<Section, readonly string[]>>;

const SECTIONS = [
  'mounts',
  'loops',
  'links',
  'cgroups',
  'processes',
  'ptys',
  'descriptors',
  'volatile',
  'devices',
  'self',
] as const;
type Section = (typeof SECTIONS)[number];

const ids = new Set<string>();
/** Directories of these tests: what is made from a file in one of them counts. */
const places = new Set<string>();

/** Declares a state directory as one of these tests: what its supervisor leaves behind counts. Returns its id. */
export function own(stateDir: string): string {
  // The name that src/supervisor/store.ts derives; written out so that a mistake there does not hide leaks here.
  const id = createHash('sha256').update(realpathSync(stateDir)).digest('hex').slice(0, 8);
  ids.add(id);
  places.add(dirname(realpathSync(stateDir)));
  return id;
}

/** Another supervisor's, or a benchmark's, which cleans up by itself. */
function isForeign(name: string): boolean {
  // A scope of systemd has the container's name after the id.
  const id = name.replace(/^caisson-?/, '').replace(/-.+\.scope$/, '');
  return !ids.has(id) && !['', 'undefined', 'null', 'NaN'].includes(id);
}

/** A line of mountinfo that comes and goes with others: the volatile directory of another supervisor, and what
 * whoever tests networks here gives a name by ip(8); Caisson names none. */
function isForeignMount(line: string): boolean {
  // Mounted and unmounted by tests of LXCFS, which see to it themselves.
  if (line.includes(' - fuse.lxcfs ')) return true;
  const point = line.split(' ')[4] ?? '';
  const id = /^\/run\/caisson\/([^/]+)/.exec(point)?.[1];
  return point.startsWith('/run/netns') || (id !== undefined && isForeign(id));
}

/** Directories of ours in every cgroup hierarchy, with everything below them; parents first. */
export function ownCgroups(): string[] {
  return cgroups('/sys/fs/cgroup', false);
}

/** Volatile directories of ours. */
export function ownVolatile(): string[] {
  return [...ids].map(id => `/run/caisson/${id}`);
}

export interface SnapshotOptions {
  /**
   * For snapshots taken by the hundred: links by /sys/class/net instead of `ip`, members of our cgroups by their
   * lists instead of by every process of the machine, ptys by our descriptors only.
   */
  readonly quick?: boolean;
}

export function snapshot(options: SnapshotOptions = {}): Snapshot {
  // The event loop's epoll stays open while something is watched, or until the next supervisor closes.
  releaseWatches();
  const descriptors = openDescriptors();
  const groups = cgroups('/sys/fs/cgroup', false);
  const { own: processes, foreign } =
    options.quick === true ? { own: quickProcesses(groups), foreign: [] } : scanProcesses();
  return {
    mounts: lines(readFileSync('/proc/self/mountinfo', 'utf8')).filter(line => !isForeignMount(line)),
    loops: loops(),
    links: options.quick === true ? quickLinks() : links(),
    cgroups: groups,
    processes,
    ptys: options.quick === true ? [] : Array(ptysInUse(foreign)).fill('a pty in use'),
    descriptors,
    volatile: volatile(),
    devices: devices(),
    self: self(),
  };
}

/** What differs, readable; empty when nothing does. */
export function difference(before: Snapshot, after: Snapshot): string {
  const out: string[] = [];
  for (const section of SECTIONS) {
    // Fewer ptys than before: somebody else's terminal was closed.
    const left = section === 'ptys' ? [] : without(before[section], after[section]).map(line => `  - ${line}`);
    const right = without(after[section], before[section]).map(line => `  + ${line}`);
    if (left.length + right.length > 0) out.push(`${section}:`, ...left, ...right);
  }
  return out.join('\n');
}

/**
 * The difference once it has settled: the kernel frees a pty's number and reports a dead process's cgroup a moment
 * after the call that did it has returned.
 */
export async function settledDifference(
  before: Snapshot,
  options: SnapshotOptions & { timeoutMs?: number } = {},
): Promise<string> {
  const deadline = Date.now() + (options.timeoutMs ?? slow(3000));
  for (;;) {
    const text = difference(before, snapshot(options));
    if (text === '' || Date.now() >= deadline) return text;
    await new Promise(resolve => setTimeout(resolve, 5));
  }
}

/** Multiset difference. */
function without(lines: readonly string[], others: readonly string[]): string[] {
  const counts = new Map<string, number>();
  for (const line of others) counts.set(line, (counts.get(line) ?? 0) + 1);
  return lines.filter(line => {
    const count = counts.get(line) ?? 0;
    if (count > 0) counts.set(line, count - 1);
    return count === 0;
  });
}

function lines(text: string): string[] {
  return text.split('\n').filter(Boolean);
}

/** Loop devices on files of these tests. */
function loops(): string[] {
  return entries('/sys/block').flatMap(name => {
    const file = name.startsWith('loop') ? readOr(`/sys/block/${name}/loop/backing_file`).trim() : '';
    return [...places].some(place => file.startsWith(`${place}/`)) ? [`${name} ${file}`] : [];
  });
}

function links(): string[] {
  const json = execFileSync('ip', ['-json', 'link'], { encoding: 'utf8' });
  return (JSON.parse(json) as unknown[]).map(link => JSON.stringify(link));
}

function quickLinks(): string[] {
  return readdirSync('/sys/class/net').map(name => `${readOr(`/sys/class/net/${name}/ifindex`).trim()} ${name}`);
}

/** Every directory named caisson*, and everything below one, in all hierarchies. */
function cgroups(path: string, inside: boolean): string[] {
  const out: string[] = [];
  for (const name of directories(path)) {
    const child = `${path}/${name}`;
    const named = !inside && name.startsWith('caisson');
    if (named && isForeign(name)) continue;
    if (named || inside) out.push(child);
    out.push(...cgroups(child, named || inside));
  }
  return out;
}

function directories(path: string): string[] {
  try {
    return readdirSync(path, { withFileTypes: true })
      .filter(entry => entry.isDirectory())
      .map(entry => entry.name);
  } catch (error) {
    // Another supervisor's cgroup that went while we looked.
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}

/**
 * Our descendants, and whoever is in a cgroup of ours. Not counted: a zombie that is not our child. It has ended (its
 * pidfd says so); that the host's PID 1 takes its time to reap it is not ours to mend.
 */
function scanProcesses(): { own: string[]; foreign: number[] } {
  const found = new Map<number, { parent: number; state: string; name: string; caisson: boolean }>();
  for (const entry of readdirSync('/proc')) {
    const pid = Number(entry);
    if (!Number.isInteger(pid)) continue;
    const stat = readOr(`/proc/${pid}/stat`);
    if (stat === '') continue;
    const [state = '', parent = ''] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    const name = stat.slice(stat.indexOf('('), stat.lastIndexOf(')') + 1);
    const inCaisson = lines(readOr(`/proc/${pid}/cgroup`)).some(line =>
      line.split('/').some(part => part.startsWith('caisson') && !isForeign(part)),
    );
    found.set(pid, { parent: Number(parent), state, name, caisson: inCaisson });
  }
  const isOurs = (pid: number): boolean => {
    for (let at = found.get(pid); at !== undefined; at = found.get(at.parent)) {
      if (at.parent === process.pid) return true;
      if (at.parent === 0) return false;
    }
    return false;
  };
  const own: string[] = [];
  const foreign: number[] = [];
  for (const [pid, { parent, state, name, caisson }] of found) {
    if (pid === process.pid) continue;
    const descends = isOurs(pid);
    if (descends || (caisson && state !== 'Z')) own.push(`${pid} ${name} state ${state}, child of ${parent}`);
    else foreign.push(pid);
  }
  return { own, foreign };
}

/** Children of ours, and members of our cgroups. */
function quickProcesses(groups: readonly string[]): string[] {
  const members = new Set(groups.flatMap(path => lines(readOr(`${path}/cgroup.procs`)).map(Number)));
  return readdirSync('/proc')
    .map(Number)
    .filter(Number.isInteger)
    .flatMap(pid => {
      const stat = readOr(`/proc/${pid}/stat`);
      const parent = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
      return parent === process.pid || members.has(pid)
        ? [`${stat.slice(0, stat.lastIndexOf(')') + 3)}, child of ${parent}`]
        : [];
    });
}

/** Ptys of the whole machine, less those whose master an unrelated process has open: somebody's terminal. */
function ptysInUse(foreign: readonly number[]): number {
  const total = Number(readFileSync('/proc/sys/kernel/pty/nr', 'utf8'));
  if (total === 0) return 0;
  const masters = new Set<string>();
  for (const pid of foreign) {
    for (const fd of entries(`/proc/${pid}/fd`)) {
      if (!linkOf(`/proc/${pid}/fd/${fd}`).endsWith('ptmx')) continue;
      // A master that several processes have open counts once: devpts instance and number name it.
      const index = /^tty-index:\s*(\d+)/m.exec(readOr(`/proc/${pid}/fdinfo/${fd}`))?.[1];
      const instance = statSync(`/proc/${pid}/fd/${fd}`, { throwIfNoEntry: false })?.dev;
      if (index !== undefined && instance !== undefined) masters.add(`${instance}:${index}`);
    }
  }
  return Math.max(0, total - masters.size);
}

/**
 * By what they are, not by number: a descriptor closed and opened again is no leak. The one left out is the directory
 * being read. Nothing else is excluded: what the runtime opens at first use and keeps (libuv's signal pipe) is there
 * before, since the rig warms up.
 */
function openDescriptors(): string[] {
  return (
    readdirSync('/proc/self/fd')
      .map(fd => linkOf(`/proc/self/fd/${fd}`))
      // `.new`: a record that is being written, off the path of what a test does. One that is never closed shows, too: it
      // is renamed.
      .filter(link => link !== '' && !link.endsWith('.new'))
      .sort()
  );
}

function volatile(): string[] {
  const walk = (path: string): string[] =>
    entries(path).flatMap(name => {
      const child = `${path}/${name}`;
      return [child, ...walk(child)];
    });
  return entries('/run/caisson')
    .filter(name => !isForeign(name))
    .flatMap(name => [`/run/caisson/${name}`, ...walk(`/run/caisson/${name}`)]);
}

/** Host nodes of the device table: a chmod or chown through a bind would change these (ENV-20). */
function devices(): string[] {
  return [...DEVICE_NODES.map(({ path }) => path), 'console', 'ptmx', 'pts', 'shm'].flatMap(path => {
    const stat = lstatSync(`/dev/${path}`, { throwIfNoEntry: false });
    if (stat === undefined) return [];
    return [`/dev/${path} ${stat.mode.toString(8)} ${stat.uid}:${stat.gid} ${stat.rdev.toString(16)}`];
  });
}

/** What a child could have changed in us while it shared our memory, or a step by mistake in the wrong process. */
function self(): string[] {
  const status = readFileSync('/proc/self/status', 'utf8');
  const field = (name: string): string => new RegExp(`^${name}:.*`, 'm').exec(status)?.[0] ?? '';
  return [
    `hostname ${hostname()}`,
    `cwd ${process.cwd()}`,
    `umask ${process.umask().toString(8)}`,
    `dumpable ${getDumpable()}`,
    `oom_score_adj ${readFileSync('/proc/self/oom_score_adj', 'utf8').trim()}`,
    ...['Uid', 'Gid', 'Groups', 'SigBlk', 'SigIgn', 'CapEff', 'CapBnd'].map(field),
    ...entries('/proc/self/ns').map(name => linkOf(`/proc/self/ns/${name}`)),
    ...lines(readFileSync('/proc/self/cgroup', 'utf8')),
    ...lines(readFileSync('/proc/self/limits', 'utf8')),
  ];
}

function readOr(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    // A process that has ended meanwhile.
    if (['ENOENT', 'ESRCH', 'ENODEV'].includes((error as NodeJS.ErrnoException).code ?? '')) return '';
    throw error;
  }
}

function entries(path: string): string[] {
  try {
    return readdirSync(path).sort();
  } catch (error) {
    if (['ENOENT', 'ENOTDIR', 'ESRCH', 'EACCES'].includes((error as NodeJS.ErrnoException).code ?? '')) return [];
    throw error;
  }
}

function linkOf(path: string): string {
  try {
    return readlinkSync(path);
  } catch (error) {
    // Gone, or of a process that goes through a tree with long paths: no terminal.
    if (['ENOENT', 'ESRCH', 'EACCES', 'ENAMETOOLONG'].includes((error as NodeJS.ErrnoException).code ?? '')) return '';
    throw error;
  }
}
