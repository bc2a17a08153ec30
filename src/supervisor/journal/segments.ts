/** The files of the journal: numbered, each of a fixed size, full of zeros before anything is written to it. */
import { mkdir, open, readdir, readFile, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { FileMap } from '../../syscalls/file-map.js';
import { type Numbered, recordsIn } from './record.js';

const NAME = /^(\d{8})\.journal$/;

function nameOf(index: number): string {
  return `${String(index).padStart(8, '0')}.journal`;
}

export class Segments {
  constructor(
    private readonly dir: string,
    /** Bytes of each. */
    readonly size: number,
  ) {}

  /** Numbers of those that exist, oldest first; the directory is made when it is missing. */
  async list(): Promise<number[]> {
    await mkdir(this.dir, { recursive: true, mode: 0o700 });
    const names = await readdir(this.dir);
    return names
      .map(name => NAME.exec(name)?.[1])
      .filter(digits => digits !== undefined)
      .map(Number)
      .sort((a, b) => a - b);
  }

  path(index: number): string {
    return join(this.dir, nameOf(index));
  }

  /**
   * Makes one of full size and lays it into memory. Its whole size is really written, not left as a hole: a store into
   * mapped memory that the disk has no room for would be a SIGBUS. No descriptor stays open.
   */
  async map(index: number): Promise<FileMap> {
    const end = await open(this.path(index), 'a', 0o600);
    try {
      const { size } = await end.stat();
      if (size > this.size) await end.truncate(this.size);
      if (size < this.size) await end.appendFile(Buffer.alloc(this.size - size));
    } finally {
      await end.close();
    }
    const file = await open(this.path(index), 'r+');
    try {
      const map = FileMap.reserve(this.size);
      map.attach(file.fd);
      return map;
    } finally {
      await file.close();
    }
  }

  /** What was stored goes to the disk. */
  async sync(index: number): Promise<void> {
    const file = await open(this.path(index), 'r+');
    try {
      await file.datasync();
    } finally {
      await file.close();
    }
  }

  /** Nothing, when a newer one has displaced it meanwhile. */
  async bytes(index: number): Promise<Buffer> {
    return await readFile(this.path(index)).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT') throw error;
      return Buffer.alloc(0);
    });
  }

  /** The first record of one; undefined when it is empty. */
  async first(index: number): Promise<Numbered | undefined> {
    const { value } = recordsIn(await this.bytes(index)).next();
    return value ?? undefined;
  }

  /** Fine when it is gone. */
  async remove(index: number): Promise<void> {
    await unlink(this.path(index)).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT') throw error;
    });
  }
}
