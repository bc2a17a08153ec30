/**
 * Removes a tree that a payload has filled. By descriptors: its paths may be longer than the kernel takes, and its
 * names need not be UTF-8. Never through a symlink, never onto another file system.
 */
import { basename, dirname } from 'node:path';
import { AT, O, S_IFDIR, S_IFMT, S_IFREG } from '../../syscalls/abi/constants.js';
import { close, openat, statFd } from '../../syscalls/fs.js';
import { SyscallError } from '../../syscalls/libc.js';
import { makeMutable, moveTo, type Name, namesIn, openChild, rewind, shown, tryUnlink } from '../../syscalls/tree.js';

const EPERM = -1;
const ENOENT = -2;
const EISDIR = -21;
/** Directories held open at a time; what lies deeper is moved up to the top first. */
const MAX_DEPTH = 32;

/** A directory a privileged payload has made immutable gives its entries away no more. */
function relent(dir: number, name: Name): boolean {
  const parent = openat(dir, '.', O.O_RDONLY | O.O_DIRECTORY);
  try {
    const changed = makeMutable(parent);
    const entry = openChild(parent, name, O.O_PATH);
    const type = statFd(entry).mode & S_IFMT;
    close(entry);
    if (type !== S_IFREG && type !== S_IFDIR) return changed;
    const fd = openChild(parent, name, O.O_RDONLY | O.O_NONBLOCK);
    try {
      return makeMutable(fd) || changed;
    } finally {
      close(fd);
    }
  } finally {
    close(parent);
  }
}

class Removal {
  private top = -1;
  private moved = 0;

  run(parent: number, name: string): void {
    const result = this.unlink(parent, name, false);
    if (result === 0) return;
    if (result !== EISDIR) throw new SyscallError('unlinkat', -result, name);
    this.top = openChild(parent, name, O.O_RDONLY | O.O_DIRECTORY);
    try {
      this.empty(this.top, 1);
    } finally {
      close(this.top);
    }
    this.removeDirectory(parent, name);
  }

  private unlink(dir: number, name: Name, directory: boolean): number {
    const result = tryUnlink(dir, name, directory);
    return result === EPERM && relent(dir, name) ? tryUnlink(dir, name, directory) : result;
  }

  private removeDirectory(dir: number, name: Name): void {
    const result = this.unlink(dir, name, true);
    if (result < 0) throw new SyscallError('unlinkat', -result, shown(name));
  }

  /** Until a pass finds nothing: what is moved up to the top comes in while that is being read. */
  private empty(dir: number, depth: number): void {
    for (let found = true; found; ) {
      found = false;
      rewind(dir);
      for (const name of namesIn(dir)) {
        found = true;
        this.remove(dir, name, depth);
      }
    }
  }

  private remove(dir: number, name: Buffer, depth: number): void {
    const result = this.unlink(dir, name, false);
    if (result === 0 || result === ENOENT) return;
    if (result !== EISDIR) throw new SyscallError('unlinkat', -result, shown(name));
    if (depth >= MAX_DEPTH) {
      this.moveUp(dir, name);
      return;
    }
    const child = openChild(dir, name, O.O_RDONLY | O.O_DIRECTORY);
    try {
      this.empty(child, depth + 1);
    } finally {
      close(child);
    }
    this.removeDirectory(dir, name);
  }

  private moveUp(dir: number, name: Buffer): void {
    while (!moveTo(dir, name, this.top, `.removed-${++this.moved}`));
  }
}

/** @throws SyscallError ENOENT when there is nothing, EXDEV when something is mounted in it */
export function removeTree(path: string): void {
  const parent = openat(AT.AT_FDCWD, dirname(path), O.O_PATH | O.O_DIRECTORY);
  try {
    new Removal().run(parent, basename(path));
  } finally {
    close(parent);
  }
}
