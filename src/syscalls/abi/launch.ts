/**
 * Memory layout shared by the launcher stub (launcher/stub.*.s), the code that fills it in (launcher/program.ts)
 * and the kernel. All words are 64 bits, little endian, 8-byte aligned.
 *
 * The stub is called as `int64_t stub(void *program)`. It makes one clone3 call; the parent returns its result
 * (the pid, or -errno) at once. The child stamps `started`, then walks the entries from `first`:
 *
 *     current = entry
 *     result  = nr == IMMEDIATE ? a0
 *             : nr == LOAD_I32  ? sign-extended 32-bit word at address a0
 *             : nr == LOAD_I64  ? 64-bit word at address a0
 *             : the system call nr(a0 … a5), then `stamp` = clock_gettime(CLOCK_MONOTONIC)
 *     entry.result = result
 *     if result < entry.min (signed):
 *         e = -result; if 0 ≤ e < 128 and bit e of tolerated[e / 64] is set: go to entry.onError
 *         otherwise: program.failed = entry; exit_group(FAILED_EXIT)
 *     else: if entry.dest: *entry.dest = result; go to entry.next
 *     an entry address of 0: exit_group(0)
 *
 * A store to `entry.next` by the parent while the child waits in a system call of that entry takes effect: the
 * child reads next, onError, dest and min only after the call has returned. The stub touches no stack in the
 * child, calls no library and needs no relocation.
 *
 * A result of 0 where `min` is 1 counts as e = 0. So clone3 itself can be an entry: the parent goes on at `next`, and the
 * child, if bit 0 is tolerated, at `onError`.
 */
export const PROGRAM = {
  cloneArgs: 0,
  cloneArgsSize: 8,
  first: 16,
  /** Address of the entry that ended the child, 0 if none did. */
  failed: 24,
  /** Address of the entry the child is at. */
  current: 32,
  /** struct timespec (CLOCK_MONOTONIC) of the child's first instruction. */
  started: 40,
  size: 56,
} as const;

export const ENTRY = {
  nr: 0,
  args: 8,
  result: 56,
  dest: 64,
  next: 72,
  /** Two words: bit e set means errno e is tolerated. */
  tolerated: 80,
  onError: 96,
  /** struct timespec (CLOCK_MONOTONIC) of the moment the call returned. */
  stamp: 104,
  /** Results below this (signed) are errors: 0 as a rule, 1 where an end of file must end the child. */
  min: 120,
  size: 128,
} as const;

export const PSEUDO = { immediate: -1, loadI32: -2, loadI64: -3 } as const;

/** Exit status of a child whose program failed before exec. */
export const FAILED_EXIT = 125;

/**
 * The start of memory that is shared with the joiner (launcher/joiner.*.s), a program of its own that maps it by the
 * descriptor `fd` where we have it.
 */
export const ARENA = {
  fd: 4,
  address: 0,
  length: 8,
  headerSize: 16,
  /** Process ids, as we see them, of the two processes that it becomes in turn: written by the kernel at their birth. */
  pids: 16,
  program: 32,
} as const;
