/** Finding the PID 1 an earlier supervisor started: by pid and start time, never by pid alone (LIF-13). */
import { readFile } from 'node:fs/promises';
import { parseRecord } from '../plan/record.js';
import { close } from '../syscalls/fs.js';
import { SyscallError } from '../syscalls/libc.js';
import { openPidfd } from '../syscalls/process.js';

export interface Alive {
  readonly pid: number;
  readonly pidfd: number;
}

/** @param record of the process, as a start writes it. */
export async function findAlive(record: string): Promise<Alive | undefined> {
  const parsed = parseRecord(record);
  if (parsed === undefined) return undefined;
  const { pid, startTime } = parsed;
  let pidfd: number;
  try {
    pidfd = openPidfd(pid);
  } catch (error) {
    if (error instanceof SyscallError && error.errno === 'ESRCH') return undefined;
    throw error;
  }
  // Checked after the pidfd is open: from here on it is this process or none.
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  if (fields[19] !== startTime || fields[0] === 'Z') {
    close(pidfd);
    return undefined;
  }
  return { pid, pidfd };
}
