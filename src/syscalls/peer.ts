/** Who is at the other end of a Unix socket, as the kernel noted at its connect (unix(7), SO_PEERCRED). */
import { scratch } from './arena.js';
import { trySyscall } from './libc.js';

const SOL_SOCKET = 1;
const SO_PEERCRED = 17;

export interface Peer {
  readonly pid: number;
  readonly uid: number;
  readonly gid: number;
}

/** Undefined when `socket` is no connected Unix socket. */
export function peerOf(socket: number): Peer | undefined {
  const arena = scratch();
  const ucred = arena.alloc(12);
  const size = arena.alloc(8);
  arena.setU32(size, 12);
  if (trySyscall('getsockopt', socket, SOL_SOCKET, SO_PEERCRED, ucred, size) < 0) return undefined;
  return { pid: arena.getI32(ucred), uid: arena.getU32(ucred + 4), gid: arena.getU32(ucred + 8) };
}
