/** Files by descriptor: small synchronous calls for worker threads. Never on the main thread's start path. */
import { errnoName } from '../spec/errno.js';
import { AT, O, S_IFMT } from './abi/constants.js';
import { scratch } from './arena.js';
import { SyscallError, syscall, trySyscall, type Word } from './libc.js';

/** openat(2); CLOEXEC always. */
export function openat(dir: number, path: string, flags: number, mode = 0): number {
  const fd = trySyscall('openat', dir, scratch().cstring(path), flags | O.O_CLOEXEC, mode);
  if (fd < 0) throw new SyscallError('open', -fd, path);
  return fd;
}

const EAGAIN = -11;
/** A path with `..` is refused while anything on the machine is renamed or mounted; each try takes microseconds. */
const TRIES = 1000;

/** openat2(2) with RESOLVE_ flags: the only way to open something inside a tree that is not ours. */
export function openat2(dir: number, path: string, flags: number, resolve: number): number {
  const arena = scratch();
  const text = arena.cstring(path);
  const how = arena.alloc(24);
  arena.setU64(how, flags | O.O_CLOEXEC);
  arena.setU64(how + 16, resolve);
  let fd = trySyscall('openat2', dir, text, how, 24);
  for (let again = 0; fd === EAGAIN && again < TRIES; again++) fd = trySyscall('openat2', dir, text, how, 24);
  if (fd < 0) throw new SyscallError('openat2', -fd, path);
  return fd;
}

export function close(fd: number): void {
  syscall('close', fd);
}

const F_DUPFD_CLOEXEC = 1030;

/** A copy of `fd` with the lowest free number from `from` on; close-on-exec. */
export function duplicate(fd: number, from: number): number {
  const copy = trySyscall('fcntl', fd, F_DUPFD_CLOEXEC, from);
  if (copy < 0) throw new SyscallError('fcntl', -copy, `F_DUPFD_CLOEXEC ${fd} from ${from}`);
  return copy;
}

/** One write(2) of a whole small text, as cgroup and proc files want it. */
export function writeFd(fd: number, text: string, operands: string): void {
  const arena = scratch();
  const bytes = Buffer.from(text);
  const written = trySyscall('write', fd, arena.copy(bytes), bytes.length);
  if (written < 0) throw new SyscallError('write', -written, operands);
}

/** Writes all of `bytes`, however many calls that takes. */
export function writeAll(fd: number, bytes: Uint8Array, operands: string): void {
  const most = 128 * 1024;
  for (let done = 0; done < bytes.length; ) {
    const part = bytes.subarray(done, done + most);
    const written = trySyscall('write', fd, scratch().copy(part), part.length);
    if (written < 0) throw new SyscallError('write', -written, operands);
    done += written;
  }
}

export function writeFile(path: string, text: string): void {
  const fd = openat(AT.AT_FDCWD, path, O.O_WRONLY);
  try {
    writeFd(fd, text, `${path} <- ${text}`);
  } finally {
    close(fd);
  }
}

/** Reads up to 64 KiB of a file: for the kernel's own files, whose size is not known before. */
export function readFile(path: string): string {
  const fd = openat(AT.AT_FDCWD, path, O.O_RDONLY);
  try {
    const arena = scratch();
    const size = 65536;
    const buffer = arena.alloc(size);
    let total = 0;
    while (total < size) {
      const got = trySyscall('read', fd, buffer + total, size - total);
      if (got < 0) throw new SyscallError('read', -got, path);
      if (got === 0) break;
      total += got;
    }
    return arena.slice(buffer, total).toString('utf8');
  } finally {
    close(fd);
  }
}

const SMALL = 64 * 1024;
/** A file of one record comes with one read; one of many comes in pages. */
const ONE_RECORD = 2048;

/** What is not there, or not told: PSI that is off (EOPNOTSUPP), a process or a cgroup that has just ended. */
const NOT_TOLD = new Set(['ENOENT', 'ENODEV', 'EOPNOTSUPP', 'ESRCH', 'EINVAL']);

