/** What it takes to walk a tree by descriptors. Names are bytes: a payload need not keep to UTF-8. */
import { AT, O, RESOLVE } from './abi/constants.js';
import { scratch } from './arena.js';
import { SyscallError, trySyscall } from './libc.js';

export type Name = string | Uint8Array;

/** A name as it can be shown to people. */
export function shown(name: Name): string {
  return typeof name === 'string' ? name : Buffer.from(name).toString('utf8');
}

const CHUNK = 32 * 1024;
/** struct linux_dirent64: inode, offset, length of the record, type, name. */
const RECORD_LENGTH = 16;
const TYPE = 18;
const NAME = 19;
const DT_DIR = 4;

/**
 * What is in the directory behind `fd`, which was opened for reading, from where it stands; without `.` and `..`.
 * Read a piece at a time: a payload may have made millions.
 */
function* entriesIn(fd: number): Generator<{ name: Buffer; type: number | undefined }, void, void> {
  for (;;) {
    const arena = scratch();
    const buffer = arena.alloc(CHUNK);
    const length = trySyscall('getdents64', fd, buffer, CHUNK);
    if (length < 0) throw new SyscallError('getdents64', -length, `fd ${fd}`);
    if (length === 0) return;
    // A copy: whoever takes the names makes calls of his own.
    const chunk = Buffer.from(arena.slice(buffer, length));
    for (let at = 0; at < length; at += chunk.readUInt16LE(at + RECORD_LENGTH)) {
      const name = chunk.subarray(at + NAME, chunk.indexOf(0, at + NAME));
      if (!isDots(name)) yield { name, type: chunk[at + TYPE] };
    }
  }
}

export function* namesIn(fd: number): Generator<Buffer, void, void> {
  for (const { name } of entriesIn(fd)) yield name;
}

/** Names of directories, on a file system that tells the type of its entries (cgroups do). */
export function* directoriesIn(fd: number): Generator<Buffer, void, void> {
  for (const { name, type } of entriesIn(fd)) if (type === DT_DIR) yield name;
}

function isDots(name: Buffer): boolean {
  return name[0] === 0x2e && (name.length === 1 || (name.length === 2 && name[1] === 0x2e));
}

export function rewind(fd: number): void {
  const result = trySyscall('lseek', fd, 0, 0);
  if (result < 0) throw new SyscallError('lseek', -result, `fd ${fd}`);
}

/** Opens what `name` itself is, no link of any kind and nothing that is mounted there. One component only. */
export function openChild(dir: number, name: Name, flags: number): number {
  const arena = scratch();
  const path = arena.cstring(name);
  const how = arena.alloc(24);
  arena.setU64(how, flags | O.O_NOFOLLOW | O.O_CLOEXEC);
  arena.setU64(how + 16, RESOLVE.RESOLVE_BENEATH | RESOLVE.RESOLVE_NO_MAGICLINKS | RESOLVE.RESOLVE_NO_XDEV);
  const fd = trySyscall('openat2', dir, path, how, 24);
  if (fd < 0) throw new SyscallError('openat2', -fd, shown(name));
  return fd;
}

/** unlinkat(2); returns 0 or -errno, since what it says decides how to go on. */
export function tryUnlink(dir: number, name: Name, directory: boolean): number {
  return trySyscall('unlinkat', dir, scratch().cstring(name), directory ? AT.AT_REMOVEDIR : 0);
}

const RENAME_NOREPLACE = 1;

/** Moves an entry to a name that is not taken; false when it is. */
export function moveTo(dir: number, name: Name, toDir: number, toName: Name): boolean {
  const arena = scratch();
  const [from, to] = [arena.cstring(name), arena.cstring(toName)];
  const result = trySyscall('renameat2', dir, from, toDir, to, RENAME_NOREPLACE);
  if (result < 0 && result !== -17) throw new SyscallError('renameat2', -result, shown(name));
  return result === 0;
}

/** renameat2(2) within a directory: takes the place of what is there, without opening or following it. */
export function replace(dir: number, name: Name, by: Name): void {
  const arena = scratch();
  const [from, to] = [arena.cstring(name), arena.cstring(by)];
  const result = trySyscall('renameat2', dir, from, dir, to, 0);
  if (result < 0) throw new SyscallError('renameat2', -result, `${shown(name)} to ${shown(by)}`);
}

const FS_IOC_GETFLAGS = 0x80086601;
const FS_IOC_SETFLAGS = 0x40086602;
const FS_IMMUTABLE_FL = 0x10;
const FS_APPEND_FL = 0x20;

/** Takes `chattr +i` and `+a` off the file or directory behind `fd`; false when there was neither. */
export function makeMutable(fd: number): boolean {
  const arena = scratch();
  const flags = arena.alloc(8);
  if (trySyscall('ioctl', fd, FS_IOC_GETFLAGS, flags) < 0) return false;
  const old = arena.getU32(flags);
  if ((old & (FS_IMMUTABLE_FL | FS_APPEND_FL)) === 0) return false;
  arena.setU32(flags, old & ~(FS_IMMUTABLE_FL | FS_APPEND_FL));
  return trySyscall('ioctl', fd, FS_IOC_SETFLAGS, flags) === 0;
}
