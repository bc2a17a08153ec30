/** Unix stream sockets (unix(7)) bound with a mode of their own: Node binds with what the umask leaves, and tells too late. */
import { O } from './abi/constants.js';
import { scratch } from './arena.js';
import { addressOf } from './datagram.js';
import { close } from './fs.js';
import { SyscallError, trySyscall } from './libc.js';

const AF_UNIX = 1;
const SOCK_STREAM = 1;

/**
 * A socket bound at `path`, not yet listened at; its owner closes it, and removes the path.
 * @param mode of its file from the first moment on, but for what the umask takes away. @throws SyscallError
 */
export function bindStream(path: string, mode: number): number {
  const fd = trySyscall('socket', AF_UNIX, SOCK_STREAM | O.O_CLOEXEC | O.O_NONBLOCK, 0);
  if (fd < 0) throw new SyscallError('socket', -fd, 'AF_UNIX SOCK_STREAM');
  try {
    // bind(2) makes the file with the mode that the socket itself has by then (net/unix/af_unix.c).
    const changed = trySyscall('fchmod', fd, mode);
    if (changed < 0) throw new SyscallError('fchmod', -changed, 'socket');
    const { address, size } = addressOf(scratch(), path);
    const bound = trySyscall('bind', fd, address, size);
    if (bound < 0) throw new SyscallError('bind', -bound, path);
    return fd;
  } catch (error) {
    close(fd);
    throw error;
  }
}
