/** Reading and writing non-blocking descriptors on the event loop's thread. */
import { Arena } from './arena.js';
import { SyscallError, trySyscall } from './libc.js';

const SIZE = 64 * 1024;
const EAGAIN = -11;
const EINTR = -4;
const EIO = -5;

let memory: Arena | undefined;

/** One read(2). `undefined`: nothing to read now. `null`: end of file, or (EIO) the other side of a pty is gone. */
export function readNow(fd: number): Buffer | undefined | null {
  memory ??= Arena.map(SIZE);
  const length = trySyscall('read', fd, memory.address, SIZE);
  if (length === EAGAIN || length === EINTR) return undefined;
  if (length === 0 || length === EIO) return null;
  if (length < 0) throw new SyscallError('read', -length, `fd ${fd}`);
  // A copy: the next read reuses the memory.
  return Buffer.from(memory.bytes.subarray(0, length));
}

/** One write(2) of as much of `data` as fits; returns the bytes taken, 0 when the descriptor is full. */
export function writeNow(fd: number, data: Uint8Array): number {
  memory ??= Arena.map(SIZE);
  const length = Math.min(data.length, SIZE);
  memory.bytes.set(data.subarray(0, length));
  const written = trySyscall('write', fd, memory.address, length);
  if (written === EAGAIN || written === EINTR) return 0;
  if (written < 0) throw new SyscallError('write', -written, `fd ${fd}`);
  return written;
}

/** Bytes of a file that were just written, and so are in memory; fewer at its end. */
export function readBack(fd: number, offset: number, length: number): Buffer {
  memory ??= Arena.map(SIZE);
  const parts: Buffer[] = [];
  for (let done = 0; done < length; ) {
    const got = trySyscall('pread64', fd, memory.address, Math.min(SIZE, length - done), offset + done);
    if (got < 0) throw new SyscallError('pread', -got, `fd ${fd}`);
    if (got === 0) break;
    parts.push(Buffer.from(memory.bytes.subarray(0, got)));
    done += got;
  }
  return parts.length === 1 ? (parts[0] ?? Buffer.alloc(0)) : Buffer.concat(parts);
}
