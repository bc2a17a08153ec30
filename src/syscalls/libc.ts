/**
 * The one funnel through which every system call of the host side goes: libc's `syscall(2)` called by koffi.
 * Arguments are numbers (addresses fit: user space is below 2^47) or bigints where all 64 bits matter.
 */
import process from 'node:process';
import koffi from 'koffi';
import { type ErrnoName, errnoName } from '../spec/errno.js';
import { CaissonError } from '../spec/errors.js';
import { type Arch, SYSCALLS, type SyscallName } from './abi/numbers.js';

export type Word = number | bigint;

function hostArch(): Arch {
  if (process.platform === 'linux' && (process.arch === 'x64' || process.arch === 'arm64')) return process.arch;
  throw new CaissonError(
    'HOST_UNSUPPORTED',
    `Caisson runs on Linux x64 and arm64, this is ${process.platform} ${process.arch}`,
  );
}

export const ARCH: Arch = hostArch();
export const NR: Readonly<Record<SyscallName, number>> = SYSCALLS[ARCH];

const libc = koffi.load('libc.so.6');
// syscall(2) is variadic, but for integer arguments both ABIs pass variadic and named ones alike.
const raw = libc.func('int64_t syscall(int64_t, int64_t, int64_t, int64_t, int64_t, int64_t, int64_t)') as {
  (...words: Word[]): number;
  async(...words: [...Word[], (error: unknown, result: number) => void]): void;
};

/** A system call that the kernel refused. `errno` is symbolic, `number` is the kernel's. */
export class SyscallError extends Error {
  readonly errno: ErrnoName;
  constructor(
    readonly call: string,
    readonly number: number,
    readonly operands = '',
  ) {
    super(`${call}(${operands}): ${errnoName(number)}`);
    this.name = 'SyscallError';
    this.errno = errnoName(number) as ErrnoName;
  }
}

/** Calls the kernel; returns the result, or -errno. Never throws: for callers that decide by the errno. */
export function trySyscall(
  name: SyscallName,
  a: Word = 0,
  b: Word = 0,
  c: Word = 0,
  d: Word = 0,
  e: Word = 0,
  f: Word = 0,
): number {
  const result = raw(NR[name], a, b, c, d, e, f);
  return result === -1 ? -koffi.errno() : result;
}

/** Calls the kernel; throws SyscallError when it refuses. An interrupted call (EINTR) is the caller's to repeat. */
export function syscall(
  name: SyscallName,
  a: Word = 0,
  b: Word = 0,
  c: Word = 0,
  d: Word = 0,
  e: Word = 0,
  f: Word = 0,
): number {
  const result = raw(NR[name], a, b, c, d, e, f);
  if (result === -1) throw new SyscallError(name, koffi.errno());
  return result;
}

/** The same on a thread of libuv's, for a call that may wait for a disk; the result, or -errno. */
export function laterSyscall(name: SyscallName, a: Word, b: Word, c: Word, d: Word, e: Word, f: Word): Promise<number> {
  return new Promise((resolve, reject) => {
    raw.async(NR[name], a, b, c, d, e, f, (error, result) => {
      if (error) reject(error as Error);
      // koffi hands over the errno of that thread.
      else resolve(result === -1 ? -koffi.errno() : result);
    });
  });
}
