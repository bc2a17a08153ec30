import { readFile } from '../../syscalls/fs.js';
import { SyscallError } from '../../syscalls/libc.js';

/** The `oom_kill` counter of the first file that exists (memory.oom_control on v1, memory.events on v2); 0 without one. */
export function countOomKills(files: readonly string[]): number {
  for (const file of files) {
    try {
      return Number(/^oom_kill (\d+)$/m.exec(readFile(file))?.[1] ?? 0);
    } catch (error) {
      if (!(error instanceof SyscallError && error.errno === 'ENOENT')) throw error;
    }
  }
  return 0;
}