/** The first 64 KiB of a small file of the kernel's below `dir`, in as few calls as can be; null where it tells nothing. */
export function readSmall(dir: number, path: string): string | null {
  const arena = scratch();
  const fd = trySyscall('openat', dir, arena.cstring(path), O.O_CLOEXEC);
  // Not `alloc`: that would clear it, which takes longer than the read.
  const start = arena.used;
  const buffer = arena.address + start;
  let total = 0;
  let got = fd;
  while (got >= 0) {
    got = trySyscall('read', fd, buffer + total, SMALL - total);
    if (got > 0) total += got;
    if (got < ONE_RECORD || total === SMALL) break;
  }
  if (fd >= 0) trySyscall('close', fd);
  if (got >= 0) return arena.bytes.toString('latin1', start, start + total);
  if (NOT_TOLD.has(errnoName(-got))) return null;
  throw new SyscallError(fd < 0 ? 'open' : 'read', -got, path);
}

function at(name: 'mkdirat' | 'unlinkat', dir: number, path: string, last: number): void {
  const result = trySyscall(name, dir, scratch().cstring(path), last);
  if (result < 0) throw new SyscallError(name, -result, path);
}

export function mkdirat(dir: number, path: string, mode: number): void {
  at('mkdirat', dir, path, mode);
}

export function rmdir(path: string): void {
  at('unlinkat', AT.AT_FDCWD, path, AT.AT_REMOVEDIR);
}

export function unlink(path: string): void {
  at('unlinkat', AT.AT_FDCWD, path, 0);
}

/** Linux' makedev: 12 bits of major, 20 of minor, spread as in the kernel's new_encode_dev. */
export function deviceNumber(major: number, minor: number): number {
  return (minor & 0xff) | (major << 8) | ((minor & ~0xff) << 12);
}

export function mknodat(dir: number, path: string, mode: number, device: number): void {
  const result = trySyscall('mknodat', dir, scratch().cstring(path), mode, device);
  if (result < 0) throw new SyscallError('mknod', -result, path);
}

export function symlinkat(target: string, dir: number, path: string): void {
  const arena = scratch();
  const result = trySyscall('symlinkat', arena.cstring(target), dir, arena.cstring(path));
  if (result < 0) throw new SyscallError('symlink', -result, `${path} -> ${target}`);
}

/** Never follows a symlink; an empty path means `dir` itself. */
export function chownat(dir: number, path: string, uid: number, gid: number): void {
  const flags = AT.AT_SYMLINK_NOFOLLOW | (path === '' ? AT.AT_EMPTY_PATH : 0);
  const result = trySyscall('fchownat', dir, scratch().cstring(path), uid, gid, flags);
  if (result < 0) throw new SyscallError('chown', -result, path);
}

export interface Stat {
  readonly mode: number;
  /** Names that it has; 0: it has been removed. */
  readonly links: number;
  readonly uid: number;
  readonly gid: number;
  readonly size: number;
  readonly mountId: Word;
}

const STATX_BASIC_AND_MNT_ID = 0x7ff | 0x1000;

/** statx(2) of a descriptor. */
export function statFd(fd: number): Stat {
  const arena = scratch();
  const buffer = arena.alloc(256);
  const result = trySyscall('statx', fd, arena.cstring(''), AT.AT_EMPTY_PATH, STATX_BASIC_AND_MNT_ID, buffer);
  if (result < 0) throw new SyscallError('statx', -result, `fd ${fd}`);
  return {
    links: arena.getU32(buffer + 16),
    uid: arena.getU32(buffer + 20),
    gid: arena.getU32(buffer + 24),
    mode: arena.getU32(buffer + 28) & 0xffff,
    size: arena.getI64(buffer + 40),
    mountId: arena.getI64(buffer + 144),
  };
}

const STATX_TYPE = 1;

