/** Who may look into our memory, when several threads at a time need that nobody may. */
import { Worker } from 'node:worker_threads';
import { describe, expect, test } from 'vitest';
import { getDumpable, setDumpable } from '#src/syscalls/process.js';
import { holdUndumpable, releaseDumpable, shareDumpable } from '#src/workers/dumpable.js';

const MODULE = new URL('../../dist/workers/dumpable.js', import.meta.url).href;

/** A thread that holds it `rounds` times for a moment each. */
function thread(rounds: number): Promise<number> {
  const code = `
    const { parentPort } = require('node:worker_threads');
    import(${JSON.stringify(MODULE)}).then(({ holdUndumpable, releaseDumpable }) => {
      for (let round = 0; round < ${rounds}; round++) { holdUndumpable(); releaseDumpable(); }
      parentPort.postMessage('done');
    });`;
  const worker = new Worker(code, { eval: true });
  return new Promise((resolve, reject) => {
    worker.once('error', reject);
    worker.once('exit', resolve);
  });
}

describe('PR_SET_DUMPABLE', () => {
  test('stays off until the last of those who need that lets go of it', () => {
    setDumpable(1);
    holdUndumpable();
    holdUndumpable();
    expect(getDumpable()).toBe(0);
    releaseDumpable();
    expect(getDumpable()).toBe(0);
    releaseDumpable();
    expect(getDumpable()).toBe(1);
  });

  test('is what it was before: off stays off', () => {
    setDumpable(0);
    holdUndumpable();
    releaseDumpable();
    expect(getDumpable()).toBe(0);
    setDumpable(1);
  });

  test('is counted over all threads', async () => {
    shareDumpable();
    holdUndumpable();
    await Promise.all([thread(2000), thread(2000), thread(2000)]);
    expect(getDumpable()).toBe(0);
    releaseDumpable();
    expect(getDumpable()).toBe(1);
  });
});
