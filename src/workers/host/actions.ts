/** The executors of host actions: one function per action, a typed table. */
import { mkdirSync, rmSync } from 'node:fs';
import type { HostAction } from '../../plan/step.js';
import { CaissonError } from '../../spec/errors.js';
import { RLIMIT_NAMES } from '../../spec/rlimits.js';
import { AT, CLONE, flagsOf, MOUNT_ATTR, O, S_IFCHR, S_IFREG } from '../../syscalls/abi/constants.js';
import { attachDeviceProgram } from '../../syscalls/bpf.js';
import {
  chownat,
  close,
  deviceNumber,
  duplicate,
  mkdirat,
  mknodat,
  openat,
  rmdir,
  symlinkat,
  unlink,
  writeFd,
  writeFile,
} from '../../syscalls/fs.js';
import { SyscallError } from '../../syscalls/libc.js';
import { cloneTree, newMount } from '../../syscalls/mount.js';
import { poll, reap, sendSignal, setDumpable, setRlimit } from '../../syscalls/process.js';
import { openPty } from '../../syscalls/pty.js';
import { socketpair } from '../../syscalls/socket.js';
import type { StepContext } from '../context.js';
import { inheritCpuset, killCgroup, removeCgroup } from './cgroup.js';
import { freezeCgroup } from './freeze.js';
import { writeRecord } from './record.js';
import { checkRootfs, mapOwners, openRootfs, overlay } from './rootfs.js';
import { closeSync } from './sync.js';

type Executors = {
  readonly [K in HostAction['op']]: (action: Extract<HostAction, { op: K }>, context: StepContext) => void;
};

const SIGKILL = 9;
const KILL_TIMEOUT_MS = 10_000;

