/**
 * Putting members into a tree that a stranger's archive describes. Everything goes by descriptors of the tree's own
 * directories: no symlink is followed, no mount is crossed, and `..` leads nowhere.
 */
import { AT, O, RESOLVE, S_IFDIR, S_IFIFO, S_IFMT } from '../../syscalls/abi/constants.js';
import { scratch } from '../../syscalls/arena.js';
import { chownat, close, statFd } from '../../syscalls/fs.js';
import { SyscallError, trySyscall } from '../../syscalls/libc.js';
import { changeMode, changeTimes, linkFd, setAttribute } from '../../syscalls/metadata.js';
import { openChild, shown, tryUnlink } from '../../syscalls/tree.js';
import type { Member } from './members.js';
import type { Memory } from './memory.js';
import { invalid, printable } from './refuse.js';

const BENEATH =
  RESOLVE.RESOLVE_BENEATH | RESOLVE.RESOLVE_NO_SYMLINKS | RESOLVE.RESOLVE_NO_MAGICLINKS | RESOLVE.RESOLVE_NO_XDEV;
const ENOENT = -2;
const EEXIST = -17;
const EISDIR = -21;
const SLASH = 0x2f;
const DOT = 0x2e;

/** Opens a path of the tree; its bytes are a stranger's. */
function openBeneath(root: number, path: Buffer, flags: number): number {
  const arena = scratch();
  const text = arena.cstring(path.length === 0 ? '.' : path);
  const how = arena.alloc(24);
  arena.setU64(how, flags | O.O_NOFOLLOW | O.O_CLOEXEC);
  arena.setU64(how + 16, BENEATH);
  return trySyscall('openat2', root, text, how, 24);
}

/** The parts of a name. One that begins with `/` names a place in the tree, as it will once the tree is the root. */
function partsOf(name: Buffer, where: string): Buffer[] {
  const parts: Buffer[] = [];
  for (let at = 0; at <= name.length; ) {
    const slash = name.indexOf(SLASH, at);
    const end = slash === -1 ? name.length : slash;
    const part = name.subarray(at, end);
    at = end + 1;
    if (part.length === 0 || (part.length === 1 && part[0] === DOT)) continue;
    if (part.length === 2 && part[0] === DOT && part[1] === DOT) invalid(`${where} leads out of the archive by ..`);
    parts.push(part);
  }
  return parts;
}

const joined = (parts: readonly Buffer[]): Buffer =>
  Buffer.concat(parts.flatMap((part, index) => (index === 0 ? [part] : [Buffer.from('/'), part])));

/** One and the same for all names of one place. */
export function placeOf(name: Buffer, where: string): string {
  return joined(partsOf(name, where)).toString('latin1');
}

export class Tree {
  /** The directory of the last member: that of the next one, as a rule. */
  private parent: { readonly path: Buffer; readonly fd: number } | undefined;
  /** What a directory gets once nothing is put into it any more. */
  private readonly later = new Map<string, { readonly path: Buffer } & Pick<Member, 'acls' | 'mtime'>>();

  constructor(
    private readonly root: number,
    private readonly memory: Memory,
  ) {}

  /** Puts a member in its place. For a file: the descriptor to write its data to, which `settle` wants next. */
  place(member: Member): number | undefined {
    const where = printable(member.name);
    const parts = partsOf(member.name, where);
    const name = parts.pop();
    if (name === undefined) {
      if (member.kind !== 'directory') invalid(`${where} takes the place of the root directory`);
      this.directory(this.root, parts, member);
      return undefined;
    }
    const dir = this.enter(parts, where);
    if (member.kind === 'directory') {
      this.makeDirectory(dir, name, where);
      const fd = openChild(dir, name, O.O_PATH | O.O_DIRECTORY);
      try {
        this.directory(fd, [...parts, name], member);
      } finally {
        close(fd);
      }
      return undefined;
    }
    return this.entry(dir, name, member, where);
  }

  /** Owner, mode, attributes and times, in the order in which none undoes the one before: a chown takes set-uid bits. */
  settle(fd: number, member: Member): void {
    chownat(fd, '', member.uid, member.gid);
    if (member.kind !== 'symlink') changeMode(fd, member.mode);
    for (const [name, value] of member.attributes) setAttribute(fd, name, value);
    for (const [name, value] of member.acls) if (value !== null) setAttribute(fd, name, value);
    changeTimes(fd, member.mtime);
  }

  /** Directories: what is made in one changes its times, and takes over its default ACL. */
  finish(): void {
    for (const { path, acls, mtime } of this.later.values()) {
      const fd = openBeneath(this.root, path, O.O_PATH | O.O_DIRECTORY);
      // A later member has taken its place.
      if (fd < 0) continue;
      try {
        for (const [name, value] of acls) if (value !== null) setAttribute(fd, name, value);
        changeTimes(fd, mtime);
      } finally {
        close(fd);
      }
    }
  }

  close(): void {
    this.leave();
  }

