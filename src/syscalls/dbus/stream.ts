/** A stream socket to a path (unix(7)) with blocking calls, each within a time limit that the kernel keeps. */
import { scratch } from '../arena.js';
import { SyscallError, trySyscall } from '../libc.js';

const AF_UNIX = 1;
const SOCK_STREAM_CLOEXEC = 1 | 0o2000000;
const SOL_SOCKET = 1;
const SO_RCVTIMEO = 20;
const SO_SNDTIMEO = 21;
const MSG_NOSIGNAL = 0x4000;
/** sun_path, with its NUL. */
const MAX_PATH = 108;
const CHUNK = 64 * 1024;
const EINTR = -4;
const EAGAIN = -11;
const ETIMEDOUT = 110;

/** @param deadline in ms, of performance.now(). @throws SyscallError ETIMEDOUT */
function limit(fd: number, option: number, deadline: number, what: string): void {
  const left = deadline - performance.now();
  if (left <= 0) throw new SyscallError(what, ETIMEDOUT);
  const arena = scratch();
  const time = arena.alloc(16);
  arena.setU64(time, Math.floor(left / 1000));
  // 0 would be no limit at all.
  arena.setU64(time + 8, Math.max(1, Math.floor((left % 1000) * 1000)));
  const result = trySyscall('setsockopt', fd, SOL_SOCKET, option, time, 16);
  if (result < 0) throw new SyscallError('setsockopt', -result);
}

/** @throws SyscallError ENOENT, ECONNREFUSED, ETIMEDOUT … */
export function connectTo(path: string, deadline: number): number {
  const bytes = Buffer.from(path);
  if (bytes.length >= MAX_PATH) throw new SyscallError('connect', 36, path);
  const fd = trySyscall('socket', AF_UNIX, SOCK_STREAM_CLOEXEC, 0);
  if (fd < 0) throw new SyscallError('socket', -fd);
  try {
    limit(fd, SO_SNDTIMEO, deadline, 'connect');
    const arena = scratch();
    const address = arena.alloc(2 + MAX_PATH);
    arena.slice(address, 2).writeUInt16LE(AF_UNIX);
    arena.slice(address + 2, MAX_PATH).set(bytes);
    const result = trySyscall('connect', fd, address, 2 + bytes.length + 1);
    if (result === EAGAIN) throw new SyscallError('connect', ETIMEDOUT, path);
    if (result < 0) throw new SyscallError('connect', -result, path);
    return fd;
  } catch (error) {
    trySyscall('close', fd);
    throw error;
  }
}

/** Sends all of `bytes`. */
export function sendAll(fd: number, bytes: Uint8Array, deadline: number): void {
  for (let sent = 0; sent < bytes.length; ) {
    limit(fd, SO_SNDTIMEO, deadline, 'send');
    const part = bytes.subarray(sent, sent + CHUNK);
    const result = trySyscall('sendto', fd, scratch().copy(part), part.length, MSG_NOSIGNAL, 0, 0);
    if (result === EAGAIN) throw new SyscallError('send', ETIMEDOUT);
    if (result < 0 && result !== EINTR) throw new SyscallError('send', -result);
    sent += Math.max(0, result);
  }
}

/** What has come in, at least one byte; an empty buffer at the end of the stream. */
export function receiveSome(fd: number, deadline: number): Buffer {
  for (;;) {
    limit(fd, SO_RCVTIMEO, deadline, 'recv');
    const arena = scratch();
    const buffer = arena.alloc(CHUNK);
    const result = trySyscall('recvfrom', fd, buffer, CHUNK, 0, 0, 0);
    if (result === EINTR) continue;
    if (result === EAGAIN) throw new SyscallError('recv', ETIMEDOUT);
    if (result < 0) throw new SyscallError('recv', -result);
    // A copy: the next call reuses the memory.
    return Buffer.from(arena.slice(buffer, result));
  }
}
