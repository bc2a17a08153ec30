/** Unix datagram sockets (unix(7)) that tell who sent what: Node's core has none. */
import { O } from './abi/constants.js';
import { Arena, scratch } from './arena.js';
import { chownat, close } from './fs.js';
import type { Entry } from './launcher/program.js';
import { NR, SyscallError, trySyscall } from './libc.js';

const AF_UNIX = 1;
const SOCK_DGRAM = 2;
const SOL_SOCKET = 1;
const SO_PASSCRED = 16;
const SO_PASSRIGHTS = 83;
const ENOPROTOOPT = 92;
const SCM_CREDENTIALS = 2;
/** sun_path of struct sockaddr_un. */
const PATH_SIZE = 108;

const MSG_PEEK = 0x2;
const MSG_CTRUNC = 0x8;
const MSG_TRUNC = 0x20;
const MSG_DONTWAIT = 0x40;
const EAGAIN = 11;
const EINTR = 4;

export interface SocketOwner {
  readonly uid: number;
  readonly gid: number;
  readonly mode: number;
  /** `refused`: who sends one gets EPERM (Linux 6.16; before that they are taken all the same). Default `taken`. */
  readonly descriptors?: 'taken' | 'refused';
}

/** struct sockaddr_un of `path`. @throws RangeError */
export function addressOf(arena: Arena, path: string): { readonly address: number; readonly size: number } {
  if (Buffer.byteLength(path) >= PATH_SIZE) throw new RangeError(`${path} is too long for the address of a socket`);
  const size = 2 + PATH_SIZE;
  const address = arena.alloc(size);
  const bytes = arena.slice(address, size);
  bytes.writeUInt16LE(AF_UNIX);
  bytes.write(path, 2);
  return { address, size };
}

/** The arguments of socket(2), also for a child that makes one. */
export const DATAGRAM_SOCKET = [AF_UNIX, SOCK_DGRAM | O.O_CLOEXEC | O.O_NONBLOCK, 0] as const;

/**
 * One that tells who sent what, not bound yet. The file it is bound at gets the mode that the socket has by then, less
 * the umask, and belongs to who binds it.
 */
export function datagramSocket({ mode, descriptors }: Pick<SocketOwner, 'mode' | 'descriptors'>): number {
  const fd = trySyscall('socket', ...DATAGRAM_SOCKET);
  if (fd < 0) throw new SyscallError('socket', -fd, 'AF_UNIX SOCK_DGRAM');
  try {
    const arena = scratch();
    const on = arena.alloc(4);
    arena.setU32(on, 1);
    const passing = trySyscall('setsockopt', fd, SOL_SOCKET, SO_PASSCRED, on, 4);
    if (passing < 0) throw new SyscallError('setsockopt', -passing, 'SO_PASSCRED');
    if (descriptors === 'refused') {
      const refusing = trySyscall('setsockopt', fd, SOL_SOCKET, SO_PASSRIGHTS, arena.alloc(4), 4);
      if (refusing < 0 && refusing !== -ENOPROTOOPT) throw new SyscallError('setsockopt', -refusing, 'SO_PASSRIGHTS');
    }
    const changed = trySyscall('fchmod', fd, mode);
    if (changed < 0) throw new SyscallError('fchmod', -changed, 'a socket');
    return fd;
  } catch (error) {
    close(fd);
    throw error;
  }
}

/**
 * A datagram socket bound at `name` in the directory behind `dir`, which may be on a mount that is attached nowhere: a
 * path through /proc/self/fd is the only way to name such a place to bind(2).
 */
export function bindDatagram(dir: number, name: string, owner: SocketOwner): number {
  const fd = datagramSocket(owner);
  try {
    const { address, size } = addressOf(scratch(), `/proc/self/fd/${dir}/${name}`);
    const bound = trySyscall('bind', fd, address, size);
    if (bound < 0) throw new SyscallError('bind', -bound, name);
    chownat(dir, name, owner.uid, owner.gid);
    return fd;
  } catch (error) {
    close(fd);
    throw error;
  }
}

export interface Datagram {
  /** The sender, as our pid namespace numbers it; 0 when it is in none of ours. */
  readonly pid: number;
  /** Undefined: it was longer than asked for, and not to be cut. */
  readonly data: Buffer | undefined;
  /** Descriptors came with it. */
  readonly rights: boolean;
}

/** Memory for one message: struct msghdr, its one buffer, and room for the sender's credentials but no descriptor. */
class Inbox {
  private readonly arena: Arena;
  private readonly header: number;
  private readonly buffer: number;
  private readonly control: number;
  private readonly vector: number;

  constructor(readonly size: number) {
    this.arena = Arena.map(size + 256);
    this.header = this.arena.alloc(56);
    this.vector = this.arena.alloc(16);
    this.control = this.arena.alloc(CREDENTIALS.space);
    this.buffer = this.arena.alloc(size);
  }

  /** recvmsg(2) without waiting; undefined when there is nothing. */
  receive(fd: number, flags: number, cut: boolean): Datagram | undefined {
    const { arena, header, vector, control, buffer } = this;
    arena.setU64(vector, buffer);
    arena.setU64(vector + 8, this.size);
    arena.setU64(header, 0);
    arena.setU32(header + 8, 0);
    arena.setU64(header + 16, vector);
    arena.setU64(header + 24, 1);
    arena.setU64(header + 32, control);
    arena.setU64(header + 40, CREDENTIALS.space);
    const length = trySyscall('recvmsg', fd, header, flags | MSG_DONTWAIT);
    if (length === -EAGAIN || length === -EINTR) return undefined;
    if (length < 0) throw new SyscallError('recvmsg', -length, `fd ${fd}`);
    const told = arena.getU32(header + 48);
    const known = arena.getI64(header + 40) >= CREDENTIALS.space && arena.getI32(control + 12) === SCM_CREDENTIALS;
    return {
      pid: known ? arena.getI32(control + 16) : 0,
      data: cut || (told & MSG_TRUNC) === 0 ? Buffer.from(arena.slice(buffer, length)) : undefined,
      rights: (told & MSG_CTRUNC) !== 0,
    };
  }
}

/** cmsg with a struct ucred: pid, uid, gid. */
const CREDENTIALS = { space: 32 } as const;

/** One for each size: there are two, those of /dev/log and of the notify socket. */
const inboxes = new Map<number, Inbox>();

export interface ReceiveOptions {
  /** Bytes of a message at most. */
  readonly size: number;
  /** Of a longer one the first bytes are given, instead of none. */
  readonly cut?: boolean;
}

/**
 * The oldest datagram, without waiting; undefined when there is none. One with descriptors is left in the socket, for
 * `discardEntry`.
 *
 * There is no room for descriptors in the message, so the kernel drops the sender's and none is ever ours. But where
 * ours is the last reference, dropping it closes the file, and that may block: a TCP socket that lingers (socket(7),
 * SO_LINGER) does so for as long as its sender likes. The event loop must not be the one that waits for it.
 */
export function receiveDatagram(fd: number, { size, cut = false }: ReceiveOptions): Datagram | undefined {
  const inbox = inboxes.get(size) ?? new Inbox(size);
  inboxes.set(size, inbox);
  const seen = inbox.receive(fd, MSG_PEEK, cut);
  if (seen === undefined || seen.rights) return seen;
  return inbox.receive(fd, 0, cut);
}

/** Takes the oldest datagram out of a socket, with the descriptors that came with it: for a child of the launcher. */
export function discardEntry(fd: number): Entry {
  return { nr: NR.recvfrom, args: [fd, 0, 0, MSG_DONTWAIT, 0, 0] };
}
