/** What is kept of calls that may be made again has its bounds. */
import { expect, test } from 'vitest';
import { type Answer, Idempotency } from '#src/api/idempotency.js';

const answer = (length: number) => (): Promise<Answer> =>
  Promise.resolve({ status: 200, headers: {}, text: 'x'.repeat(length) });

test('large answers are kept as long as there is room for them, the oldest being dropped; small ones stay', async () => {
  const kept = new Idempotency();
  const MIB = 1024 * 1024;
  let carriedOut = 0;
  const ask = (key: string, length: number) =>
    kept.once('uid 0', key, ['POST', key], () => {
      carriedOut++;
      return answer(length)();
    });
  for (let number = 0; number < 5; number++) await ask(`large-${number}`, 20 * MIB);
  await ask('small', 10);
  expect(carriedOut).toBe(6);
  await ask('large-4', 20 * MIB);
  await ask('large-3', 20 * MIB);
  await ask('small', 10);
  expect(carriedOut).toBe(6);
  await ask('large-0', 20 * MIB);
  expect(carriedOut).toBe(7);
  // A single one that is larger than all room is given, and not kept.
  expect((await ask('huge', 65 * MIB)).text?.length).toBe(65 * MIB);
  await ask('huge', 1);
  expect(carriedOut).toBe(9);
  const internals = kept as unknown as { size: number; entries: Map<string, { size: number }> };
  expect(internals.size).toBe([...internals.entries.values()].reduce((sum, { size }) => sum + size, 0));
});

test('what failed by our fault, or by an error, is tried again and leaves nothing', async () => {
  const kept = new Idempotency();
  const failed = (): Promise<Answer> => Promise.resolve({ status: 500, headers: {}, text: 'no' });
  expect((await kept.once('uid 0', 'k', ['a'], failed)).status).toBe(500);
  await expect(kept.once('uid 0', 'k', ['a'], () => Promise.reject(new Error('no')))).rejects.toThrow('no');
  expect((await kept.once('uid 0', 'k', ['a'], answer(2))).text).toBe('xx');
  await expect(kept.once('uid 0', 'k', ['b'], answer(2))).rejects.toMatchObject({ code: 'IDEMPOTENCY_CONFLICT' });
});
