/**
 * Moving bytes within the kernel: splice(2). A process that is killed at any instant leaves each byte at one end or at the
 * other: the call is done, or was not begun, as far as it says.
 */
import { IOCTL, O } from './abi/constants.js';
import { scratch } from './arena.js';
import { close, duplicate } from './fs.js';
import { laterSyscall, SyscallError, syscall, trySyscall } from './libc.js';

export interface Pipe {
  readonly read: number;
  readonly write: number;
}

const SPLICE_F_NONBLOCK = 2;
const EAGAIN = -11;
const EINTR = -4;
const SEEK_END = 2;
/** More threads than these are not to wait for a disk that hangs: libuv has four, and others need them, too. */
const MOST_WAITING = 2;

/** A pipe that does not block, with descriptors from `from` on. @throws SyscallError */
export function openPipe(from: number): Pipe {
  const arena = scratch();
  const ends = arena.alloc(8);
  const result = trySyscall('pipe2', ends, O.O_CLOEXEC | O.O_NONBLOCK);
  if (result < 0) throw new SyscallError('pipe2', -result);
  const low = [arena.getI32(ends), arena.getI32(ends + 4)] as const;
  try {
    const read = duplicate(low[0], from);
    try {
      return { read, write: duplicate(low[1], from) };
    } catch (error) {
      close(read);
      throw error;
    }
  } finally {
    for (const fd of low) close(fd);
  }
}

/** Moves up to `most` bytes without waiting for any; 0 when there are none, or no room. @throws SyscallError */
export function spliceNow(from: number, to: number, most: number): number {
  const moved = trySyscall('splice', from, 0, to, 0, most, SPLICE_F_NONBLOCK);
  if (moved === EAGAIN || moved === EINTR) return 0;
  if (moved < 0) throw new SyscallError('splice', -moved, `${from} to ${to}`);
  return moved;
}

let waiting = 0;
const queue: (() => void)[] = [];

/** The same, to a file at its position, on another thread: it may have to wait for the disk. @throws SyscallError */
export async function spliceToFile(pipe: number, file: number, most: number): Promise<number> {
  // Whoever is through hands its turn on.
  if (waiting >= MOST_WAITING) await new Promise<void>(resolve => queue.push(resolve));
  else waiting++;
  try {
    const moved = await laterSyscall('splice', pipe, 0, file, 0, most, SPLICE_F_NONBLOCK);
    if (moved === EAGAIN || moved === EINTR) return 0;
    if (moved < 0) throw new SyscallError('splice', -moved, 'to a file');
    return moved;
  } finally {
    const next = queue.shift();
    if (next === undefined) waiting--;
    else next();
  }
}

/** How many bytes are in a pipe. */
export function bytesIn(pipe: number): number {
  const arena = scratch();
  const count = arena.alloc(8);
  syscall('ioctl', pipe, IOCTL.FIONREAD, count);
  return arena.getI32(count);
}

/** From now on writing goes on at the end of the file; its size. */
export function seekEnd(file: number): number {
  return syscall('lseek', file, 0, SEEK_END);
}
