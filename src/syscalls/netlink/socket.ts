/**
 * A NETLINK_ROUTE socket with blocking calls, for worker threads: netlink(7), socket(7), setns(2).
 *
 * A change is made within sendto(2), by the calling thread, before the acknowledgement is even written: the time
 * limit (SO_RCVTIMEO) bounds the waiting for answers, while sendto itself may wait for the kernel's rtnl lock,
 * which has no limit that a caller could set.
 */

import { ERRNO } from '../../spec/errno.js';
import { CaissonError } from '../../spec/errors.js';
import { Arena, scratch } from '../arena.js';
import { SyscallError, syscall, trySyscall } from '../libc.js';
import { NetlinkFormatError } from './codec.js';
import { AF } from './constants.js';
import type { Transport } from './exchange.js';
import { checkInteger } from './input.js';

// linux/socket.h, asm-generic/socket.h, linux/netlink.h, linux/sched.h, asm-generic/fcntl.h.
const SOCK_RAW = 3;
const CLOEXEC = 0o2000000;
const NETLINK_ROUTE = 0;
const SOL_SOCKET = 1;
const SO_RCVTIMEO = 20;
const SOL_NETLINK = 270;
const NETLINK_CAP_ACK = 10;
const NETLINK_EXT_ACK = 11;
const NETLINK_GET_STRICT_CHK = 12;
const MSG_TRUNC = 0x20;
const CLONE_NEWNET = 0x40000000;
const AT_FDCWD = -100;
const SOCKADDR_NL_SIZE = 12;

/** The kernel builds the parts of a dump in up to 32 KiB (netlink_dump). */
const BUFFER_SIZE = 64 * 1024;
const DEFAULT_TIMEOUT_MS = 5000;

/** One for all sockets of a thread: calls are synchronous, and what came in is copied out at once. */
let buffer: Arena | undefined;
const receiveBuffer = (): Arena => {
  buffer ??= Arena.map(BUFFER_SIZE);
  return buffer;
};

export interface SocketOptions {
  /** How long to wait for one datagram, in ms; default 5000. */
  readonly timeoutMs?: number | undefined;
}

/**
 * The thread could not go back to its own net namespace: whatever it does from now on it does in another one.
 * The thread must end; nothing may be retried on it.
 */
export class ThreadLostError extends CaissonError {
  constructor(cause: unknown) {
    const hint = 'end this worker thread: it is stuck in the net namespace of a container';
    super('INTERNAL', 'netlink: cannot return to the own net namespace', { cause, hint });
    this.name = 'ThreadLostError';
  }
}

export class NetlinkSocket implements Transport {
  private constructor(
    private fd: number,
    private readonly timeoutMs: number,
  ) {}

  /** A socket in the thread's net namespace. Throws SyscallError. */
  static open({ timeoutMs = DEFAULT_TIMEOUT_MS }: SocketOptions = {}): NetlinkSocket {
    checkInteger(timeoutMs, 'timeoutMs', 1, 0x7fff_ffff);
    const fd = syscall('socket', AF.NETLINK, SOCK_RAW | CLOEXEC, NETLINK_ROUTE);
    try {
      configure(fd, timeoutMs);
      return new NetlinkSocket(fd, timeoutMs);
    } catch (error) {
      trySyscall('close', fd);
      throw error;
    }
  }

  /**
   * A socket in the net namespace that `netnsFd` is open on; it stays there for life while the thread comes back.
   * For worker threads only: between the two setns(2) calls this thread is in the other namespace, and if the
   * way back fails (ThreadLostError) it has to be thrown away, which the main thread cannot be. Other threads are
   * not affected. Needs CAP_SYS_ADMIN over that namespace and in the own one.
   */
  static openIn(netnsFd: number, options: SocketOptions = {}): NetlinkSocket {
    checkInteger(netnsFd, 'netnsFd', 0, 0x7fff_ffff);
    // /proc/self would be the main thread's namespace.
    const path = scratch().cstring('/proc/thread-self/ns/net');
    const home = syscall('openat', AT_FDCWD, path, CLOEXEC);
    try {
      syscall('setns', netnsFd, CLONE_NEWNET);
      let socket: NetlinkSocket | undefined;
      try {
        socket = NetlinkSocket.open(options);
        return socket;
      } finally {
        goHome(home, socket);
      }
    } finally {
      trySyscall('close', home);
    }
  }

  send(message: Buffer): void {
    const address = scratch().copy(message);
    retry(() => trySyscall('sendto', this.openFd(), address, message.length, 0, 0, 0), 'sendto');
  }

  receive(): Buffer {
    const arena = receiveBuffer();
    const call = () => trySyscall('recvfrom', this.openFd(), arena.address, BUFFER_SIZE, MSG_TRUNC, 0, 0);
    const length = retry(call, 'recvfrom', this.timeoutMs);
    // With MSG_TRUNC the result is how long the datagram was, whatever of it fitted.
    if (length > BUFFER_SIZE) throw new NetlinkFormatError(`datagram of ${length} bytes, more than ${BUFFER_SIZE}`);
    return Buffer.from(arena.slice(arena.address, length));
  }

  /** Closes it; once more does nothing. Every other call then throws CLOSED. */
  close(): void {
    if (this.fd === -1) return;
    const { fd } = this;
    this.fd = -1;
    trySyscall('close', fd);
  }

  [Symbol.dispose](): void {
    this.close();
  }

  private openFd(): number {
    if (this.fd === -1) throw new CaissonError('CLOSED', 'netlink: the socket is closed');
    return this.fd;
  }
}

function configure(fd: number, timeoutMs: number): void {
  const arena = scratch();
  // struct timeval of two 64-bit words.
  const timeval = arena.alloc(16);
  arena.setU64(timeval, Math.floor(timeoutMs / 1000));
  arena.setU64(timeval + 8, (timeoutMs % 1000) * 1000);
  syscall('setsockopt', fd, SOL_SOCKET, SO_RCVTIMEO, timeval, 16);
  const one = arena.alloc(4);
  arena.setU32(one, 1);
  // Refusals with words, without repeating the request; filters of dumps obeyed instead of ignored (4.20+).
  for (const option of [NETLINK_EXT_ACK, NETLINK_CAP_ACK, NETLINK_GET_STRICT_CHK]) {
    syscall('setsockopt', fd, SOL_NETLINK, option, one, 4);
  }
  // Connected to the kernel (port 0) the socket takes messages from nobody else. In a container's namespace its
  // root may otherwise send us forged answers, having CAP_NET_ADMIN there.
  const address = arena.alloc(SOCKADDR_NL_SIZE);
  arena.setU32(address, AF.NETLINK);
  syscall('connect', fd, address, SOCKADDR_NL_SIZE);
}

/** Back to the namespace `home`; if that fails nobody may use the socket any more. */
function goHome(home: number, socket: NetlinkSocket | undefined): void {
  const result = trySyscall('setns', home, CLONE_NEWNET);
  if (result >= 0) return;
  socket?.close();
  throw new ThreadLostError(new SyscallError('setns', -result, 'CLONE_NEWNET'));
}

/** Repeats an interrupted call. EAGAIN is the time limit. */
function retry(call: () => number, name: string, timeoutMs = 0): number {
  for (;;) {
    const result = call();
    if (result >= 0) return result;
    if (result === -ERRNO.EAGAIN && timeoutMs > 0) {
      throw new CaissonError('TIMEOUT', `netlink: no answer from the kernel in ${timeoutMs} ms`, { errno: 'EAGAIN' });
    }
    if (result !== -ERRNO.EINTR) throw new SyscallError(name, -result, 'AF_NETLINK');
  }
}