export const HOST_ACTIONS: Executors = {
  'rootfs.open': (action, context) => context.set(action.save, openRootfs(action.path)),
  'rootfs.check': (action, context) => {
    context.notices.push(...checkRootfs(context.get(action.dir), action));
  },
  'rootfs.clone': (action, context) => context.set(action.save, cloneTree(context.get(action.dir), '')),
  'rootfs.overlay': (action, context) =>
    context.set(action.save, overlay(context.get(action.lower), action.scratch, action.owner)),
  mkdir: action => mkdirat(AT.AT_FDCWD, action.path, action.mode),
  mkdirs: action => {
    mkdirSync(action.path, { recursive: true, mode: action.mode });
  },
  'cpuset.inherit': action => inheritCpuset(action.path),
  rmdir: action => rmdir(action.path),
  'cgroup.remove': action => removeCgroup(action.path, action.timeoutMs),
  // Node's rm never follows a symlink, and the payload that could swap one in is dead.
  rmtree: action => rmSync(action.path, { recursive: true, force: true }),
  open: (action, context) => context.set(action.save, openat(AT.AT_FDCWD, action.path, flagsOf(O, action.flags))),
  close: (action, context) => {
    for (const register of action.registers) {
      const fd = context.registers[register];
      if (fd === undefined) continue;
      context.clear(register);
      close(fd);
    }
  },
  write: action => writeFile(action.path, action.text),
  'write.lines': action => {
    const fd = openat(AT.AT_FDCWD, action.path, O.O_WRONLY);
    try {
      for (const line of action.lines) writeFd(fd, line, `${action.path} <- ${line}`);
    } finally {
      close(fd);
    }
  },
  chown: action => chownat(AT.AT_FDCWD, action.path, action.uid, action.gid),
  socketpair: (action, context) => {
    const [ours, theirs] = socketpair();
    context.set(action.save[0], ours);
    context.set(action.save[1], theirs);
  },
  launch: (action, context) => {
    const program = context.park(context.get(action.sync));
    const launched = program.launch(
      flagsOf(CLONE, action.namespaces),
      action.cgroup === null ? null : context.get(action.cgroup),
    );
    if ('errno' in launched) throw new SyscallError('clone3', launched.errno, action.namespaces.join('|'));
    context.set(action.save.pid, launched.pid);
    context.set(action.save.pidfd, launched.pidfd);
  },
  'sync.close': (action, context) => closeSync(action, context),
  raise: (action, context) => {
    for (const register of action.registers) {
      const fd = context.get(register);
      context.set(register, duplicate(fd, action.from));
      close(fd);
    }
  },
  kill: (action, context) => {
    const pidfd = context.get(action.pidfd);
    sendSignal(pidfd, SIGKILL);
    poll([pidfd], KILL_TIMEOUT_MS);
    if (reap(pidfd) === undefined)
      throw new CaissonError('UNKILLABLE', `the child is still alive ${KILL_TIMEOUT_MS} ms after SIGKILL`);
  },
  record: (action, context) => writeRecord(action.path, context.get(action.pid)),
  unlink: action => unlink(action.path),
  'idmap.write': (action, context) => {
    const pid = context.get(action.pid);
    const lines = (map: typeof action.uid): string =>
      map.map(({ inside, outside, count }) => `${inside} ${outside} ${count}\n`).join('');
    writeFile(`/proc/${pid}/uid_map`, lines(action.uid));
    writeFile(`/proc/${pid}/gid_map`, lines(action.gid));
  },
  'userns.open': (action, context) =>
    context.set(action.save, openat(AT.AT_FDCWD, `/proc/${context.get(action.pid)}/ns/user`, O.O_RDONLY)),
  'mount.idmap': (action, context) => mapOwners(context.get(action.mount), context.get(action.userns)),
  'fs.mount': (action, context) =>
    context.set(action.save, newMount(action.fstype, action.options, flagsOf(MOUNT_ATTR, action.attributes))),
  'tree.mkdir': (action, context) => {
    const dir = context.get(action.dir);
    mkdirat(dir, action.path, action.mode);
    chownat(dir, action.path, action.uid, action.gid);
  },
  'tree.mknod': (action, context) => {
    const dir = context.get(action.dir);
    mknodat(dir, action.path, S_IFCHR | action.mode, deviceNumber(action.major, action.minor));
    chownat(dir, action.path, action.uid, action.gid);
  },
  'tree.file': (action, context) => {
    const dir = context.get(action.dir);
    mknodat(dir, action.path, S_IFREG | action.mode, 0);
    chownat(dir, action.path, action.uid, action.gid);
  },
  'tree.symlink': (action, context) => {
    const dir = context.get(action.dir);
    symlinkat(action.target, dir, action.path);
    chownat(dir, action.path, action.uid, action.gid);
  },
  'tree.chown': (action, context) => chownat(context.get(action.dir), action.path, action.uid, action.gid),
  'bind.open': (action, context) => context.set(action.save, cloneTree(AT.AT_FDCWD, action.path)),
  'pty.open': (action, context) => {
    const { master, slave } = openPty(context.get(action.devpts), action);
    context.set(action.save.master, master);
    context.set(action.save.slave, slave);
  },
  'policy.bpf': action => attachDeviceProgram(action.cgroup, Uint8Array.from(action.program)),
  rlimits: (action, context) => {
    const pid = context.get(action.pid);
    for (const [name, [soft, hard]] of Object.entries(action.limits)) {
      setRlimit(pid, (RLIMIT_NAMES as readonly string[]).indexOf(name), soft, hard);
    }
  },
  oom: (action, context) => writeFile(`/proc/${context.get(action.pid)}/oom_score_adj`, String(action.adj)),
  dumpable: action => setDumpable(action.value),
  'cgroup.freeze': action => freezeCgroup(action),
  'cgroup.kill': action => killCgroup(action),
};

export function runHostAction(action: HostAction, context: StepContext): void {
  // The table is typed per action; the lookup by a union needs the one cast.
  (HOST_ACTIONS[action.op] as (action: HostAction, context: StepContext) => void)(action, context);
}
