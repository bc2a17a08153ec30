/**
 * Runs classic BPF over `struct seccomp_data` (linux/seccomp.h), with the checks the kernel makes when a filter is
 * installed. Written from the documents (Documentation/networking/filter.rst, seccomp(2)), not from what it tests.
 */

/** What a filter sees of a call. Arguments are registers: 64 bits. */
export interface Call {
  readonly arch: number;
  readonly nr: number;
  readonly args?: readonly bigint[];
}

interface Instruction {
  readonly code: number;
  readonly jt: number;
  readonly jf: number;
  readonly k: number;
}

/** BPF_MAXINSNS. */
const MOST_INSTRUCTIONS = 4096;
const DATA_SIZE = 64;

const LD_W_ABS = 0x20;
const JA = 0x05;
const JEQ = 0x15;
const JGT = 0x25;
const JGE = 0x35;
const JSET = 0x45;
const ALU_AND = 0x54;
const RET = 0x06;

export class Filter {
  private readonly code: readonly Instruction[];

  /** Throws where the kernel would refuse to install it. */
  constructor(bytes: ArrayLike<number>) {
    const raw = Uint8Array.from(bytes);
    if (Array.from(bytes).some((byte, index) => byte !== raw[index])) throw new Error('not a list of bytes');
    if (raw.length === 0 || raw.length % 8 !== 0) throw new Error(`${raw.length} bytes are not whole instructions`);
    if (raw.length / 8 > MOST_INSTRUCTIONS) throw new Error('too long');
    const view = new DataView(raw.buffer);
    this.code = Array.from({ length: raw.length / 8 }, (_, index) => ({
      code: view.getUint16(8 * index, true),
      jt: view.getUint8(8 * index + 2),
      jf: view.getUint8(8 * index + 3),
      k: view.getUint32(8 * index + 4, true),
    }));
    this.code.forEach((instruction, index) => {
      this.check(instruction, index);
    });
    if (this.code.at(-1)?.code !== RET) throw new Error('the last instruction is no return');
  }

  private check({ code, jt, jf, k }: Instruction, index: number): void {
    const inside = (distance: number): void => {
      if (index + 1 + distance >= this.code.length) throw new Error(`instruction ${index} jumps out of the program`);
    };
    if (code === LD_W_ABS && (k % 4 !== 0 || k >= DATA_SIZE)) throw new Error(`load from offset ${k}`);
    if (code === JA) inside(k);
    if ([JEQ, JGT, JGE, JSET].includes(code)) for (const distance of [jt, jf]) inside(distance);
    if (![LD_W_ABS, JA, JEQ, JGT, JGE, JSET, ALU_AND, RET].includes(code))
      throw new Error(`opcode 0x${code.toString(16)} is not one these filters need`);
  }

  /** SECCOMP_RET_… for a call. */
  run({ arch, nr, args = [] }: Call): number {
    const words = [nr >>> 0, arch >>> 0, 0xdead, 0xbeef];
    for (let index = 0; index < 6; index++) {
      const value = BigInt.asUintN(64, args[index] ?? 0n);
      words.push(Number(value & 0xffff_ffffn), Number(value >> 32n));
    }
    let accumulator = 0;
    for (let pc = 0; ; pc++) {
      const instruction = this.code[pc];
      if (instruction === undefined) throw new Error('the program does not end');
      const { code, jt, jf, k } = instruction;
      if (code === LD_W_ABS) accumulator = words[k / 4] ?? 0;
      else if (code === ALU_AND) accumulator = (accumulator & k) >>> 0;
      else if (code === JA) pc += k;
      else if (code === RET) return k;
      else if (code === JEQ) pc += accumulator === k ? jt : jf;
      else if (code === JGT) pc += accumulator > k ? jt : jf;
      else if (code === JGE) pc += accumulator >= k ? jt : jf;
      else pc += (accumulator & k) !== 0 ? jt : jf;
    }
  }
}

export const RET_ALLOW = 0x7fff0000;

/** SECCOMP_RET_ERRNO with an errno. */
export function refusedWith(errno: number): number {
  return 0x00050000 + errno;
}
