/** Executors of the actions on trees of the container. */
import { randomUUID } from 'node:crypto';
import type { TreeAction } from '../../plan/actions/tree.js';
import {
  AT,
  flagsOf,
  MOUNT_ATTR,
  O,
  S_IFBLK,
  S_IFCHR,
  S_IFIFO,
  S_IFREG,
  S_IFSOCK,
} from '../../syscalls/abi/constants.js';
import { bindDatagram } from '../../syscalls/datagram.js';
import { chownat, close, deviceNumber, mkdirat, mknodat, openat, symlinkat, writeFd } from '../../syscalls/fs.js';
import { SyscallError } from '../../syscalls/libc.js';
import { cloneTree, newMount, setAttributes } from '../../syscalls/mount.js';
import { openPty } from '../../syscalls/pty.js';
import type { Executors } from './executors.js';

const FILE_TYPES = { S_IFREG, S_IFIFO, S_IFSOCK, S_IFCHR, S_IFBLK } as const;

export const TREE_ACTIONS: Executors<TreeAction> = {
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
  'tree.special': (action, context) => {
    const dir = context.get(action.dir);
    mknodat(dir, action.path, FILE_TYPES[action.kind] | action.mode, 0);
    chownat(dir, action.path, action.uid, action.gid);
  },
  'tree.write': (action, context) =>
    writeNew(context.get(action.dir), action, context.text(action.text) + (action.newline === true ? '\n' : '')),
  'tree.uuid': (action, context) => writeNew(context.get(action.dir), action, `${randomUUID()}\n`),
  'tree.open': (action, context) =>
    context.set(action.save, openat(context.get(action.dir), action.path, flagsOf(O, action.flags) | O.O_NOFOLLOW)),
  'datagram.bind': (action, context) =>
    context.set(action.save, bindDatagram(context.get(action.dir), action.name, action)),
  'bind.tree': (action, context) => {
    const mount = cloneTree(AT.AT_FDCWD, action.path, AT.AT_RECURSIVE);
    try {
      setAttributes(mount, flagsOf(MOUNT_ATTR, action.attributes));
    } catch (error) {
      close(mount);
      throw error;
    }
    context.set(action.save, mount);
  },
  'bind.held': (action, context) => {
    const held = context.held[action.name];
    if (held === undefined) throw new SyscallError('open_tree', 2, action.name);
    const mount = cloneTree(held, '');
    try {
      setAttributes(mount, flagsOf(MOUNT_ATTR, action.attributes));
    } catch (error) {
      close(mount);
      throw error;
    }
    context.set(action.save, mount);
  },
  'bind.first': (action, context) => context.set(action.save, firstTree(action.paths)),
};

function writeNew(
  dir: number,
  file: { readonly path: string; readonly mode: number; readonly uid: number; readonly gid: number },
  text: string,
): void {
  const fd = openat(dir, file.path, O.O_WRONLY | O.O_CREAT | O.O_EXCL, file.mode);
  try {
    writeFd(fd, text, file.path);
    chownat(fd, '', file.uid, file.gid);
  } finally {
    close(fd);
  }
}

/** @throws SyscallError ENOENT when there is none of them. */
function firstTree(paths: readonly string[]): number {
  for (const [index, path] of paths.entries()) {
    try {
      return cloneTree(AT.AT_FDCWD, path);
    } catch (error) {
      if (!(error instanceof SyscallError && error.errno === 'ENOENT') || index === paths.length - 1) throw error;
    }
  }
  throw new RangeError('no paths');
}