  private directory(fd: number, parts: readonly Buffer[], member: Member): void {
    chownat(fd, '', member.uid, member.gid);
    changeMode(fd, member.mode);
    for (const [name, value] of member.attributes) setAttribute(fd, name, value);
    const path = joined(parts);
    const { acls, mtime } = member;
    this.memory.keep([...acls.values()].reduce((sum, value) => sum + (value?.length ?? 0), path.length));
    this.later.set(path.toString('latin1'), { path, acls, mtime });
  }

  private entry(dir: number, name: Buffer, member: Member, where: string): number | undefined {
    this.makeRoom(dir, name, where);
    switch (member.kind) {
      case 'file': {
        const arena = scratch();
        const flags = O.O_WRONLY | O.O_CREAT | O.O_EXCL | O.O_NOFOLLOW | O.O_CLOEXEC;
        const fd = trySyscall('openat', dir, arena.cstring(name), flags, 0o600);
        if (fd < 0) throw new SyscallError('open', -fd, shown(name));
        return fd;
      }
      case 'link': {
        const target = openBeneath(this.root, joined(partsOf(member.link, `${where}, a link,`)), O.O_PATH);
        if (target < 0) invalid(`${where} is a link to ${printable(member.link)}, which is not there before it`);
        try {
          if ((statFd(target).mode & S_IFMT) === S_IFDIR) invalid(`${where} is a hard link to a directory`);
          linkFd(target, dir, name);
        } finally {
          close(target);
        }
        return undefined;
      }
      default: {
        const arena = scratch();
        const path = arena.cstring(name);
        const result =
          member.kind === 'symlink'
            ? trySyscall('symlinkat', arena.cstring(member.link), dir, path)
            : trySyscall('mknodat', dir, path, S_IFIFO | 0o600, 0);
        if (result < 0) throw new SyscallError(member.kind === 'symlink' ? 'symlink' : 'mknod', -result, shown(name));
        const fd = openChild(dir, name, O.O_PATH);
        try {
          this.settle(fd, member);
        } finally {
          close(fd);
        }
        return undefined;
      }
    }
  }

  /** The directory of a member; what is missing of it belongs to root. */
  private enter(parts: readonly Buffer[], where: string): number {
    const path = joined(parts);
    if (this.parent?.path.equals(path) === true) return this.parent.fd;
    this.leave();
    let fd = openBeneath(this.root, path, O.O_PATH | O.O_DIRECTORY);
    if (fd === ENOENT) {
      for (let length = 1; length <= parts.length; length++) {
        const above = this.opened(parts.slice(0, length - 1), where);
        try {
          const made = trySyscall('mkdirat', above, scratch().cstring(parts[length - 1] ?? ''), 0o755);
          if (made < 0 && made !== EEXIST) throw new SyscallError('mkdirat', -made, where);
        } finally {
          close(above);
        }
      }
      fd = this.opened(parts, where);
    }
    if (fd < 0) this.noWay(fd, where);
    this.parent = { path, fd };
    return fd;
  }

  private opened(parts: readonly Buffer[], where: string): number {
    const fd = openBeneath(this.root, joined(parts), O.O_PATH | O.O_DIRECTORY);
    return fd < 0 ? this.noWay(fd, where) : fd;
  }

  private noWay(errno: number, where: string): never {
    const cause = new SyscallError('openat2', -errno, where);
    invalid(`${where} lies behind a symlink, a file, or too long a path (${cause.errno})`, cause);
  }

  private leave(): void {
    if (this.parent !== undefined) close(this.parent.fd);
    this.parent = undefined;
  }

  private makeDirectory(dir: number, name: Buffer, where: string): void {
    let made = trySyscall('mkdirat', dir, scratch().cstring(name), 0o700);
    if (made === EEXIST) {
      const fd = openChild(dir, name, O.O_PATH);
      const type = statFd(fd).mode & S_IFMT;
      close(fd);
      if (type === S_IFDIR) return;
      this.makeRoom(dir, name, where);
      made = trySyscall('mkdirat', dir, scratch().cstring(name), 0o700);
    }
    if (made < 0) throw new SyscallError('mkdirat', -made, shown(name));
  }

  /** A later member of a name takes the place of an earlier one. */
  private makeRoom(dir: number, name: Buffer, where: string): void {
    const result = tryUnlink(dir, name, false);
    if (result === 0 || result === ENOENT) return;
    if (result !== EISDIR) throw new SyscallError('unlinkat', -result, shown(name));
    const removed = tryUnlink(dir, name, true);
    if (removed < 0)
      invalid(`${where} takes the place of a directory that is not empty`, new SyscallError('unlinkat', -removed));
  }
}

/** The root of a new tree. */
export function openTree(path: string): number {
  const fd = trySyscall('openat', AT.AT_FDCWD, scratch().cstring(path), O.O_PATH | O.O_DIRECTORY | O.O_CLOEXEC, 0);
  if (fd < 0) throw new SyscallError('open', -fd, path);
  return fd;
}
