/** A datagram socket in the /dev of a running container, in place of one whose listener is gone. */
import type { LiveAction } from '../../plan/actions/live.js';
import { ERRNO } from '../../spec/errno.js';
import { AT, O, S_IFSOCK } from '../../syscalls/abi/constants.js';
import { PSEUDO } from '../../syscalls/abi/launch.js';
import { addressOf, DATAGRAM_SOCKET, datagramSocket } from '../../syscalls/datagram.js';
import { close } from '../../syscalls/fs.js';
import { NR, SyscallError } from '../../syscalls/libc.js';
import { holdUndumpable, releaseDumpable } from '../dumpable.js';
import { openStrictly, tryInside } from './errand-inside.js';

type Replace = Extract<LiveAction, { op: 'live.datagram' }>;

const STATX_TYPE = 1;
const STATX_SIZE = 256;
const STX_MODE = 28;

/**
 * By name in a directory that is held: the container's /proc does not know the child, and so none of its descriptors. What
 * it takes away and makes there, it does as the container's own root: the payload may put something else in the way at any
 * moment, where host root could do more than it.
 * @throws SyscallError EADDRINUSE where somebody listens, or something else is in its place; CaissonError TIMEOUT
 */
export function replaceDatagram(pidfd: number, action: Replace): number {
  const { name, uid, gid } = action;
  const what = `/dev/${name}`;
  const fd = datagramSocket(action);
  // A change of the file-system uid in the child, which shares our memory, makes us non-dumpable, too.
  if (uid !== 0) holdUndumpable();
  try {
    let typed = 0;
    const failed = tryInside({ pidfd, used: [fd], what }, (arena, entries) => {
      const status = arena.alloc(STATX_SIZE);
      const text = arena.cstring(name);
      const { address, size } = addressOf(arena, name);
      const begin = entries.length;
      typed = begin + 3;
      entries.push(
        { ...openStrictly(arena, 'dev', O.O_DIRECTORY), dest: { entry: begin + 1, argument: 0 } },
        { nr: NR.fchdir, args: [0] },
        { nr: NR.statx, args: [AT.AT_FDCWD, text, AT.AT_SYMLINK_NOFOLLOW, STATX_TYPE, status] },
        // No type of file has a greater number, so what is less is none. Nothing but zeros follows the mode's 16 bits.
        { nr: PSEUDO.loadI32, args: [status + STX_MODE], min: S_IFSOCK },
        { nr: NR.socket, args: DATAGRAM_SOCKET, dest: { entry: begin + 5, argument: 0 } },
        { nr: NR.connect, args: [0, address, size], tolerated: { errnos: [ERRNO.ECONNREFUSED], next: begin + 7 } },
        { nr: PSEUDO.immediate, args: [-ERRNO.EADDRINUSE] },
        { nr: NR.setfsgid, args: [gid] },
        { nr: NR.setfsuid, args: [uid] },
        { nr: NR.unlinkat, args: [AT.AT_FDCWD, text, 0] },
        { nr: NR.bind, args: [fd, address, size] },
      );
    });
    if (failed === undefined) return fd;
    throw new SyscallError('bind', failed.entry === typed ? ERRNO.EADDRINUSE : failed.errno, what);
  } catch (error) {
    close(fd);
    throw error;
  } finally {
    if (uid !== 0) releaseDumpable();
  }
}
