/**
 * System calls made by a child in our place, because they may block where neither a flag nor a time limit helps. The
 * child shares our memory and descriptors, and can be killed while it waits.
 */
import { Arena } from '../arena.js';
import { close } from '../fs.js';
import { SyscallError } from '../libc.js';
import { reap, sendSignal } from '../process.js';
import { watch } from '../watch.js';
import { type Entry, Program } from './program.js';

const SIGKILL = 9;
const MEMORY = 4096;
const free: Arena[] = [];

/** Resolves when the child has made its calls, or has been killed after `timeoutMs`: false then. */
export function runErrand(entries: readonly Entry[], timeoutMs: number): Promise<boolean> {
  const arena = free.pop() ?? Arena.map(MEMORY);
  const launched = Program.ready(arena, entries).launch(0, null);
  if ('errno' in launched) {
    free.push(arena);
    return Promise.reject(new SyscallError('clone3', launched.errno, 'errand'));
  }
  const { pidfd } = launched;
  return new Promise(resolve => {
    const timer = setTimeout(() => sendSignal(pidfd, SIGKILL), timeoutMs);
    const ended = watch(pidfd, () => {
      const exit = reap(pidfd);
      if (exit === undefined) return;
      clearTimeout(timer);
      ended.close();
      close(pidfd);
      free.push(arena);
      resolve(exit !== 'not-a-child' && exit.code === 'exited');
    });
  });
}
