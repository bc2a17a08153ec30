/** Socket pairs and descriptors sent over them (unix(7), SCM_RIGHTS). */
import { O } from './abi/constants.js';
import { type Arena, scratch } from './arena.js';
import { SyscallError, trySyscall } from './libc.js';

const AF_UNIX = 1;
const SOCK_SEQPACKET = 5;
const SOL_SOCKET = 1;
const SCM_RIGHTS = 1;
export const MSG_NOSIGNAL = 0x4000;
export const MSG_CMSG_CLOEXEC = 0x40000000;

export function socketpair(): [number, number] {
  const arena = scratch();
  const pair = arena.alloc(8);
  const result = trySyscall('socketpair', AF_UNIX, SOCK_SEQPACKET | O.O_CLOEXEC, 0, pair);
  if (result < 0) throw new SyscallError('socketpair', -result);
  return [arena.getI32(pair), arena.getI32(pair + 4)];
}

/** Bytes of a control message with `count` descriptors, padded as CMSG_SPACE does. */
export function rightsSpace(count: number): number {
  return (16 + 4 * count + 7) & ~7;
}

/** struct msghdr of one byte and, with it, copies of `fds`. */
export function rightsMessage(arena: Arena, fds: readonly number[]): number {
  const byte = arena.alloc(8);
  const iov = arena.alloc(16);
  arena.setU64(iov, byte);
  arena.setU64(iov + 8, 1);
  const header = arena.alloc(56);
  arena.setU64(header + 16, iov);
  arena.setU64(header + 24, 1);
  if (fds.length > 0) {
    const length = 16 + 4 * fds.length;
    const control = arena.alloc(rightsSpace(fds.length));
    arena.setU64(control, length);
    arena.setU32(control + 8, SOL_SOCKET);
    arena.setU32(control + 12, SCM_RIGHTS);
    fds.forEach((fd, index) => {
      arena.setU32(control + 16 + 4 * index, fd);
    });
    arena.setU64(header + 32, control);
    arena.setU64(header + 40, length);
  }
  return header;
}

/** Where the only descriptor of such a message is; there is room for 64 bits. */
export function descriptorAt(arena: Arena, message: number): number {
  return arena.getI64(message + 32) + 16;
}

/** Sends one byte and, with it, copies of `fds`. */
export function sendDescriptors(socket: number, fds: readonly number[]): void {
  const result = trySyscall('sendmsg', socket, rightsMessage(scratch(), fds), MSG_NOSIGNAL);
  if (result < 0) throw new SyscallError('sendmsg', -result, `${fds.length} descriptors`);
}

/** The up to `most` descriptors of the oldest message, without waiting: none when there is no message. */
export function receiveDescriptors(socket: number, most: number): number[] {
  const arena = scratch();
  const byte = arena.alloc(8);
  const iov = arena.alloc(16);
  arena.setU64(iov, byte);
  arena.setU64(iov + 8, 1);
  const control = arena.alloc(rightsSpace(most));
  const header = arena.alloc(56);
  arena.setU64(header + 16, iov);
  arena.setU64(header + 24, 1);
  arena.setU64(header + 32, control);
  arena.setU64(header + 40, rightsSpace(most));
  const result = trySyscall('recvmsg', socket, header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (result <= 0 || arena.getI64(header + 40) < 16) return [];
  const count = (arena.getI64(control) - 16) / 4;
  return Array.from({ length: count }, (_, index) => arena.getI32(control + 16 + 4 * index));
}

const MSG_DONTWAIT = 0x40;
const ECONNRESET = -104;

/** What came over a socket pair, without waiting: 1 for a byte, 0 at end of file, or -errno. */
export function receiveByte(socket: number): number {
  const buffer = scratch().alloc(8);
  const result = trySyscall('recvfrom', socket, buffer, 8, MSG_DONTWAIT, 0, 0);
  // A peer that dies with unread messages resets the connection; what it sent before is still there.
  return result === ECONNRESET ? trySyscall('recvfrom', socket, buffer, 8, MSG_DONTWAIT, 0, 0) : result;
}
