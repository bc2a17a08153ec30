/**
 * The device policy in the two forms the kernel takes: lines of the v1 devices controller, and a
 * BPF_PROG_TYPE_CGROUP_DEVICE program for v2. Both are pure functions of the same rules.
 */
import type { DeviceRule } from '../spec/devices.js';

export function deviceLines(rules: readonly DeviceRule[]): string[] {
  return rules.map(({ type, major, minor, access }) => `${type} ${major ?? '*'}:${minor ?? '*'} ${access}`);
}

const BLOCK = 1;
const CHAR = 2;
const ACCESS = { m: 1, r: 2, w: 4 } as const;

/** One 64-bit eBPF instruction (linux/bpf.h, struct bpf_insn). */
function instruction(code: number, dst: number, src: number, offset: number, immediate: number): number[] {
  const imm = immediate >>> 0;
  return [
    code,
    (src << 4) | dst,
    offset & 0xff,
    (offset >> 8) & 0xff,
    imm & 0xff,
    (imm >>> 8) & 0xff,
    (imm >>> 16) & 0xff,
    imm >>> 24,
  ];
}

const LDX_WORD = 0x61;
const MOV32_REG = 0xbc;
const MOV64_IMM = 0xb7;
const AND32_IMM = 0x54;
const RSH32_IMM = 0x74;
const JNE_IMM = 0x55;
const EXIT = 0x95;

/**
 * The bytes of a program over `struct bpf_cgroup_dev_ctx {u32 access_type, major, minor}`, where access_type is
 * access << 16 | type. Returns 1 (allow) at the first rule that covers type, number and all asked access, else 0.
 */
export function deviceProgram(rules: readonly DeviceRule[]): number[] {
  const code: number[][] = [
    // r2 = type, r3 = access, r4 = major, r5 = minor
    instruction(LDX_WORD, 2, 1, 0, 0),
    instruction(MOV32_REG, 3, 2, 0, 0),
    instruction(AND32_IMM, 2, 0, 0, 0xffff),
    instruction(RSH32_IMM, 3, 0, 0, 16),
    instruction(LDX_WORD, 4, 1, 4, 0),
    instruction(LDX_WORD, 5, 1, 8, 0),
  ];
  for (const rule of rules) {
    const allowed = [...rule.access].reduce((mask, letter) => mask | ACCESS[letter as keyof typeof ACCESS], 0);
    const tests: ((skip: number) => number[][])[] = [
      skip => [instruction(JNE_IMM, 2, 0, skip, rule.type === 'c' ? CHAR : BLOCK)],
    ];
    // Access asked for beyond what the rule gives: r1 (the context, read by now) is free for the test.
    if (allowed !== 7) {
      tests.push(skip => [
        instruction(MOV32_REG, 1, 3, 0, 0),
        instruction(AND32_IMM, 1, 0, 0, ~allowed & 7),
        instruction(JNE_IMM, 1, 0, skip, 0),
      ]);
    }
    if (rule.major !== null) tests.push(skip => [instruction(JNE_IMM, 4, 0, skip, rule.major ?? 0)]);
    if (rule.minor !== null) tests.push(skip => [instruction(JNE_IMM, 5, 0, skip, rule.minor ?? 0)]);
    const accept = [instruction(MOV64_IMM, 0, 0, 0, 1), instruction(EXIT, 0, 0, 0, 0)];
    // Built from the back, so that each test knows how far it has to jump when it fails.
    let tail = accept;
    for (const test of tests.reverse()) tail = [...test(tail.length), ...tail];
    code.push(...tail);
  }
  code.push(instruction(MOV64_IMM, 0, 0, 0, 0), instruction(EXIT, 0, 0, 0, 0));
  return code.flat();
}
