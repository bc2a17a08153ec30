/** Executors of the actions on files of the host. */
import { mkdirSync } from 'node:fs';
import type { FileAction } from '../../plan/actions/files.js';
import { AT, flagsOf, O } from '../../syscalls/abi/constants.js';
import { chownat, close, duplicate, mkdirat, openat, rmdir, unlink, writeFd, writeFile } from '../../syscalls/fs.js';
import type { Executors } from './executors.js';
import { removeTree } from './remove-tree.js';
import { share, unshare } from './share.js';

export const FILE_ACTIONS: Executors<FileAction> = {
  mkdir: action => mkdirat(AT.AT_FDCWD, action.path, action.mode),
  mkdirs: action => {
    mkdirSync(action.path, { recursive: true, mode: action.mode });
  },
  rmdir: action => rmdir(action.path),
  rmtree: action => removeTree(action.path),
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
  raise: (action, context) => {
    for (const register of action.registers) {
      const fd = context.registers[register];
      // Of a step that this start had no need of.
      if (fd === undefined) continue;
      context.set(register, duplicate(fd, action.from));
      close(fd);
    }
  },
  unlink: action => unlink(action.path),
  'mount.share': action => share(action.path),
  'mount.unshare': action => unshare(action.path),
};
