/** One supervisor a state directory: a lock that the kernel drops when its holder dies (flock(2)). */

import { CaissonError } from '../spec/errors.js';
import { AT, O } from '../syscalls/abi/constants.js';
import { close, openat } from '../syscalls/fs.js';
import { SyscallError, trySyscall } from '../syscalls/libc.js';

const LOCK_EX_NB = 2 | 4;

export interface StateLock {
  release(): void;
}

/** @throws CaissonError STATE_LOCKED */
export function lockState(dir: string): StateLock {
  const fd = openat(AT.AT_FDCWD, `${dir}/.lock`, O.O_RDWR | O.O_CREAT, 0o600);
  const result = trySyscall('flock', fd, LOCK_EX_NB);
  if (result < 0) {
    close(fd);
    const cause = new SyscallError('flock', -result, dir);
    throw new CaissonError('STATE_LOCKED', `another supervisor has ${dir} open`, {
      field: 'stateDir',
      hint: 'close it, or use another state directory',
      cause,
    });
  }
  return { release: () => close(fd) };
}
