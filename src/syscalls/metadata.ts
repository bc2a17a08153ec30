/**
 * What a file has besides its content, set by descriptor. Also an O_PATH descriptor will do, of a symlink or a node too:
 * its entry in /proc/self/fd leads to that very file, and is followed no further.
 */
import { AT } from './abi/constants.js';
import { scratch } from './arena.js';
import { SyscallError, trySyscall } from './libc.js';

const ENODATA = -61;
const EOPNOTSUPP = -95;
/** Largest value of an attribute (XATTR_SIZE_MAX). */
const MAX_VALUE = 65536;

const pathOf = (fd: number): string => `/proc/self/fd/${fd}`;

export function changeMode(fd: number, mode: number): void {
  const result = trySyscall('fchmodat', AT.AT_FDCWD, scratch().cstring(pathOf(fd)), mode);
  if (result < 0) throw new SyscallError('chmod', -result, `fd ${fd}`);
}

/** Whole seconds since the epoch, which may be negative, and nanoseconds from there. */
export interface FileTime {
  readonly seconds: number;
  readonly nanoseconds: number;
}

/** Sets the times of last access and modification. */
export function changeTimes(fd: number, time: FileTime): void {
  const arena = scratch();
  const path = arena.cstring(pathOf(fd));
  const times = arena.alloc(32);
  for (const at of [times, times + 16]) {
    arena.setU64(at, time.seconds);
    arena.setU64(at + 8, time.nanoseconds);
  }
  const result = trySyscall('utimensat', AT.AT_FDCWD, path, times, 0);
  if (result < 0) throw new SyscallError('utimensat', -result, `fd ${fd}`);
}

export function setAttribute(fd: number, name: string, value: Uint8Array): void {
  const arena = scratch();
  const [path, key, bytes] = [arena.cstring(pathOf(fd)), arena.cstring(name), arena.copy(value)];
  const result = trySyscall('setxattr', path, key, bytes, value.length, 0);
  if (result < 0) throw new SyscallError('setxattr', -result, name);
}

/** An extended attribute's value; undefined when there is none, or the file system has no such attributes. */
export function attributeOf(fd: number, name: string): Buffer | undefined {
  const arena = scratch();
  const [path, key, buffer] = [arena.cstring(pathOf(fd)), arena.cstring(name), arena.alloc(MAX_VALUE)];
  const length = trySyscall('getxattr', path, key, buffer, MAX_VALUE);
  if (length === ENODATA || length === EOPNOTSUPP) return undefined;
  if (length < 0) throw new SyscallError('getxattr', -length, name);
  return Buffer.from(arena.slice(buffer, length));
}

/** One more name, in `dir`, for the file behind `fd`. */
export function linkFd(fd: number, dir: number, name: Uint8Array): void {
  const arena = scratch();
  const [empty, path] = [arena.cstring(''), arena.cstring(name)];
  const result = trySyscall('linkat', fd, empty, dir, path, AT.AT_EMPTY_PATH);
  if (result < 0) throw new SyscallError('linkat', -result, `fd ${fd}`);
}

export function truncate(fd: number, size: number): void {
  const result = trySyscall('ftruncate', fd, size);
  if (result < 0) throw new SyscallError('ftruncate', -result, `fd ${fd}`);
}

export function seek(fd: number, offset: number): void {
  const result = trySyscall('lseek', fd, offset, 0);
  if (result < 0) throw new SyscallError('lseek', -result, `fd ${fd}`);
}

/** Writes to the disk all that the file system behind `fd` has yet to write. */
export function syncFileSystem(fd: number): void {
  const result = trySyscall('syncfs', fd);
  if (result < 0) throw new SyscallError('syncfs', -result, `fd ${fd}`);
}
