/**
 * A thread that unpacks one archive and ends. Of its own, since that takes seconds to minutes: the pool's threads are
 * for starts.
 */
import { createHash } from 'node:crypto';
import {
  closeSync,
  constants,
  existsSync,
  fstatSync,
  fsyncSync,
  mkdirSync,
  openSync,
  renameSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { parentPort, workerData } from 'node:worker_threads';
import { asCaissonError, CaissonError } from '../../spec/errors.js';
import { AT, O } from '../../syscalls/abi/constants.js';
import { close, openat } from '../../syscalls/fs.js';
import { syncFileSystem } from '../../syscalls/metadata.js';
import { removeTree } from '../host/remove-tree.js';
import { openRegularFile } from '../regular-file.js';
import { prepareThread } from '../thread.js';
import type { UnpackAnswer, UnpackProgress, UnpackRequest } from '../unpacker.js';
import { compressionOf, contentOf, hashing, tarStream } from './input.js';
import { invalid, refuse } from './refuse.js';
import { type Unpacked, unpack } from './unpack.js';

const request = workerData as UnpackRequest;
const cancelled = new Int32Array(request.cancel);

function goOn(): void {
  if (Atomics.load(cancelled, 0) !== 0) throw new CaissonError('CANCELLED', 'unpacking was given up');
}

function openArchive(path: string): number {
  const file = openRegularFile(path, O.O_RDONLY);
  if (typeof file === 'number') return file;
  if (file.kind === 'missing')
    refuse('ARCHIVE_MISSING', 'it does not exist', 'give the path of a tar archive on this host', file.cause);
  refuse(
    'ARCHIVE_INVALID',
    'it is no regular file',
    'give the path of a tar archive; for a directory, use rootfs.path',
  );
}

const PROGRESS_MS = 100;

/** Tells now and then how far it is: the file is read twice. */
function reporter(stage: UnpackProgress['stage'], total: number): (bytes: number) => void {
  let done = 0;
  let next = 0;
  return bytes => {
    done += bytes;
    const time = performance.now();
    if (time < next) return;
    next = time + PROGRESS_MS;
    parentPort?.postMessage({ progress: { stage, done, total } } satisfies UnpackAnswer);
    goOn();
  };
}

async function digestOf(fd: number, size: number): Promise<string> {
  const hash = createHash('sha256');
  for await (const _ of contentOf(fd, hashing(hash, reporter('reading', size))));
  return hash.digest('hex');
}

/** What was unpacked is on the disk before it has its name: after a crash of the machine there is all of it, or none. */
function settle(staged: string, layer: string, layers: string, unpacked: Unpacked): void {
  const info = { version: 1, archive: request.archive, created: Date.now(), ...unpacked };
  writeFileSync(join(staged, 'layer.json'), `${JSON.stringify(info, null, 2)}\n`, { mode: 0o600 });
  const directory = openat(AT.AT_FDCWD, staged, O.O_RDONLY | O.O_DIRECTORY);
  try {
    syncFileSystem(directory);
  } finally {
    close(directory);
  }
  renameSync(staged, layer);
  const parent = openSync(layers, constants.O_RDONLY);
  try {
    fsyncSync(parent);
  } finally {
    closeSync(parent);
  }
}

async function makeLayer(fd: number, size: number, digest: string): Promise<Unpacked> {
  const { layers, limits } = request;
  const staged = join(layers, `.unfinished-${digest}`);
  mkdirSync(layers, { recursive: true, mode: 0o700 });
  if (existsSync(staged)) removeTree(staged);
  mkdirSync(join(staged, 'tree'), { recursive: true, mode: 0o755 });
  try {
    const hash = createHash('sha256');
    const content = contentOf(fd, hashing(hash, reporter('unpacking', size)));
    const unpacked = await unpack(tarStream(content, await compressionOf(fd)), join(staged, 'tree'), limits, goOn);
    if (hash.digest('hex') !== digest) invalid('it was changed while it was read');
    settle(staged, join(layers, digest), layers, unpacked);
    return unpacked;
  } catch (error) {
    // It has its name already where only that could not be synced.
    if (existsSync(staged)) removeTree(staged);
    throw error;
  }
}

async function run(): Promise<UnpackAnswer> {
  const fd = openArchive(request.archive);
  try {
    const { size } = fstatSync(fd);
    const digest = await digestOf(fd, size);
    if (existsSync(join(request.layers, digest))) return { digest, unpacked: null };
    return { digest, unpacked: await makeLayer(fd, size, digest) };
  } finally {
    close(fd);
  }
}

prepareThread();
void run()
  .catch((error: unknown): UnpackAnswer => {
    const { code, message, ...details } = asCaissonError(error).toJSON();
    const told = code === 'CANCELLED' || code === 'INTERNAL' ? message : `archive ${request.archive}: ${message}`;
    return { error: { code, message: told, ...details } };
  })
  .then(answer => parentPort?.postMessage(answer));
