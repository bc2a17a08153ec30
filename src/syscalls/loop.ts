/** Block devices that show a regular file (loop(4)), by the calls of Linux 5.8. */
import { AT, IOCTL, O } from './abi/constants.js';
import { scratch } from './arena.js';
import { close, openat } from './fs.js';
import { SyscallError, trySyscall, type Word } from './libc.js';

/** struct loop_info64 and, around it, struct loop_config (linux/loop.h). */
const INFO = { size: 232, device: 0, inode: 8, offset: 24, limit: 32, flags: 52, fileName: 56 } as const;
const CONFIG = { size: 304, file: 0, info: 8 } as const;
/** Bytes of lo_file_name, less its NUL. */
const FILE_NAME = 63;
const LO_FLAGS_READ_ONLY = 1;
const LO_FLAGS_AUTOCLEAR = 4;

/** A file by device and inode: the same by whatever path it was opened. */
export interface FileId {
  readonly device: number;
  readonly inode: Word;
}

export interface LoopStatus extends FileId {
  readonly whole: boolean;
  readonly readOnly: boolean;
  readonly autoclear: boolean;
  /** What whoever set it up has called it. */
  readonly name: string;
}

const STATX_INO = 0x100;

export function fileId(fd: number): FileId {
  const arena = scratch();
  const buffer = arena.alloc(256);
  const result = trySyscall('statx', fd, arena.cstring(''), AT.AT_EMPTY_PATH, STATX_INO, buffer);
  if (result < 0) throw new SyscallError('statx', -result, `fd ${fd}`);
  const [major, minor] = [arena.getU32(buffer + 136), arena.getU32(buffer + 140)];
  // As the kernel's huge_encode_dev has it in lo_device.
  return { device: ((minor & 0xff) | (major << 8) | ((minor & ~0xff) << 12)) >>> 0, inode: arena.getI64(buffer + 32) };
}

export const loopPath = (number: number): string => `/dev/loop${number}`;

export function openLoop(number: number, writable: boolean): number {
  return openat(AT.AT_FDCWD, loopPath(number), (writable ? O.O_RDWR : O.O_RDONLY) | O.O_NONBLOCK);
}

/** The number of a device that nothing is attached to at this moment; the kernel makes one when there is none. */
export function freeLoop(): number {
  const control = openat(AT.AT_FDCWD, '/dev/loop-control', O.O_RDWR);
  try {
    const number = trySyscall('ioctl', control, IOCTL.LOOP_CTL_GET_FREE, 0);
    if (number < 0) throw new SyscallError('ioctl', -number, 'LOOP_CTL_GET_FREE');
    return number;
  } finally {
    close(control);
  }
}

/** Attaches `file` to the device; it is detached when the last who has the device open, or mounted, lets go of it. */
export function configureLoop(
  device: number,
  file: number,
  options: { readonly readOnly: boolean; readonly name: string },
): void {
  const arena = scratch();
  const config = arena.alloc(CONFIG.size);
  arena.setU32(config + CONFIG.file, file);
  arena.setU32(config + CONFIG.info + INFO.flags, LO_FLAGS_AUTOCLEAR | (options.readOnly ? LO_FLAGS_READ_ONLY : 0));
  const name = Buffer.from(options.name).subarray(0, FILE_NAME);
  name.copy(arena.slice(config + CONFIG.info + INFO.fileName, FILE_NAME));
  const result = trySyscall('ioctl', device, IOCTL.LOOP_CONFIGURE, config);
  if (result < 0) throw new SyscallError('ioctl', -result, 'LOOP_CONFIGURE');
}

/** What the device shows; undefined when nothing is attached to it. */
export function loopStatus(device: number): LoopStatus | undefined {
  const arena = scratch();
  const info = arena.alloc(INFO.size);
  const result = trySyscall('ioctl', device, IOCTL.LOOP_GET_STATUS64, info);
  if (result < 0) {
    const error = new SyscallError('ioctl', -result, 'LOOP_GET_STATUS64');
    if (error.errno === 'ENXIO') return undefined;
    throw error;
  }
  const flags = arena.getU32(info + INFO.flags);
  const name = arena.slice(info + INFO.fileName, FILE_NAME);
  const end = name.indexOf(0);
  return {
    device: arena.getI64(info + INFO.device),
    inode: arena.getI64(info + INFO.inode),
    whole: arena.getI64(info + INFO.offset) === 0 && arena.getI64(info + INFO.limit) === 0,
    readOnly: (flags & LO_FLAGS_READ_ONLY) !== 0,
    autoclear: (flags & LO_FLAGS_AUTOCLEAR) !== 0,
    name: name.toString('utf8', 0, end === -1 ? FILE_NAME : end),
  };
}

const LOCK_SH = 1;
const LOCK_EX = 2;
const LOCK_NB = 4;

/** flock(2) without waiting: false when somebody else's lock forbids it. It is held by the open file, not by us. */
export function tryLock(file: number, exclusive: boolean): boolean {
  const result = trySyscall('flock', file, (exclusive ? LOCK_EX : LOCK_SH) | LOCK_NB);
  if (result >= 0) return true;
  const error = new SyscallError('flock', -result, `fd ${file}`);
  if (error.errno === 'EAGAIN') return false;
  throw error;
}
