/**
 * The program that joins containers: the stub's walk over a table, as an executable of its own. A child that shared our
 * memory while somebody inside could see it, or while it is in a memory cgroup that may run out, would be a way to our
 * memory or to our end (all that share the memory of a process chosen by the OOM killer are killed). So what is cloned
 * from us executes this first, on the host, and shares with us only the memory that holds its own table.
 */
import type { Arch } from '../abi/numbers.js';
import { ARCH } from '../libc.js';
import { code, STUB } from './stub.js';

/** Machine code that follows the stub's. Printed by scripts/stub-bytes.sh from the listings beside this file. */
export const JOINER: Readonly<Record<Arch, Uint8Array>> = {
  x64: code(`
    bf040000004889e6ba100000004531d2b8110000000f054883f8107533488b3c
    24488b742408ba0300000041ba1100000041b8040000004531c9b8090000000f
    05483b04247509488d5020e9dafeffffbf7d000000eba0
  `),
  arm64: code(`
    800080d2e1030091020280d2030080d2680880d2010000d41f4000f1a1010054
    e00740a9620080d2230280d2840080d2050080d2c81b80d2010000d4e90340f9
    1f0009eb6100005409800091b3ffff17a00f80d2e8ffff17
  `),
};

const MACHINE = { x64: 62, arm64: 183 } as const;
const BASE = 0x400000;
const ELF_HEADER = 64;
const PROGRAM_HEADER = 56;
const SEGMENTS = 2;
const PT_LOAD = 1;
const PT_GNU_STACK = 0x6474e551;
const READ_EXECUTE = 5;
const READ_WRITE = 6;
/** The largest page of any of these architectures. */
const ALIGNMENT = 0x10000;

/** A static executable (elf(5)): one segment of code, and a stack that is not executable. */
export function joinerExecutable(arch: Arch = ARCH): Uint8Array {
  const text = ELF_HEADER + SEGMENTS * PROGRAM_HEADER;
  const size = text + STUB[arch].length + JOINER[arch].length;
  const file = Buffer.alloc(size);
  file.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
  file.writeUInt16LE(2, 16);
  file.writeUInt16LE(MACHINE[arch], 18);
  file.writeUInt32LE(1, 20);
  file.writeBigUInt64LE(BigInt(BASE + text + STUB[arch].length), 24);
  file.writeBigUInt64LE(BigInt(ELF_HEADER), 32);
  file.writeUInt16LE(ELF_HEADER, 52);
  file.writeUInt16LE(PROGRAM_HEADER, 54);
  file.writeUInt16LE(SEGMENTS, 56);
  const segment = (index: number, type: number, flags: number, length: number): void => {
    const at = ELF_HEADER + index * PROGRAM_HEADER;
    file.writeUInt32LE(type, at);
    file.writeUInt32LE(flags, at + 4);
    file.writeBigUInt64LE(BigInt(length === 0 ? 0 : BASE), at + 16);
    file.writeBigUInt64LE(BigInt(length === 0 ? 0 : BASE), at + 24);
    file.writeBigUInt64LE(BigInt(length), at + 32);
    file.writeBigUInt64LE(BigInt(length), at + 40);
    file.writeBigUInt64LE(BigInt(ALIGNMENT), at + 48);
  };
  segment(0, PT_LOAD, READ_EXECUTE, size);
  segment(1, PT_GNU_STACK, READ_WRITE, 0);
  file.set(STUB[arch], text);
  file.set(JOINER[arch], text + STUB[arch].length);
  return file;
}
