/** Host id ranges (HST-53): each container has one of its own. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { IdMap } from '#src/spec/container.js';
import { DEFAULT_ID_POOL, IDS_PER_CONTAINER, IdAllocator } from '#src/supervisor/ids.js';
import { expectError } from './kit.js';

const poolOf = (ranges: number, rest = 0) => ({ first: 1_000_000, size: ranges * IDS_PER_CONTAINER + rest });
const overlap = (a: IdMap, b: IdMap): boolean => a.first < b.first + b.count && b.first < a.first + a.count;

describe('HST-53 id ranges', () => {
  test("the default pool is Incus' and has room for 15 258 containers of 65 536 ids", () => {
    expect(DEFAULT_ID_POOL).toEqual({ first: 1_000_000, size: 1_000_000_000 });
    expect(Math.floor(DEFAULT_ID_POOL.size / IDS_PER_CONTAINER)).toBe(15_258);
    expect(new IdAllocator(DEFAULT_ID_POOL).allocate()).toEqual({ first: 1_000_000, count: 65_536 });
  });

  test('allocating is not claiming: a start that fails before it is recorded leaves nothing taken', () => {
    const ids = new IdAllocator(poolOf(2));
    expect(ids.allocate()).toEqual(ids.allocate());
  });

  test('a released range is the next one given out', () => {
    const ids = new IdAllocator(poolOf(3));
    const ranges = ['a', 'b', 'c'].map(owner => {
      const range = ids.allocate();
      ids.claim(owner, range);
      return range;
    });
    ids.release('b');
    expect(ids.allocate()).toEqual(ranges[1]);
    ids.release('never seen');
    expect(ids.allocate()).toEqual(ranges[1]);
  });

  test('exhaustion is told, with the number of ranges and a way out', () => {
    const ids = new IdAllocator(poolOf(2, IDS_PER_CONTAINER - 1));
    for (const owner of ['a', 'b']) ids.claim(owner, ids.allocate());
    const error = expectError(() => ids.allocate(), 'ID_RANGE_EXHAUSTED');
    expect(error.message).toBe('all 2 id ranges of the pool are taken');
    expect(error.hint).toContain('idPool');
    ids.release('a');
    expect(ids.allocate().first).toBe(1_000_000);
  });

  test('a pool smaller than one range gives nothing', () => {
    expectError(() => new IdAllocator({ first: 1, size: IDS_PER_CONTAINER - 1 }).allocate(), 'ID_RANGE_EXHAUSTED');
  });

  test('ranges chosen by hand are respected, wherever they lie and however long they are', () => {
    const ids = new IdAllocator(poolOf(3));
    ids.claim('below', { first: 5, count: 100 });
    ids.claim('astride', { first: 999_990, count: 20 });
    expect(ids.allocate()).toEqual({ first: 1_000_010, count: 65_536 });
    ids.claim('inside', { first: 1_000_010 + 65_536 + 1, count: 1 });
    ids.claim('auto', ids.allocate());
    expect(ids.allocate().first).toBe(1_000_010 + 65_536 + 2);
  });
});

type Command =
  | { readonly kind: 'allocate' | 'release'; readonly owner: number }
  | { readonly kind: 'claim'; readonly owner: number; readonly range: IdMap };

describe('against a model', () => {
  const pool = poolOf(3, 1000);
  const owner = fc.nat(9);
  const command: fc.Arbitrary<Command> = fc.oneof(
    { weight: 3, arbitrary: fc.record({ kind: fc.constant('allocate' as const), owner }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant('release' as const), owner }) },
    {
      weight: 1,
      arbitrary: fc.record({
        kind: fc.constant('claim' as const),
        owner,
        range: fc.record({
          first: fc.integer({ min: pool.first - 100_000, max: pool.first + pool.size }),
          count: fc.integer({ min: 1, max: 150_000 }),
        }),
      }),
    },
  );

  /** The lowest start at which a whole range fits beside the taken ones; undefined when there is none. */
  function lowestFree(taken: readonly IdMap[]): number | undefined {
    const starts = [pool.first, ...taken.map(({ first, count }) => first + count)].filter(first => first >= pool.first);
    return starts
      .sort((a, b) => a - b)
      .find(first => {
        const range = { first, count: IDS_PER_CONTAINER };
        return first + IDS_PER_CONTAINER <= pool.first + pool.size && !taken.some(other => overlap(range, other));
      });
  }

  test('what is given out never overlaps what is taken, lies in the pool, is the lowest, and only a full pool refuses', () => {
    let refusals = 0;
    fc.assert(
      fc.property(fc.array(command, { minLength: 10, maxLength: 40 }), commands => {
        const ids = new IdAllocator(pool);
        const model = new Map<string, IdMap>();
        for (const step of commands) {
          const name = String(step.owner);
          if (step.kind === 'release') {
            ids.release(name);
            model.delete(name);
          } else if (step.kind === 'claim') {
            ids.claim(name, step.range);
            model.set(name, step.range);
          } else {
            const expected = lowestFree([...model.values()]);
            if (expected === undefined) {
              refusals++;
              expectError(() => ids.allocate(), 'ID_RANGE_EXHAUSTED');
              continue;
            }
            const range = ids.allocate();
            expect(range).toEqual({ first: expected, count: IDS_PER_CONTAINER });
            ids.claim(name, range);
            model.set(name, range);
          }
        }
      }),
      { numRuns: 500 },
    );
    expect(refusals).toBeGreaterThan(0);
  });
});
