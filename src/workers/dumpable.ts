/**
 * Whether others may look into our memory (PR_SET_DUMPABLE, prctl(2)) is one flag for all threads of the process, and
 * several of them may need it off at the same time: each while a child that shares our memory has a container's uid. So
 * they count themselves, in memory that all threads share, and the last one puts back what the first one found.
 */
import { getEnvironmentData, setEnvironmentData } from 'node:worker_threads';
import { getDumpable, setDumpable } from '../syscalls/process.js';

const KEY = 'caisson.dumpable';
const CELLS = { lock: 0, holders: 1, found: 2, count: 3 } as const;

/** To be called before worker threads are made: they get what is shared at their birth. */
export function shareDumpable(): void {
  if (getEnvironmentData(KEY) instanceof SharedArrayBuffer) return;
  setEnvironmentData(KEY, new SharedArrayBuffer(CELLS.count * Int32Array.BYTES_PER_ELEMENT));
}

let shared: Int32Array | undefined;

function cells(): Int32Array {
  if (shared === undefined) {
    shareDumpable();
    shared = new Int32Array(getEnvironmentData(KEY) as unknown as SharedArrayBuffer);
  }
  return shared;
}

/** The count and the flag change together. */
function exclusively(act: (cells: Int32Array) => void): void {
  const memory = cells();
  while (Atomics.compareExchange(memory, CELLS.lock, 0, 1) !== 0) Atomics.wait(memory, CELLS.lock, 1, 1);
  try {
    act(memory);
  } finally {
    Atomics.store(memory, CELLS.lock, 0);
    Atomics.notify(memory, CELLS.lock, 1);
  }
}

/** From now until the matching `releaseDumpable` nobody may look. Not on the main thread: it may wait. */
export function holdUndumpable(): void {
  exclusively(memory => {
    // 2, for root only, cannot be asked for; 0 is as strict.
    if (Atomics.add(memory, CELLS.holders, 1) === 0) Atomics.store(memory, CELLS.found, getDumpable() === 1 ? 1 : 0);
    setDumpable(0);
  });
}

export function releaseDumpable(): void {
  exclusively(memory => {
    if (Atomics.sub(memory, CELLS.holders, 1) === 1) setDumpable(Atomics.load(memory, CELLS.found));
  });
}
