/** Every file of a tree on one mount, each by a descriptor of it; a directory after what is in it. */
import { O, S_IFDIR, S_IFMT } from '../../../../syscalls/abi/constants.js';
import { close, openat, type Stat, statFd } from '../../../../syscalls/fs.js';
import { SyscallError } from '../../../../syscalls/libc.js';
import { namesIn, openChild } from '../../../../syscalls/tree.js';
import { refuse } from '../refuse.js';

/** Directories that are held open at a time. */
const MAX_DEPTH = 1000;
const SLASH = Buffer.from('/');

export interface Found {
  /** O_PATH: nothing is opened but the entry itself, no symlink followed, no device touched. */
  readonly fd: number;
  readonly stat: Stat;
  /** Path below the root; empty for the root itself. */
  readonly path: Buffer;
}

function entry(dir: number, name: Buffer): number | undefined {
  try {
    return openChild(dir, name, O.O_PATH);
  } catch (error) {
    // Something is mounted there: that is another file system, and not of this tree.
    if (error instanceof SyscallError && ['EXDEV', 'ENOENT'].includes(error.errno)) return undefined;
    throw error;
  }
}

/** @param root descriptor of the directory; it is the last that `visit` is called with. */
export function walk(root: number, visit: (found: Found) => void, path: Buffer = Buffer.alloc(0), depth = 0): void {
  if (depth > MAX_DEPTH) {
    const [where = ''] = path.toString('utf8').split('/');
    const hint = 'remove what no system needs';
    refuse('SHIFT_UNSUPPORTED', `the rootfs has directories ${MAX_DEPTH} levels deep, in /${where}`, hint);
  }
  const dir = openat(root, '.', O.O_RDONLY | O.O_DIRECTORY);
  try {
    for (const name of namesIn(dir)) {
      const fd = entry(dir, name);
      if (fd === undefined) continue;
      try {
        const below = path.length === 0 ? name : Buffer.concat([path, SLASH, name]);
        const stat = statFd(fd);
        if ((stat.mode & S_IFMT) === S_IFDIR) walk(fd, visit, below, depth + 1);
        else visit({ fd, stat, path: below });
      } finally {
        close(fd);
      }
    }
  } finally {
    close(dir);
  }
  visit({ fd: root, stat: statFd(root), path });
}
