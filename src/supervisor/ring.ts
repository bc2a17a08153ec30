/**
 * The last bytes of a stream, by absolute offset. Readers hold an offset of their own, so a slow one costs nothing
 * and holds nobody up: what it missed, it is told. Memory grows with what is written, up to the capacity.
 */
const FIRST_SIZE = 1024;

export class Ring {
  private buffer: Buffer = Buffer.alloc(0);
  /** Absolute offset one past the newest byte. */
  end = 0;
  /** Nothing before this offset was ever here. */
  private floor = 0;

  constructor(readonly capacity: number) {}

  /** Absolute offset of the oldest byte that is still kept. */
  get start(): number {
    return Math.max(this.floor, this.end - this.buffer.length);
  }

  /** The next byte written is the one at `offset`: nothing before it is kept. To be called before the first write. */
  skipTo(offset: number): void {
    this.end = offset;
    this.floor = offset;
  }

  write(data: Uint8Array): void {
    this.grow(data.length);
    const size = this.buffer.length;
    const kept = data.length > size ? data.subarray(data.length - size) : data;
    this.end += data.length - kept.length;
    if (kept.length === 0) return;
    const at = this.end % size;
    const head = Math.min(kept.length, size - at);
    this.buffer.set(kept.subarray(0, head), at);
    this.buffer.set(kept.subarray(head), 0);
    this.end += kept.length;
  }

  /** Copies up to `limit` bytes from `offset` on; `lost` counts bytes between `offset` and the oldest kept one. */
  read(offset: number, limit = Number.POSITIVE_INFINITY): { data: Buffer; next: number; lost: number } {
    const from = Math.max(offset, this.start);
    const length = Math.max(0, Math.min(this.end - from, limit));
    const data = Buffer.allocUnsafe(length);
    const size = this.buffer.length;
    if (length > 0) {
      const at = from % size;
      const head = Math.min(length, size - at);
      this.buffer.copy(data, 0, at, at + head);
      this.buffer.copy(data, head, 0, length - head);
    }
    return { data, next: from + length, lost: from - offset };
  }

  /** Makes room for `more` bytes by doubling; the bytes move to where their offset puts them in the new size. */
  private grow(more: number): void {
    const size = this.buffer.length;
    const needed = this.end - this.floor + more;
    if (size === this.capacity || needed <= size) return;
    let wanted = Math.max(size, Math.min(FIRST_SIZE, this.capacity));
    while (wanted < this.capacity && wanted < needed) wanted *= 2;
    wanted = Math.min(wanted, this.capacity);
    if (wanted === size) return;
    const kept = this.read(this.start).data;
    const grown = Buffer.alloc(wanted);
    for (let index = 0; index < kept.length; index++) {
      const offset = this.end - kept.length + index;
      grown[offset % wanted] = kept[index] ?? 0;
    }
    this.buffer = grown;
  }
}
