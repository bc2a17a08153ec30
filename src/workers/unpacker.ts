/** Unpacking an archive in a thread of its own. */
import { Worker } from 'node:worker_threads';
import { CaissonError, type ErrorJSON } from '../spec/errors.js';
import type { Unpacked, UnpackLimits } from './unpack/unpack.js';

export type { Unpacked, UnpackLimits } from './unpack/unpack.js';

export interface UnpackRequest {
  readonly archive: string;
  /** Directory of all layers. */
  readonly layers: string;
  readonly limits: UnpackLimits;
  /** Its first 32-bit word is set to give it up. */
  readonly cancel: SharedArrayBuffer;
}

export interface UnpackProgress {
  /** The file is read twice: to know it, and to unpack it if it is not known. */
  readonly stage: 'reading' | 'unpacking';
  /** Bytes of the file. */
  readonly done: number;
  readonly total: number;
}

export interface Layer {
  /** SHA-256 of the archive's file, in hex: the name of the layer. */
  readonly digest: string;
  /** Null: it was there already. */
  readonly unpacked: Unpacked | null;
}

export type UnpackAnswer = Layer | { readonly error: ErrorJSON } | { readonly progress: UnpackProgress };

export interface UnpackOptions {
  /** Gives it up. */
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: UnpackProgress) => void) | undefined;
}

/** @throws CaissonError ARCHIVE_…, CANCELLED */
export async function unpackLayer(
  request: Omit<UnpackRequest, 'cancel'>,
  { signal, onProgress }: UnpackOptions,
): Promise<Layer> {
  const cancel = new SharedArrayBuffer(4);
  const workerData: UnpackRequest = { ...request, cancel };
  // It is never ended from here: a thread ended while it loads koffi takes the process with it.
  const worker = new Worker(new URL('./unpack/thread.js', import.meta.url), { workerData });
  const abort = (): void => void Atomics.store(new Int32Array(cancel), 0, 1);
  if (signal?.aborted === true) abort();
  signal?.addEventListener('abort', abort);
  try {
    return await new Promise<Layer>((resolve, reject) => {
      let answer: Layer | CaissonError | undefined;
      worker.on('message', (message: UnpackAnswer) => {
        if ('progress' in message) onProgress?.(message.progress);
        else answer = 'error' in message ? CaissonError.from(message.error) : message;
      });
      worker.once('error', reject);
      // Not before its end: until then it holds descriptors.
      worker.once('exit', code => {
        if (answer === undefined) reject(new CaissonError('INTERNAL', `unpacking ended with ${code}`));
        else if (answer instanceof Error) reject(answer);
        else resolve(answer);
      });
    });
  } finally {
    signal?.removeEventListener('abort', abort);
  }
}
