/** Files that belong to a container's root. */
import { trySyscall } from '../../syscalls/libc.js';
import { holdUndumpable, releaseDumpable } from '../dumpable.js';

/** Files made by `act` belong to host id `owner`: on an id-mapped mount nobody else can make any. */
export function asOwner<T>(owner: number, act: () => T): T {
  if (owner === 0) return act();
  // A change of the file-system uid makes the whole process non-dumpable, too.
  holdUndumpable();
  trySyscall('setfsgid', owner);
  trySyscall('setfsuid', owner);
  try {
    return act();
  } finally {
    trySyscall('setfsuid', 0);
    trySyscall('setfsgid', 0);
    releaseDumpable();
  }
}
