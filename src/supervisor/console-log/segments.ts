/**
 * The files of a console's log: each is named by the absolute offset of its first byte, so that no other record is needed
 * that could disagree with them. A gap between two is what could not be written.
 */
import { lstat, mkdir, open, readdir, readlink, rename, symlink, unlink } from 'node:fs/promises';
import { basename, join } from 'node:path';

export interface Segment {
  readonly path: string;
  /** Absolute offset of its first byte. */
  readonly start: number;
  readonly size: number;
}

const NAME = /^(\d{16})\.log$/;
const DIRECTORY = 'console';
/** The newest of them, for people and their tools. */
const LINK = 'console.log';

function unlessGone(error: NodeJS.ErrnoException): undefined {
  if (error.code !== 'ENOENT') throw error;
}

export class Segments {
  readonly directory: string;

  /** @param container its directory. */
  constructor(private readonly container: string) {
    this.directory = join(container, DIRECTORY);
  }

  /** Oldest first; none before the first byte. */
  async list(): Promise<Segment[]> {
    const names = (await readdir(this.directory).catch(unlessGone)) ?? [];
    const found = await Promise.all(names.map(name => this.look(name)));
    return found.filter(segment => segment !== undefined).sort((a, b) => a.start - b.start);
  }

  pathOf(start: number): string {
    return join(this.directory, `${String(start).padStart(16, '0')}.log`);
  }

  async make(): Promise<void> {
    await mkdir(this.directory, { mode: 0o700 }).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'EEXIST') throw error;
    });
  }

  /** Only the newest stay. */
  async prune(kept: number): Promise<void> {
    const segments = await this.list();
    for (const { path } of segments.slice(0, Math.max(0, segments.length - kept))) await unlink(path).catch(unlessGone);
  }

  /** The link shows this one. */
  async show(path: string): Promise<void> {
    const link = join(this.container, LINK);
    const target = join(DIRECTORY, basename(path));
    if ((await readlink(link).catch(() => undefined)) === target) return;
    const fresh = `${link}.new`;
    await unlink(fresh).catch(unlessGone);
    await symlink(target, fresh);
    try {
      await rename(fresh, link);
    } catch (error) {
      await unlink(fresh);
      throw error;
    }
  }

  private async look(name: string): Promise<Segment | undefined> {
    const start = NAME.exec(name)?.[1];
    if (start === undefined) return undefined;
    const path = join(this.directory, name);
    const found = await lstat(path).catch(unlessGone);
    return found?.isFile() === true ? { path, start: Number(start), size: found.size } : undefined;
  }
}

/** Absolute offset one past the newest byte, and up to `most` bytes before it. */
export async function lastBytes(segments: Segments, most: number): Promise<{ end: number; data: Buffer }> {
  const newest = (await segments.list()).at(-1);
  if (newest === undefined) return { end: 0, data: Buffer.alloc(0) };
  const length = Math.min(most, newest.size);
  const file = await open(newest.path, 'r');
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, newest.size - length);
    return { end: newest.start + newest.size, data: buffer.subarray(0, bytesRead) };
  } finally {
    await file.close();
  }
}
