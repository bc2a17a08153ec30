/** Executors of the actions on trees of the container. */
import type { TreeAction } from '../../plan/actions/tree.js';
import { AT, flagsOf, MOUNT_ATTR, S_IFCHR, S_IFREG } from '../../syscalls/abi/constants.js';
import { chownat, deviceNumber, mkdirat, mknodat, symlinkat } from '../../syscalls/fs.js';
import { cloneTree, newMount } from '../../syscalls/mount.js';
import { openPty } from '../../syscalls/pty.js';
import type { Executors } from './executors.js';

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
};
