/**
 * Runs the eBPF instructions that a device program is made of (linux/bpf.h, Documentation/bpf/standardization), with
 * the checks of the kernel's verifier that matter here. Written from the documents, not from the code that it tests.
 */

interface Instruction {
  readonly opcode: number;
  readonly dst: number;
  readonly src: number;
  readonly offset: number;
  readonly imm: number;
}

/** struct bpf_cgroup_dev_ctx, as 32-bit words. */
export interface DeviceContext {
  /** Bits: 1 mknod, 2 read, 4 write. */
  readonly access: number;
  /** 1: block, 2: char. */
  readonly type: number;
  readonly major: number;
  readonly minor: number;
}

export function decode(bytes: readonly number[]): Instruction[] {
  if (bytes.length % 8 !== 0) throw new Error(`${bytes.length} bytes are not whole instructions`);
  if (bytes.some(byte => !Number.isInteger(byte) || byte < 0 || byte > 255)) throw new Error('not a list of bytes');
  const view = new DataView(Uint8Array.from(bytes).buffer);
  return Array.from({ length: bytes.length / 8 }, (_, index) => {
    const at = index * 8;
    return {
      opcode: view.getUint8(at),
      dst: view.getUint8(at + 1) & 0xf,
      src: view.getUint8(at + 1) >> 4,
      offset: view.getInt16(at + 2, true),
      imm: view.getInt32(at + 4, true),
    };
  });
}

type Value = { readonly context: true } | { readonly scalar: bigint };

const U32 = 0xffff_ffffn;

/** r0 at exit. Throws where the verifier would refuse the program on the path taken. */
export function run(bytes: readonly number[], { access, type, major, minor }: DeviceContext): bigint {
  const program = decode(bytes);
  const words = [(access << 16) | type, major, minor];
  const registers = new Map<number, Value>([[1, { context: true }]]);
  const scalar = (register: number): bigint => {
    const value = registers.get(register);
    if (value === undefined) throw new Error(`r${register} is read before it is written`);
    if ('context' in value) throw new Error(`arithmetic on the context pointer in r${register}`);
    return value.scalar;
  };
  let pc = 0;
  for (let steps = 0; steps <= program.length; steps++) {
    const instruction = program[pc];
    if (instruction === undefined) throw new Error(`jump out of the program, to ${pc}`);
    const { opcode, dst, src, offset, imm } = instruction;
    pc++;
    switch (opcode) {
      case 0x61: {
        // BPF_LDX | BPF_MEM | BPF_W
        const base = registers.get(src);
        if (base === undefined || !('context' in base))
          throw new Error(`load through r${src}, which is no context pointer`);
        if (offset % 4 !== 0 || offset < 0 || offset > 8) throw new Error(`load from offset ${offset} of the context`);
        registers.set(dst, { scalar: BigInt((words[offset / 4] ?? 0) >>> 0) });
        break;
      }
      case 0xbc: // BPF_ALU | BPF_MOV | BPF_X: the upper half becomes 0
        registers.set(dst, { scalar: scalar(src) & U32 });
        break;
      case 0xb7: // BPF_ALU64 | BPF_MOV | BPF_K: the immediate is sign-extended
        registers.set(dst, { scalar: BigInt.asUintN(64, BigInt(imm)) });
        break;
      case 0x54: // BPF_ALU | BPF_AND | BPF_K
        registers.set(dst, { scalar: scalar(dst) & (BigInt(imm) & U32) });
        break;
      case 0x74: // BPF_ALU | BPF_RSH | BPF_K
        if (imm < 0 || imm > 31) throw new Error(`shift by ${imm}`);
        registers.set(dst, { scalar: (scalar(dst) & U32) >> BigInt(imm) });
        break;
      case 0x55: // BPF_JMP | BPF_JNE | BPF_K: 64 bits, sign-extended immediate
        if (offset < 0) throw new Error('jump backwards');
        if (scalar(dst) !== BigInt.asUintN(64, BigInt(imm))) pc += offset;
        break;
      case 0x95:
        return scalar(0);
      default:
        throw new Error(`opcode 0x${opcode.toString(16)} is not one a device program needs`);
    }
  }
  throw new Error('the program does not end');
}