/** S_IFMT bits, which never change: no file server is asked for them, and so none can keep us waiting. */
export function fileType(fd: number): number {
  const arena = scratch();
  const buffer = arena.alloc(256);
  const flags = AT.AT_EMPTY_PATH | AT.AT_STATX_DONT_SYNC;
  const result = trySyscall('statx', fd, arena.cstring(''), flags, STATX_TYPE, buffer);
  if (result < 0) throw new SyscallError('statx', -result, `fd ${fd}`);
  return arena.getU32(buffer + 28) & S_IFMT;
}

const STATX_ATTR_MOUNT_ROOT = 0x2000;

/** True when `fd` is the root of a mount (Linux 5.8). */
export function isMountRoot(fd: number): boolean {
  const arena = scratch();
  const buffer = arena.alloc(256);
  const result = trySyscall('statx', fd, arena.cstring(''), AT.AT_EMPTY_PATH, 0, buffer);
  if (result < 0) throw new SyscallError('statx', -result, `fd ${fd}`);
  return (arena.getI64(buffer + 8) & STATX_ATTR_MOUNT_ROOT) !== 0;
}

/** A directory's own `.` and `..` take 24 bytes each in getdents64(2); anything more is an entry. */
const ONLY_DOTS = 48;

/** True when the directory behind `fd`, opened for reading and not yet read, holds nothing. */
export function isEmptyDirectory(fd: number): boolean {
  const size = 1024;
  const length = trySyscall('getdents64', fd, scratch().alloc(size), size);
  if (length < 0) throw new SyscallError('getdents64', -length, `fd ${fd}`);
  return length <= ONLY_DOTS;
}

/** What file system `fd` is on, by its magic number (linux/magic.h). */
export function fileSystemOf(fd: number): number {
  const arena = scratch();
  const buffer = arena.alloc(120);
  const result = trySyscall('fstatfs', fd, buffer);
  if (result < 0) throw new SyscallError('fstatfs', -result, `fd ${fd}`);
  return arena.getI64(buffer);
}

/** pipe(7); both ends close-on-exec. */
export function pipe(): { read: number; write: number } {
  const arena = scratch();
  const ends = arena.alloc(8);
  const result = trySyscall('pipe2', ends, O.O_CLOEXEC);
  if (result < 0) throw new SyscallError('pipe2', -result);
  return { read: arena.getI32(ends), write: arena.getI32(ends + 4) };
}

const ST_NOEXEC = 8;

/** True when the mount that `fd` is on does not allow execution. */
export function isNoexec(fd: number): boolean {
  const arena = scratch();
  const buffer = arena.alloc(120);
  const result = trySyscall('fstatfs', fd, buffer);
  if (result < 0) throw new SyscallError('fstatfs', -result, `fd ${fd}`);
  return (arena.getI64(buffer + 80) & ST_NOEXEC) !== 0;
}

/** Up to `length` bytes of a file from `offset` on; fewer at its end. At most 128 KiB. */
export function readAt(fd: number, offset: number, length: number): Buffer {
  const position = trySyscall('lseek', fd, offset, 0);
  if (position < 0) throw new SyscallError('lseek', -position, `fd ${fd}`);
  const arena = scratch();
  const buffer = arena.alloc(length);
  const got = trySyscall('read', fd, buffer, length);
  if (got < 0) throw new SyscallError('read', -got, `fd ${fd}`);
  // A copy: the next call reuses the memory.
  return Buffer.from(arena.slice(buffer, got));
}

/** readlink(2) of an O_PATH descriptor that was opened on the link itself. */
export function readLinkFd(fd: number): string {
  const arena = scratch();
  const buffer = arena.alloc(4096);
  const length = trySyscall('readlinkat', fd, arena.cstring(''), buffer, 4096);
  if (length < 0) throw new SyscallError('readlink', -length, `fd ${fd}`);
  return arena.slice(buffer, length).toString('utf8');
}
