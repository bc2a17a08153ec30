/**
 * The counters of many containers in one task. Files are opened anew for each look: kept open, each would hold a page of
 * the kernel's, which is 50 KB a container.
 */
import type { StatsFile, StatsTarget } from '../plan/stats.js';
import { parseInterfaces, parseStats } from '../spec/stats/parse.js';
import { emptyRow, type Interfaces, type Row, SLOTS, setSlot } from '../spec/stats/slots.js';
import { AT, O } from '../syscalls/abi/constants.js';
import { close, openat, readSmall } from '../syscalls/fs.js';
import { SyscallError } from '../syscalls/libc.js';
import { now } from './record.js';

export interface StatsRequest {
  readonly files: readonly StatsFile[];
  readonly network: boolean;
  readonly targets: readonly StatsTarget[];
}

export interface StatsResult {
  /** SLOTS numbers for each target. */
  readonly rows: Float64Array;
  readonly interfaces: readonly (Interfaces | null)[];
}

/** The way to a directory is walked once, not for every file. */
class Directories {
  private readonly open = new Map<string, number | null>();

  /** Null: there is none. */
  at(path: string): number | null {
    let fd = this.open.get(path);
    if (fd === undefined) {
      fd = openOrNull(path);
      this.open.set(path, fd);
    }
    return fd;
  }

  /** What is used for one container only. */
  drop(path: string): void {
    const fd = this.open.get(path);
    if (typeof fd === 'number') close(fd);
    this.open.delete(path);
  }

  close(): void {
    for (const path of [...this.open.keys()]) this.drop(path);
  }
}

function openOrNull(path: string): number | null {
  try {
    return openat(AT.AT_FDCWD, path, O.O_PATH | O.O_DIRECTORY);
  } catch (error) {
    if (error instanceof SyscallError && error.errno === 'ENOENT') return null;
    throw error;
  }
}

function readTarget({ name, v2, leaf }: StatsTarget, files: readonly StatsFile[], directories: Directories): Row {
  const row = emptyRow();
  setSlot(row, 'timeNs', now());
  for (const { base, file, leaf: inLeaf, format } of files) {
    const directory = base ?? v2;
    const fd = directory === null ? null : directories.at(directory);
    if (fd === null) continue;
    const below = inLeaf === true ? `${leaf}${file}` : file;
    const text = readSmall(fd, base === null ? below : `${name}/${below}`);
    if (text !== null) parseStats(format, text, row);
  }
  if (v2 !== null) directories.drop(v2);
  return row;
}

/** What is not there is not told: a kernel without that file, or a container that has ended meanwhile. */
export function collectStats({ files, network, targets }: StatsRequest): StatsResult {
  const directories = new Directories();
  const rows = new Float64Array(targets.length * SLOTS);
  const interfaces: (Interfaces | null)[] = [];
  try {
    for (const [index, target] of targets.entries()) {
      rows.set(readTarget(target, files, directories), index * SLOTS);
      const proc = network ? directories.at('/proc') : null;
      const links = proc === null ? null : readSmall(proc, `${target.pid}/net/dev`);
      interfaces.push(links === null ? null : parseInterfaces(links));
    }
  } finally {
    directories.close();
  }
  return { rows, interfaces };
}
