/**
 * libseccomp, where the host has it: a second maker of seccomp filters, and the judge of our own (plan/seccomp-program.ts),
 * whose verdicts the tests compare with these. No start loads it.
 */
import koffi from 'koffi';
import { ERRNO, type ErrnoName } from '../spec/errno.js';
import { scratch } from './arena.js';
import { close, readAt, statFd } from './fs.js';
import { SyscallError, syscall } from './libc.js';

export interface FilterRule {
  readonly call: string;
  /** Refused only if `argument & mask` is `value`, for all of these. */
  readonly arguments?: readonly { readonly index: number; readonly mask: number; readonly value: number }[];
  readonly errno: ErrnoName;
}

const ACT_ALLOW = 0x7fff0000;
const actErrno = (errno: ErrnoName): number => 0x00050000 + ERRNO[errno];
const FLTATR_ACT_BADARCH = 2;
const CMP_MASKED_EQ = 7;
/** enum scmp_arg_cmp is {unsigned arg; enum op; u64 datum_a; u64 datum_b}. */
const ARG_CMP_SIZE = 24;
const EEXIST = -17;
const MFD_CLOEXEC = 1;

type Native = (...words: (number | string)[]) => number;

function loadLibrary() {
  const library = koffi.load('libseccomp.so.2');
  // Pointers as numbers: user space is below 2^47.
  const func = (declaration: string): Native => library.func(declaration) as Native;
  return {
    init: func('int64_t seccomp_init(uint32_t)'),
    release: func('void seccomp_release(int64_t)'),
    attributeSet: func('int seccomp_attr_set(int64_t, int, uint32_t)'),
    archAdd: func('int seccomp_arch_add(int64_t, uint32_t)'),
    archRemove: func('int seccomp_arch_remove(int64_t, uint32_t)'),
    archNative: func('uint32_t seccomp_arch_native()'),
    resolve: func('int seccomp_syscall_resolve_name(const char *)'),
    ruleAdd: func('int seccomp_rule_add_array(int64_t, uint32_t, int, unsigned int, int64_t)'),
    exportBpf: func('int seccomp_export_bpf(int64_t, int)'),
  };
}

let loaded: ReturnType<typeof loadLibrary> | undefined;

function check(call: string, result: number, ...fine: number[]): void {
  if (result < 0 && !fine.includes(result)) throw new SyscallError(call, -result);
}

/**
 * The bytes of a filter that refuses what `rules` say and allows the rest. What comes by another architecture gets
 * `otherwise`.
 * @param architectures SCMP_ARCH_ tokens.
 * @throws when the host has no libseccomp
 */
export function exportFilter(
  rules: readonly FilterRule[],
  architectures: readonly number[],
  otherwise: ErrnoName,
): Uint8Array {
  loaded ??= loadLibrary();
  const lib = loaded;
  const context = lib.init(ACT_ALLOW);
  try {
    check('seccomp_attr_set', lib.attributeSet(context, FLTATR_ACT_BADARCH, actErrno(otherwise)));
    for (const token of architectures) check('seccomp_arch_add', lib.archAdd(context, token), EEXIST);
    const native = lib.archNative();
    if (!architectures.includes(native)) check('seccomp_arch_remove', lib.archRemove(context, native));
    for (const { call, arguments: tests = [], errno } of rules) {
      const arena = scratch();
      const compare = arena.alloc(ARG_CMP_SIZE * tests.length);
      tests.forEach(({ index, mask, value }, position) => {
        const at = compare + ARG_CMP_SIZE * position;
        arena.setU32(at, index);
        arena.setU32(at + 4, CMP_MASKED_EQ);
        arena.setU64(at + 8, mask);
        arena.setU64(at + 16, value);
      });
      // By the native number: the library knows what it is in the others, and leaves out where it does not exist.
      check('seccomp_rule_add_array', lib.ruleAdd(context, actErrno(errno), lib.resolve(call), tests.length, compare));
    }
    const memory = syscall('memfd_create', scratch().cstring('seccomp'), MFD_CLOEXEC);
    try {
      check('seccomp_export_bpf', lib.exportBpf(context, memory));
      return readAt(memory, 0, statFd(memory).size);
    } finally {
      close(memory);
    }
  } finally {
    lib.release(context);
  }
}
