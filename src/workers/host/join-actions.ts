/** Executors of joining a running container. */
import type { JoinAction } from '../../plan/actions/join.js';
import { CaissonError } from '../../spec/errors.js';
import { AT, O } from '../../syscalls/abi/constants.js';
import { PSEUDO } from '../../syscalls/abi/launch.js';
import { chownat, close, openat, pipe, readFile } from '../../syscalls/fs.js';
import { endProcess } from '../../syscalls/launcher/join.js';
import { NR, SyscallError } from '../../syscalls/libc.js';
import { openPidfd, poll, reap } from '../../syscalls/process.js';
import { openPty } from '../../syscalls/pty.js';
import type { StepContext } from '../context.js';
import { openInside, openStrictly } from './errand-inside.js';
import type { Executors } from './executors.js';

/** It only clones itself: what comes after that is not waited for here. */
const FOLLOW_TIMEOUT_MS = 10_000;
const CHILDREN = 2;

/** The v2 cgroup of a process, as a path in the hierarchy. */
function cgroupOf(pid: number): string | undefined {
  try {
    return /^0::(.*)$/m.exec(readFile(`/proc/${pid}/cgroup`))?.[1];
  } catch (error) {
    if (error instanceof SyscallError && ['ENOENT', 'ESRCH'].includes(error.errno)) return undefined;
    throw error;
  }
}

/**
 * Where PID 1 is: an init that manages cgroups has left the payload's own, which as a rule may hold no processes beside
 * groups. The name is the payload's, but it is in a file system that has no symlinks, and `..` is no name of a cgroup.
 */
function payloadCgroup(payload: string, pid: number): string {
  const path = cgroupOf(pid) ?? '';
  const parts = payload.split('/');
  // Its mount point is not part of the path that the kernel tells.
  for (let from = 1; from < parts.length; from++) {
    const below = `/${parts.slice(from).join('/')}`;
    if (path === below) return payload;
    if (path.startsWith(`${below}/`)) return `${payload}${path.slice(below.length)}`;
  }
  return payload;
}

/** Kills and reaps what is left of the joiner, in the order of its births: a dead one has no more children. */
function kill(pidfd: string, context: StepContext): void {
  let alive = false;
  if (context.has(pidfd)) {
    alive = !endProcess(context.get(pidfd));
    context.clear(pidfd);
  }
  const { program } = context.program;
  for (let child = 0; child < CHILDREN; child++) {
    const pid = program.pidOf(child);
    if (pid === 0) continue;
    try {
      if (!endProcess(openPidfd(pid))) alive = true;
    } catch (error) {
      if (!(error instanceof SyscallError && error.errno === 'ESRCH')) throw error;
    }
  }
  if (alive) throw new CaissonError('UNKILLABLE', 'what was to join the container is still alive after SIGKILL');
}

const DEVPTS = 0x1cd1;
const STATFS_SIZE = 120;

/** What is mounted on /dev/pts is the payload's choice: any instance of devpts will do. */
function openDevpts(pidfd: number): number {
  let found = 0;
  let type = 0;
  let devpts: number;
  const refused = (cause?: unknown): CaissonError =>
    new CaissonError('EXEC_FAILED', 'there is no devpts on /dev/pts inside: no terminal can be made', { cause });
  try {
    devpts = openInside(
      { pidfd, used: [], what: '/dev/pts' },
      (arena, entries, opened) => {
        found = arena.alloc(STATFS_SIZE);
        const use = entries.length + 2;
        entries.push(
          { ...openStrictly(arena, 'dev/pts', O.O_DIRECTORY), dest: opened },
          { nr: PSEUDO.loadI32, args: [opened.address], dest: { entry: use, argument: 0 } },
          { nr: NR.fstatfs, args: [0, found] },
        );
      },
      arena => {
        // struct statfs begins with it.
        type = arena.getI64(found);
      },
    );
  } catch (error) {
    throw error instanceof SyscallError ? refused(error) : error;
  }
  if (type === DEVPTS) return devpts;
  close(devpts);
  throw refused();
}

export const JOIN_ACTIONS: Executors<JoinAction> = {
  'join.cgroup': (action, context) => {
    const path = payloadCgroup(action.payload, context.get(action.pid));
    context.set(
      action.save,
      action.procs
        ? openat(AT.AT_FDCWD, `${path}/cgroup.procs`, O.O_WRONLY)
        : openat(AT.AT_FDCWD, path, O.O_RDONLY | O.O_DIRECTORY),
    );
  },
  'join.pipes': ({ uid, gid, save }, context) => {
    for (const [index, theirs] of save.theirs.entries()) {
      const ours = save.ours[index];
      if (ours === undefined) throw new CaissonError('INTERNAL', `${theirs} has no other end`);
      const { read, write } = pipe();
      const [inner, outer] = index === 0 ? [read, write] : [write, read];
      context.set(theirs, inner);
      context.set(ours, outer);
      chownat(inner, '', uid, gid);
    }
  },
  'join.tty': ({ pidfd, save, ...wish }, context) => {
    const devpts = openDevpts(context.get(pidfd));
    try {
      const { master, slave } = openPty(devpts, wish);
      context.set(save.master, master);
      context.set(save.slave, slave);
    } finally {
      close(devpts);
    }
  },
  'join.launch': (action, context) => {
    const sync = context.get(action.sync);
    const { pid, pidfd } = context.launchJoiner(sync);
    context.set(action.save.pid, pid);
    context.set(action.save.pidfd, pidfd);
    context.clear(action.sync);
    close(sync);
  },
  'join.follow': (action, context) => {
    const pidfd = context.get(action.pidfd);
    poll([pidfd], FOLLOW_TIMEOUT_MS);
    if (reap(pidfd) === undefined)
      throw new CaissonError('TIMEOUT', `the joiner has not cloned itself within ${FOLLOW_TIMEOUT_MS} ms`);
    context.clear(action.pidfd);
    close(pidfd);
    const { program } = context.program;
    const pid = program.pidOf(0);
    if (pid !== 0) context.set(action.save, openPidfd(pid));
    else if (program.failure === undefined)
      throw new CaissonError('CHILD_DIED', 'the joiner was killed before it cloned itself');
  },
  'join.kill': (action, context) => kill(action.pidfd, context),
};
