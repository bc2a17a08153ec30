/**
 * The seccomp policy as a classic BPF program over `struct seccomp_data` (linux/seccomp.h), a pure function of rules and
 * architecture. Ours, not libseccomp's: it needs nothing on the host, makes golden files of what the payload gets, and
 * costs a start nothing. That libseccomp makes a filter of the same verdicts of these rules is tested with both.
 */
import { ERRNO } from '../spec/errno.js';
import type { SeccompRule, SyscallAbi } from '../spec/seccomp.js';

/** Offsets in struct seccomp_data {int nr; u32 arch; u64 instruction_pointer; u64 args[6];}, little endian. */
const NR = 0;
const ARCH = 4;
const ARGS = 16;

/**
 * Nothing but these: for calls whose verdict hangs on number and architecture alone, the kernel (5.11) works through
 * them once, at the installation, and never runs the program again (kernel/seccomp.c, seccomp_is_const_allow).
 */
const LOAD_WORD = 0x20;
const AND = 0x54;
const JUMP = 0x05;
const JUMP_IF_EQUAL = 0x15;
const RETURN = 0x06;

const SECCOMP_RET_ALLOW = 0x7fff0000;
const SECCOMP_RET_ERRNO = 0x00050000;

/** One instruction (linux/filter.h, struct sock_filter {u16 code; u8 jt, jf; u32 k;}). */
function instruction(code: number, k: number, whenTrue = 0, whenFalse = 0): number[] {
  return [code, 0, whenTrue, whenFalse, k & 0xff, (k >>> 8) & 0xff, (k >>> 16) & 0xff, k >>> 24];
}

/** Entered and left with the call's number loaded. */
function ruleCode(rule: SeccompRule, number: number): number[][] {
  let code = [instruction(RETURN, SECCOMP_RET_ERRNO | ERRNO[rule.errno])];
  const tests = rule.arguments ?? [];
  // Built from the back, so that each test knows how far it has to jump when it fails.
  for (const { index, mask, value } of [...tests].reverse()) {
    code = [
      instruction(LOAD_WORD, ARGS + 8 * index),
      instruction(AND, mask),
      instruction(JUMP_IF_EQUAL, value, 0, code.length),
      ...code,
    ];
  }
  if (tests.length > 0) code.push(instruction(LOAD_WORD, NR));
  return [instruction(JUMP_IF_EQUAL, number, 0, code.length), ...code];
}

/**
 * The bytes of the program. What comes by a calling convention that is none of `abis` gets ENOSYS for every call: to
 * allow it would be a way around the rules, since its numbers mean other calls, and to kill would turn a foreign program
 * that somebody tries into a crash of the service that tries it. No kernel that we know has such a convention.
 */
export function seccompProgram(rules: readonly SeccompRule[], abis: readonly SyscallAbi[]): number[] {
  const code: number[][] = [instruction(LOAD_WORD, ARCH)];
  for (const audit of new Set(abis.map(abi => abi.audit))) {
    const section = [instruction(LOAD_WORD, NR)];
    for (const abi of abis.filter(candidate => candidate.audit === audit)) {
      for (const rule of rules) {
        const number = abi.numbers[rule.call];
        if (number !== undefined) section.push(...ruleCode(rule, number));
      }
    }
    section.push(instruction(RETURN, SECCOMP_RET_ALLOW));
    // A conditional jump reaches 255 instructions, this one any number.
    code.push(instruction(JUMP_IF_EQUAL, audit, 1, 0), instruction(JUMP, section.length), ...section);
  }
  code.push(instruction(RETURN, SECCOMP_RET_ERRNO | ERRNO.ENOSYS));
  return code.flat();
}
