/** A datagram socket in the /dev of a running container, in place of one whose listener is gone. */
import type { LiveAction } from '../../plan/actions/live.js';
import { O, RESOLVE, S_IFMT, S_IFSOCK } from '../../syscalls/abi/constants.js';
import { bindDatagram, hasListener } from '../../syscalls/datagram.js';
import { close, openat2, statFd, unlink } from '../../syscalls/fs.js';
import { SyscallError, syscall } from '../../syscalls/libc.js';

const STRICT = RESOLVE.RESOLVE_IN_ROOT | RESOLVE.RESOLVE_NO_SYMLINKS;
const EADDRINUSE = 98;

/**
 * To be called in the container's mount namespace. By name in a directory that is held: the container's /proc does not
 * know this thread, and so none of its descriptors.
 * @throws SyscallError EADDRINUSE where somebody listens, or something else is in its place.
 */
export function replaceDatagram(root: number, action: Extract<LiveAction, { op: 'live.datagram' }>): number {
  const dev = openat2(root, 'dev', O.O_PATH | O.O_DIRECTORY, STRICT);
  try {
    const found = openat2(dev, action.name, O.O_PATH | O.O_NOFOLLOW, STRICT);
    const isSocket = (statFd(found).mode & S_IFMT) === S_IFSOCK;
    close(found);
    syscall('fchdir', dev);
    if (!isSocket || hasListener(action.name)) throw new SyscallError('bind', EADDRINUSE, action.name);
    unlink(action.name);
    return bindDatagram(dev, action.name, action, action.name);
  } finally {
    close(dev);
  }
}
