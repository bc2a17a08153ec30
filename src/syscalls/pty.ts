/** Pseudo terminals in a devpts instance of one's own (pty(7), ioctl_tty(2)). */
import { IOCTL, O, RESOLVE } from './abi/constants.js';
import { scratch } from './arena.js';
import { chownat, close, openat2 } from './fs.js';
import { SyscallError, trySyscall } from './libc.js';

function ioctl(name: keyof typeof IOCTL, fd: number, argument: number): number {
  const result = trySyscall('ioctl', fd, IOCTL[name], argument);
  if (result < 0) throw new SyscallError('ioctl', -result, name);
  return result;
}

export function setWindowSize(fd: number, rows: number, cols: number): void {
  const arena = scratch();
  const size = arena.alloc(8);
  arena.setU32(size, rows | (cols << 16));
  ioctl('TIOCSWINSZ', fd, size);
}

/**
 * Opens a pty in the devpts mount `devpts`; the master does not block. A container may have mounted something over the
 * names in there: none is followed, and the slave is found by TIOCGPTPEER.
 */
export function openPty(
  devpts: number,
  { rows, cols, uid, gid }: { rows: number; cols: number; uid: number; gid: number },
): { master: number; slave: number } {
  const own = RESOLVE.RESOLVE_NO_XDEV | RESOLVE.RESOLVE_NO_SYMLINKS;
  const master = openat2(devpts, 'ptmx', O.O_RDWR | O.O_NOCTTY | O.O_NONBLOCK, own);
  try {
    const unlock = scratch().alloc(4);
    ioctl('TIOCSPTLCK', master, unlock);
    const slave = ioctl('TIOCGPTPEER', master, O.O_RDWR | O.O_NOCTTY | O.O_CLOEXEC);
    try {
      setWindowSize(master, rows, cols);
      chownat(slave, '', uid, gid);
      return { master, slave };
    } catch (error) {
      close(slave);
      throw error;
    }
  } catch (error) {
    close(master);
    throw error;
  }
}
