/** Emptying and removing cgroups, each within a time limit. */
import { readdirSync } from 'node:fs';
import { CaissonError } from '../../spec/errors.js';
import { close, readFile, rmdir, writeFile } from '../../syscalls/fs.js';
import { SyscallError } from '../../syscalls/libc.js';
import { openPidfd, sendSignal } from '../../syscalls/process.js';
import { retryFor } from '../sleep.js';

const SIGKILL = 9;

function isErrno(error: unknown, ...names: string[]): boolean {
  return error instanceof SyscallError && names.includes(error.errno);
}

function members(path: string): number[] {
  try {
    return readFile(`${path}/cgroup.procs`).split('\n').filter(Boolean).map(Number);
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ENODEV')) return [];
    throw error;
  }
}

function subgroups(path: string): string[] {
  try {
    return readdirSync(path, { withFileTypes: true })
      .filter(entry => entry.isDirectory())
      .map(entry => `${path}/${entry.name}`);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}

function allMembers(path: string): number[] {
  return [...members(path), ...subgroups(path).flatMap(allMembers)];
}

/** Kills each member through a pidfd, after checking that the pid is still in the cgroup: it may have been recycled. */
function killMembers(path: string): number {
  const pids = allMembers(path);
  for (const pid of pids) {
    let pidfd: number;
    try {
      pidfd = openPidfd(pid);
    } catch (error) {
      if (isErrno(error, 'ESRCH', 'EINVAL')) continue;
      throw error;
    }
    try {
      if (allMembers(path).includes(pid)) sendSignal(pidfd, SIGKILL);
    } finally {
      close(pidfd);
    }
  }
  return pids.length;
}

function populated(v2: string): boolean {
  return readFile(`${v2}/cgroup.events`).includes('populated 1');
}

/** Kills everything in the container's cgroups and waits until they are empty (LIF-20, LIF-29). */
export function killCgroup(action: { paths: readonly string[]; v2: string | null; timeoutMs: number }): void {
  const { paths, v2, timeoutMs } = action;
  if (v2 !== null) {
    try {
      if (!populated(v2)) return;
      writeFile(`${v2}/cgroup.kill`, '1');
    } catch (error) {
      // Before 5.14 there is no cgroup.kill: the members are killed one by one below. Or the cgroup goes while we look:
      // systemd removes an empty scope by itself.
      if (!isErrno(error, 'ENOENT', 'ENODEV')) throw error;
    }
  }
  const trees = v2 === null ? paths : [v2];
  const empty = retryFor(timeoutMs, () => trees.reduce((count, path) => count + killMembers(path), 0) === 0);
  if (!empty) {
    const left = trees.flatMap(allMembers);
    throw new CaissonError(
      'CLEANUP_FAILED',
      `processes ${left.join(', ')} are still alive ${timeoutMs} ms after SIGKILL`,
      {
        hint: 'look at their state in /proc/<pid>/stack: a process in uninterruptible sleep (D) waits for a device or file server',
      },
    );
  }
}

/** Removes a cgroup and every group the payload made below it. A dead member may keep it busy for a moment. */
export function removeCgroup(path: string, timeoutMs: number): void {
  for (const child of subgroups(path)) {
    try {
      removeCgroup(child, timeoutMs);
    } catch (error) {
      if (!isErrno(error, 'ENOENT')) throw error;
    }
  }
  let refused: unknown;
  const removed = retryFor(timeoutMs, () => {
    try {
      rmdir(path);
      return true;
    } catch (error) {
      if (!isErrno(error, 'EBUSY')) throw error;
      refused = error;
      return false;
    }
  });
  if (!removed) throw refused;
}

/** The same for one that somebody else may be removing. */
export function removeCgroupIfThere(path: string, timeoutMs: number): void {
  try {
    removeCgroup(path, timeoutMs);
  } catch (error) {
    if (!isErrno(error, 'ENOENT')) throw error;
  }
}

/** Gives a v1 cpuset its parent's processors and memory nodes, and lets the groups below it copy them in turn. */
export function inheritCpuset(path: string): void {
  const parent = path.slice(0, path.lastIndexOf('/'));
  for (const file of ['cpuset.cpus', 'cpuset.mems']) {
    if (readFile(`${path}/${file}`).trim() === '') writeFile(`${path}/${file}`, readFile(`${parent}/${file}`).trim());
  }
  writeFile(`${path}/cgroup.clone_children`, '1');
}
