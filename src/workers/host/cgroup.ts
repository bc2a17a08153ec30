/** Emptying and removing cgroups, each within a time limit. */
import { CaissonError } from '../../spec/errors.js';
import { AT } from '../../syscalls/abi/constants.js';
import { close, readFile, writeFile } from '../../syscalls/fs.js';
import { SyscallError } from '../../syscalls/libc.js';
import { openPidfd, sendSignal } from '../../syscalls/process.js';
import { type Name, shown, tryUnlink } from '../../syscalls/tree.js';
import { retryFor } from '../sleep.js';
import { membersOf, walkGroups } from './cgroup-tree.js';

const SIGKILL = 9;
const EBUSY = -16;

function isErrno(error: unknown, ...names: string[]): boolean {
  return error instanceof SyscallError && names.includes(error.errno);
}

/** Kills each member through a pidfd, after checking that the pid is still in the cgroup: it may have been recycled. */
function killMembers(path: string): number[] {
  const pids: number[] = [];
  const enter = (group: number): void => {
    for (const pid of membersOf(group)) {
      pids.push(pid);
      killIn(group, pid);
    }
  };
  walkGroups(path, { enter });
  return pids;
}

function killIn(group: number, pid: number): void {
  let pidfd: number;
  try {
    pidfd = openPidfd(pid);
  } catch (error) {
    if (isErrno(error, 'ESRCH', 'EINVAL')) return;
    throw error;
  }
  try {
    if (membersOf(group).includes(pid)) sendSignal(pidfd, SIGKILL);
  } finally {
    close(pidfd);
  }
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
  let left: number[] = [];
  const empty = retryFor(timeoutMs, () => {
    left = trees.flatMap(killMembers);
    return left.length === 0;
  });
  if (!empty) {
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
  const deadline = performance.now() + timeoutMs;
  const remove = (parent: number, name: Name): void => {
    let result = 0;
    retryFor(deadline - performance.now(), () => {
      result = tryUnlink(parent, name, true);
      return result !== EBUSY;
    });
    if (result < 0) throw new SyscallError('rmdir', -result, shown(name));
  };
  walkGroups(path, {
    leave: (parent, name) => {
      try {
        remove(parent, name);
      } catch (error) {
        if (!isErrno(error, 'ENOENT')) throw error;
      }
    },
  });
  remove(AT.AT_FDCWD, path);
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
