/** `pid` and start time of a child: together they name one process for as long as the host is up (LIF-13). */
import { formatRecord, type Kept } from '../../plan/record.js';
import { AT, O } from '../../syscalls/abi/constants.js';
import { close, openat, readFile, writeFd } from '../../syscalls/fs.js';

/** Field 22 of /proc/<pid>/stat, in clock ticks since boot; the name before it may hold blanks and parentheses. */
export function startTimeOf(pid: number): number {
  const stat = readFile(`/proc/${pid}/stat`);
  return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]);
}

/** One write of one short line: a torn one does not parse, and what it names then counts as not recorded. */
export function writeRecord(path: string, pid: number, kept: Kept | null): void {
  const fd = openat(AT.AT_FDCWD, path, O.O_WRONLY | O.O_CREAT | O.O_TRUNC, 0o600);
  try {
    writeFd(fd, formatRecord({ pid, startTime: String(startTimeOf(pid)), kept }), path);
  } finally {
    close(fd);
  }
}
