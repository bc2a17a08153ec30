/**
 * Raw memory outside the JavaScript heap: what the kernel reads and writes, and what a launched child shares
 * with us (CLONE_VM). An arena is one anonymous mapping with a bump allocator. Mappings are never unmapped,
 * only reset and used again: an ArrayBuffer that outlives its mapping would be a crash waiting to happen.
 */
import koffi from 'koffi';
import { syscall } from './libc.js';

const PROT_READ_WRITE = 3;
const MAP_PRIVATE_ANONYMOUS = 0x22;

const views = new Map<number, ArrayBuffer>();

/** The memory at `address` as an ArrayBuffer; one view per mapping and thread. */
function viewOf(address: number, size: number): ArrayBuffer {
  let view = views.get(address);
  if (view === undefined) {
    view = koffi.view(BigInt(address), size) as ArrayBuffer;
    views.set(address, view);
  }
  return view;
}

export class Arena {
  private top = 0;
  readonly data: DataView;
  readonly bytes: Buffer;

  private constructor(
    readonly address: number,
    readonly size: number,
  ) {
    const view = viewOf(address, size);
    this.data = new DataView(view);
    this.bytes = Buffer.from(view);
  }

  /** Maps fresh zeroed memory of `size` bytes (rounded up to whole pages). */
  static map(size: number): Arena {
    const length = (size + 4095) & ~4095;
    return new Arena(syscall('mmap', 0, length, PROT_READ_WRITE, MAP_PRIVATE_ANONYMOUS, -1, 0), length);
  }

  /** The arena at `address`, mapped by another thread of this process. `used` bytes of it are taken. */
  static at(address: number, size: number, used = 0): Arena {
    const arena = new Arena(address, size);
    arena.top = used;
    return arena;
  }

  get used(): number {
    return this.top;
  }

  /** Forgets every allocation above `mark`. */
  reset(mark = 0): void {
    this.top = mark;
  }

  /** Reserves `size` zeroed bytes aligned to `align`; returns their address. */
  alloc(size: number, align = 8): number {
    const offset = (this.top + align - 1) & ~(align - 1);
    if (offset + size > this.size) throw new RangeError(`arena of ${this.size} bytes is full`);
    this.top = offset + size;
    this.bytes.fill(0, offset, offset + size);
    return this.address + offset;
  }

  /** Copies `text` as a NUL-terminated string: UTF-8, or the bytes as they are, since a name need not be UTF-8. */
  cstring(text: string | Uint8Array): number {
    if (typeof text !== 'string') {
      if (text.includes(0)) throw new RangeError('a string for the kernel must not contain NUL');
      const copied = this.alloc(text.length + 1, 1);
      this.bytes.set(text, copied - this.address);
      return copied;
    }
    if (text.includes('\0')) throw new RangeError('a string for the kernel must not contain NUL');
    const length = Buffer.byteLength(text);
    const address = this.alloc(length + 1, 1);
    this.bytes.write(text, address - this.address);
    return address;
  }

  copy(bytes: Uint8Array): number {
    const address = this.alloc(bytes.length);
    this.bytes.set(bytes, address - this.address);
    return address;
  }

  /** The bytes at `address` (a view, valid until the arena is reset). */
  slice(address: number, length: number): Buffer {
    const offset = address - this.address;
    return this.bytes.subarray(offset, offset + length);
  }

  setU32(address: number, value: number): void {
    this.data.setUint32(address - this.address, value, true);
  }

  getU32(address: number): number {
    return this.data.getUint32(address - this.address, true);
  }

  getI32(address: number): number {
    return this.data.getInt32(address - this.address, true);
  }

  /** Writes a 64-bit word; negative numbers in two's complement. */
  setU64(address: number, value: number | bigint): void {
    const offset = address - this.address;
    if (typeof value === 'bigint') {
      this.data.setBigUint64(offset, BigInt.asUintN(64, value), true);
    } else {
      this.data.setUint32(offset, value >>> 0, true);
      this.data.setInt32(offset + 4, Math.floor(value / 0x1_0000_0000), true);
    }
  }

  getI64(address: number): number {
    const offset = address - this.address;
    return this.data.getInt32(offset + 4, true) * 0x1_0000_0000 + this.data.getUint32(offset, true);
  }
}

/** Scratch memory for the arguments of one call: one arena per thread, reset by `scratch()`. */
const SCRATCH_SIZE = 256 * 1024;
let scratchArena: Arena | undefined;

/** This thread's scratch arena, emptied. Not re-entrant: what one call put there is gone at the next. */
export function scratch(): Arena {
  scratchArena ??= Arena.map(SCRATCH_SIZE);
  scratchArena.reset();
  return scratchArena;
}
