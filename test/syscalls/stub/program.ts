/** Programs for the launcher stub, written by hand: the least that lets a test say what it means. */
import { ENTRY, FAILED_EXIT, PROGRAM, PSEUDO } from '#src/syscalls/abi/launch.js';

export type Word = number | bigint;

/** What an Arena and an Image (the memory of another process) have in common. */
export interface Memory {
  alloc(size: number): number;
  cstring(text: string): number;
  setU64(address: number, value: Word): void;
  getI64(address: number): number;
}

/** struct clone_args, as far as CLONE_ARGS_SIZE_VER0 (64 bytes) goes. */
const CLONE_ARGS = { flags: 0, pidfd: 8, exitSignal: 32, size: 64 } as const;

export const CLONE = {
  VM: 0x100,
  PIDFD: 0x1000,
  VFORK: 0x4000,
  NEWUSER: 0x1000_0000,
  NEWPID: 0x2000_0000,
  CLEAR_SIGHAND: 0x1_0000_0000,
} as const;

export { FAILED_EXIT, PSEUDO };

/** In `result` of an entry that no child has reached. No system call returns it. */
export const UNTOUCHED = -4_242_424_242;

const ALL_BITS = 0xffff_ffff_ffff_ffffn;
/** All but 0, which is no errno: it stands for a result of 0 below min. */
export const ANY_ERRNO = [ALL_BITS - 1n, ALL_BITS] as const;

/** The two words of `tolerated` for these errnos. */
export function errnos(...numbers: number[]): readonly [bigint, bigint] {
  const bits = numbers.reduce((sum, number) => sum | (1n << BigInt(number)), 0n);
  return [bits & ALL_BITS, bits >> 64n];
}

export interface Options {
  dest?: number;
  /** 0, the end of the table, if not told. */
  onError?: number;
  tolerated?: readonly [Word, Word];
  min?: Word;
}

export class Program {
  readonly address: number;
  private last = 0;

  constructor(private readonly memory: Memory) {
    this.address = memory.alloc(PROGRAM.size);
  }

  cloneArgs(flags: number, pidfdAddress = 0, exitSignal = 0): this {
    const args = this.memory.alloc(CLONE_ARGS.size);
    this.memory.setU64(args + CLONE_ARGS.flags, flags);
    this.memory.setU64(args + CLONE_ARGS.pidfd, pidfdAddress);
    this.memory.setU64(args + CLONE_ARGS.exitSignal, exitSignal);
    return this.rawCloneArgs(args, CLONE_ARGS.size);
  }

  /** What the stub hands over as the two arguments of its clone call. */
  rawCloneArgs(first: number, second: number): this {
    this.memory.setU64(this.address + PROGRAM.cloneArgs, first);
    this.memory.setU64(this.address + PROGRAM.cloneArgsSize, second);
    return this;
  }

  /** Adds an entry that nothing leads to yet. */
  detached(nr: number, args: readonly Word[] = [], options: Options = {}): number {
    const { memory } = this;
    const entry = memory.alloc(ENTRY.size);
    memory.setU64(entry + ENTRY.nr, nr);
    args.forEach((arg, index) => {
      memory.setU64(entry + ENTRY.args + 8 * index, arg);
    });
    memory.setU64(entry + ENTRY.result, UNTOUCHED);
    memory.setU64(entry + ENTRY.dest, options.dest ?? 0);
    memory.setU64(entry + ENTRY.tolerated, options.tolerated?.[0] ?? 0);
    memory.setU64(entry + ENTRY.tolerated + 8, options.tolerated?.[1] ?? 0);
    memory.setU64(entry + ENTRY.onError, options.onError ?? 0);
    memory.setU64(entry + ENTRY.min, options.min ?? 0);
    return entry;
  }

  /** Adds an entry after the one added last. */
  add(nr: number, args: readonly Word[] = [], options: Options = {}): number {
    return this.link(this.detached(nr, args, options));
  }

  /** Leads from the entry added last to `entry`, and goes on from there. */
  link(entry: number): number {
    this.memory.setU64(this.last === 0 ? this.address + PROGRAM.first : this.last + ENTRY.next, entry);
    this.last = entry;
    return entry;
  }

  /** Where argument `index` of an entry stands: a `dest` for an earlier one. */
  static arg(entry: number, index: number): number {
    return entry + ENTRY.args + 8 * index;
  }

  setNext(entry: number, next: number): void {
    this.memory.setU64(entry + ENTRY.next, next);
  }

  setOnError(entry: number, next: number): void {
    this.memory.setU64(entry + ENTRY.onError, next);
  }

  result(entry: number): number {
    return this.memory.getI64(entry + ENTRY.result);
  }

  get failed(): number {
    return this.memory.getI64(this.address + PROGRAM.failed);
  }

  get current(): number {
    return this.memory.getI64(this.address + PROGRAM.current);
  }

  /** The child's first instant, in ns of the monotonic clock; 0 if there was no child. */
  get started(): bigint {
    return this.time(this.address + PROGRAM.started);
  }

  stamp(entry: number): bigint {
    return this.time(entry + ENTRY.stamp);
  }

  private time(timespec: number): bigint {
    return BigInt(this.memory.getI64(timespec)) * 1_000_000_000n + BigInt(this.memory.getI64(timespec + 8));
  }
}
