/** The limit of memory of a container that runs: lowered by reclaiming, never by killing. */
import { CaissonError } from '../../spec/errors.js';
import { readFile, writeFile } from '../../syscalls/fs.js';
import { SyscallError } from '../../syscalls/libc.js';

export interface MemoryLimit {
  readonly group: string;
  readonly path: string;
  readonly version: 1 | 2;
  readonly bytes: number;
}

function refused(bytes: number, used: number): CaissonError {
  return new CaissonError(
    'SPEC_INVALID',
    `limits.memory: ${bytes} bytes are too few: ${used} are in use, and cannot be reclaimed`,
    { field: 'limits.memory', hint: 'choose a higher limit, or stop something in the container first' },
  );
}

/** @throws CaissonError SPEC_INVALID when what is in use cannot be brought below it. */
export function limitMemory({ group, path, version, bytes }: MemoryLimit): void {
  if (version === 1) {
    try {
      // The kernel reclaims first, a bounded number of times, and then refuses.
      writeFile(path, String(bytes));
    } catch (error) {
      if (!(error instanceof SyscallError && error.errno === 'EBUSY')) throw error;
      throw refused(bytes, Number(readFile(`${group}/memory.usage_in_bytes`)));
    }
    return;
  }
  // A write to memory.max kills where it cannot reclaim; one to memory.high reclaims, a bounded number of times, and
  // returns. It throttles what allocates meanwhile.
  const used = (): number => Number(readFile(`${group}/memory.current`));
  if (used() <= bytes) {
    writeFile(path, String(bytes));
    return;
  }
  const high = readFile(`${group}/memory.high`).trim();
  try {
    writeFile(`${group}/memory.high`, String(bytes));
    const left = used();
    if (left > bytes) throw refused(bytes, left);
    writeFile(path, String(bytes));
  } finally {
    writeFile(`${group}/memory.high`, high);
  }
}
