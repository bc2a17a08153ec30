/** The memory of a harness process (harness.<arch>.s), laid out here and mapped there at BASE. */
import type { Memory, Word } from './program.ts';

const BASE = 0x2000_0000;
const SIZE = 0x10000;
const REPORT = 0x8000;
const STACK_BOTTOM = 0xc000;
const STACK_POINTER = 0xf800;
const PAINT = 0xa5;

/** The image itself, as an open file of the harness. */
export const IMAGE_FD = 100;

export class Image implements Memory {
  readonly bytes = Buffer.alloc(SIZE);
  private top = 0;

  constructor() {
    this.bytes.fill(PAINT, STACK_BOTTOM);
  }

  alloc(size: number): number {
    const offset = (this.top + 7) & ~7;
    this.top = offset + size;
    if (this.top > REPORT) throw new RangeError('image is full');
    return BASE + offset;
  }

  cstring(text: string): number {
    const address = this.alloc(Buffer.byteLength(text) + 1);
    this.bytes.write(text, address - BASE);
    return address;
  }

  setU64(address: number, value: Word): void {
    this.bytes.writeBigInt64LE(BigInt.asIntN(64, BigInt(value)), address - BASE);
  }

  getI64(address: number): number {
    return Number(this.bytes.readBigInt64LE(address - BASE));
  }

  /** Where `address` lies in the file. */
  static fileOffset(address: number): number {
    return address - BASE;
  }

  private report(index: number): number {
    return this.getI64(BASE + REPORT + 8 * index);
  }

  /** What the stub returned to its caller. */
  get returned(): number {
    return this.report(0);
  }

  /** wait4's result, and the status it told. */
  get waited(): number {
    return this.report(1);
  }

  get waitStatus(): number {
    return this.report(2);
  }

  /** True if the caller's stack pointer and all its callee-saved registers were the same after the stub's return. */
  get registersKept(): boolean {
    const count = this.report(4);
    const kept = Array.from({ length: count }, (_, index) => this.report(5 + index) === 0x5a00 + index);
    return count > 0 && kept.every(Boolean) && this.report(3) === BASE + STACK_POINTER;
  }

  /** Words of the painted stack that changed, as distances from the caller's stack pointer. */
  get stackWrites(): number[] {
    const writes = [];
    for (let offset = STACK_BOTTOM; offset < SIZE; offset += 8) {
      if (this.bytes.subarray(offset, offset + 8).some(byte => byte !== PAINT)) writes.push(offset - STACK_POINTER);
    }
    return writes;
  }
}
