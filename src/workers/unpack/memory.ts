import { refuse } from './refuse.js';

/** A hundred times what a distribution has. */
const MAX_BYTES = 64 * 1024 * 1024;

/** Counts what has to be known of an archive until its end: a few compressed bytes can stand for gigabytes of it. */
export class Memory {
  private used = 0;

  /** @throws CaissonError ARCHIVE_TOO_LARGE */
  keep(bytes: number): void {
    this.used += bytes;
    if (this.used > MAX_BYTES)
      refuse(
        'ARCHIVE_TOO_LARGE',
        `the paths and ACLs of its directories and device nodes have more than ${MAX_BYTES} bytes`,
        'no distribution comes near: look with tar -tvf FILE what it holds',
      );
  }
}
