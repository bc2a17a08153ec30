/** A stream taken in pieces of the reader's choice. */

/** The stream has ended before its time. */
export class EndOfStream extends Error {}

export class ByteReader {
  private chunk: Buffer = Buffer.alloc(0);
  private at = 0;
  /** Bytes taken so far. */
  position = 0;

  constructor(private readonly source: AsyncIterator<Buffer, void>) {}

  /** Exactly `length` bytes, a view valid until the next call. @throws EndOfStream */
  async take(length: number): Promise<Buffer> {
    if (this.chunk.length - this.at >= length) return this.advance(length);
    const parts: Buffer[] = [];
    let missing = length;
    while (missing > 0) {
      const part = await this.some(missing);
      if (part === undefined) throw new EndOfStream(`${missing} bytes are missing`);
      parts.push(part);
      missing -= part.length;
    }
    return Buffer.concat(parts);
  }

  /** Between 1 and `most` bytes, as they come; undefined at the end. */
  async some(most: number): Promise<Buffer | undefined> {
    while (this.at === this.chunk.length) {
      const next = await this.source.next();
      if (next.done === true) return undefined;
      this.chunk = next.value;
      this.at = 0;
    }
    return this.advance(Math.min(most, this.chunk.length - this.at));
  }

  private advance(length: number): Buffer {
    const part = this.chunk.subarray(this.at, this.at + length);
    this.at += length;
    this.position += length;
    return part;
  }
}
