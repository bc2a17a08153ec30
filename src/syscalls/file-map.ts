/**
 * Memory that is a file: what is stored in it survives the death of this process, without a system call. The address
 * range stays mapped for ever and only changes what is behind it, since an ArrayBuffer must not outlive its mapping.
 */
import { Arena } from './arena.js';
import { syscall } from './libc.js';

const PROT_READ_WRITE = 3;
const MAP_SHARED_FIXED = 0x01 | 0x10;
const MAP_PRIVATE_FIXED_ANONYMOUS = 0x02 | 0x10 | 0x20;

const free = new Map<number, Arena[]>();

export class FileMap {
  private constructor(private readonly arena: Arena) {}

  /** @param size bytes, a multiple of the page size. */
  static reserve(size: number): FileMap {
    return new FileMap(free.get(size)?.pop() ?? Arena.map(size));
  }

  get bytes(): Buffer {
    return this.arena.bytes;
  }

  /** From now on the memory is the file behind `fd`, which must have its whole size: a store beyond it is a SIGBUS. */
  attach(fd: number): void {
    syscall('mmap', this.arena.address, this.arena.size, PROT_READ_WRITE, MAP_SHARED_FIXED, fd, 0);
  }

  /** The file is let go of, and the memory kept for the next map of this size. */
  release(): void {
    const { address, size } = this.arena;
    syscall('mmap', address, size, PROT_READ_WRITE, MAP_PRIVATE_FIXED_ANONYMOUS, -1, 0);
    const arenas = free.get(size);
    if (arenas === undefined) free.set(size, [this.arena]);
    else arenas.push(this.arena);
  }
}
