import { CLONE } from '../syscalls/abi/constants.js';
import { syscall } from '../syscalls/libc.js';

/**
 * Gives this worker thread a umask of its own, and sets it to 0: modes are then exactly those of the plan (ENV-17),
 * without a chmod after each mkdir and mknod, and without touching the umask of the process.
 */
export function prepareThread(): void {
  syscall('unshare', CLONE.CLONE_FS);
  syscall('umask', 0);
}
