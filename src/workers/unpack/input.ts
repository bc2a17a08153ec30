/** The archive's file: what is in it, and the tar stream that comes out of it. */
import { spawn } from 'node:child_process';
import type { Hash } from 'node:crypto';
import { read } from 'node:fs';
import { Readable } from 'node:stream';
import { promisify } from 'node:util';
import { createGunzip } from 'node:zlib';
import { invalid, refuse } from './refuse.js';

const CHUNK = 256 * 1024;
const readInto = promisify(read);

/** Every byte of an open file, from its beginning on; `seen` is told each piece. */
export async function* contentOf(fd: number, seen: (chunk: Buffer) => void): AsyncGenerator<Buffer, void, void> {
  for (let position = 0; ; ) {
    // A new one each time: those who decompress may still hold the last.
    const buffer = Buffer.allocUnsafe(CHUNK);
    const { bytesRead } = await readInto(fd, buffer, 0, CHUNK, position);
    if (bytesRead === 0) return;
    position += bytesRead;
    const chunk = buffer.subarray(0, bytesRead);
    seen(chunk);
    yield chunk;
  }
}

export const hashing =
  (hash: Hash, also: (bytes: number) => void = () => undefined) =>
  (chunk: Buffer): void => {
    hash.update(chunk);
    also(chunk.length);
  };

type Compression = 'gzip' | 'xz' | 'zstd';

/** By what it begins with: a name proves nothing. */
const MAGIC: readonly (readonly [hex: string, compression: Compression])[] = [
  ['1f8b', 'gzip'],
  ['fd377a585a00', 'xz'],
  ['28b52ffd', 'zstd'],
];
const FOREIGN: readonly (readonly [hex: string, what: string])[] = [
  ['425a68', 'compressed with bzip2'],
  ['04224d18', 'compressed with lz4'],
  ['1f9d', 'compressed with compress'],
  ['504b0304', 'a zip archive'],
  ['68737173', 'a squashfs image'],
];

/** @returns null for a file that is not compressed. @throws CaissonError ARCHIVE_UNSUPPORTED */
export async function compressionOf(fd: number): Promise<Compression | null> {
  const { buffer, bytesRead } = await readInto(fd, Buffer.alloc(8), 0, 8, 0);
  const beginning = buffer.subarray(0, bytesRead).toString('hex');
  const foreign = FOREIGN.find(([hex]) => beginning.startsWith(hex));
  if (foreign !== undefined)
    refuse('ARCHIVE_UNSUPPORTED', `it is ${foreign[1]}`, 'give a .tar, or one compressed with gzip, xz or zstd');
  return MAGIC.find(([hex]) => beginning.startsWith(hex))?.[1] ?? null;
}

/** Node has no xz, and no zstd in every version. Both tools' memory is limited. */
const TOOLS = {
  xz: ['xz', '--decompress', '--stdout', '--memlimit-decompress=1GiB'],
  zstd: ['zstd', '--decompress', '--stdout', '--quiet', '--memory=1024MB'],
} as const;
const NOBODY = 65_534;

/** The tar stream in `content`. Decompressing is done by nobody: what is decompressed is a stranger's. */
export async function* tarStream(
  content: AsyncGenerator<Buffer, void, void>,
  compression: Compression | null,
): AsyncGenerator<Buffer, void, void> {
  if (compression === null) yield* content;
  else if (compression === 'gzip') yield* gunzip(content);
  else yield* throughTool(content, compression);
}

async function* gunzip(content: AsyncGenerator<Buffer, void, void>): AsyncGenerator<Buffer, void, void> {
  const input = Readable.from(content, { objectMode: false });
  const output = createGunzip({ chunkSize: CHUNK });
  input.on('error', error => output.destroy(error));
  try {
    yield* input.pipe(output) as AsyncIterable<Buffer>;
  } catch (error) {
    if (String((error as NodeJS.ErrnoException).code).startsWith('Z_')) invalid('what gzip made is damaged', error);
    throw error;
  } finally {
    input.destroy();
    output.destroy();
  }
}

async function* throughTool(
  content: AsyncGenerator<Buffer, void, void>,
  compression: keyof typeof TOOLS,
): AsyncGenerator<Buffer, void, void> {
  const [program, ...args] = TOOLS[compression];
  const root = process.getuid?.() === 0;
  const child = spawn(program, args, {
    stdio: ['pipe', 'pipe', 'pipe'],
    cwd: '/',
    env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C' },
    ...(root ? { uid: NOBODY, gid: NOBODY } : {}),
  });
  let told = '';
  child.stderr.on('data', (data: Buffer) => {
    told = `${told}${data.toString()}`.slice(-500);
  });
  const ended = new Promise<{ code: number | null; error?: NodeJS.ErrnoException }>(resolve => {
    child.once('error', error => resolve({ code: null, error }));
    child.once('close', code => resolve({ code }));
  });
  const input = Readable.from(content, { objectMode: false });
  // It ends before it has read all: its exit code says why.
  child.stdin.on('error', () => undefined);
  let failed: unknown;
  input.on('error', error => {
    failed = error;
    child.kill('SIGKILL');
  });
  input.pipe(child.stdin);
  let broken: unknown;
  try {
    try {
      yield* child.stdout as AsyncIterable<Buffer>;
    } catch (error) {
      broken = error;
    }
    const { code, error } = await ended;
    if (failed !== undefined) throw failed;
    if (error?.code === 'ENOENT') {
      const hint = `install ${compression === 'xz' ? 'xz-utils' : 'zstd'}`;
      refuse('ARCHIVE_UNSUPPORTED', `it is compressed with ${compression}: this host has no ${program}`, hint, error);
    }
    if (error !== undefined) throw error;
    if (code !== 0) invalid(`what ${program} made is damaged: ${told.trim()}`);
    if (broken !== undefined) throw broken;
  } finally {
    input.destroy();
    child.kill('SIGKILL');
    await ended;
  }
}
