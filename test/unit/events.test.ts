/** The event log: sequence numbers, reading from any of them, and what happens to a reader that is too slow. */
import { describe, expect, test } from 'vitest';
import { type CaissonEvent, type EventBody, EventLog } from '#src/supervisor/events.js';
import { errorOf } from './kit.js';

const BODY: EventBody = { type: 'created', action: 'instance-created' };

function logOf(count: number): EventLog {
  const log = new EventLog();
  for (let index = 0; index < count; index++) log.append('web', BODY);
  return log;
}

/** The sequence numbers of the next `count` events. */
async function take(reader: AsyncGenerator<CaissonEvent, void, void>, count: number): Promise<number[]> {
  const out: number[] = [];
  while (out.length < count) {
    const { value, done } = await reader.next();
    if (done === true || value === undefined) break;
    out.push(value.seq);
  }
  return out;
}

async function all(reader: AsyncIterable<CaissonEvent>): Promise<number[]> {
  const out: number[] = [];
  for await (const event of reader) out.push(event.seq);
  return out;
}

/** What a promise has come to after pending work is done; `waiting` if it has not settled. */
async function stateOf<T>(promise: Promise<T>): Promise<T | 'waiting'> {
  return Promise.race([promise, new Promise<'waiting'>(resolve => setTimeout(resolve, 20, 'waiting'))]);
}

describe('appending', () => {
  test('numbers events from 1 without gaps, over all containers, with a time', () => {
    const log = new EventLog();
    expect(log.seq).toBe(0);
    const before = Date.now();
    const events = ['a', 'b', 'a'].map(name => log.append(name, BODY));
    expect(events.map(({ seq, container, type }) => [seq, container, type])).toEqual([
      [1, 'a', 'created'],
      [2, 'b', 'created'],
      [3, 'a', 'created'],
    ]);
    for (const { time } of events) expect(time).toBeGreaterThanOrEqual(before);
    expect(log.seq).toBe(3);
  });

  test('tells each subscriber, until it ends its subscription', () => {
    const log = new EventLog();
    const heard: string[] = [];
    const endA = log.subscribe(({ seq }) => heard.push(`a${seq}`));
    log.subscribe(({ seq }) => heard.push(`b${seq}`));
    log.append('web', BODY);
    endA();
    endA();
    log.append('web', BODY);
    expect(heard).toEqual(['a1', 'b1', 'b2']);
  });

  test('a subscriber may end itself, or another, while it is told', () => {
    const log = new EventLog();
    const heard: string[] = [];
    const endA = log.subscribe(() => {
      heard.push('a');
      endA();
    });
    log.subscribe(() => heard.push('b'));
    log.append('web', BODY);
    log.append('web', BODY);
    expect(heard).toEqual(['a', 'b', 'b']);
  });

  test('a subscriber that appends gets its own event in turn', () => {
    const log = new EventLog();
    const heard: number[] = [];
    log.subscribe(({ seq }) => {
      heard.push(seq);
      if (seq === 1) log.append('web', BODY);
    });
    log.append('web', BODY);
    expect(heard.sort()).toEqual([1, 2]);
    expect(log.seq).toBe(2);
  });
});

describe('reading', () => {
  test('since 0: everything kept, in order', async () => {
    const log = logOf(5);
    expect(await take(log.read({ since: 0 }), 5)).toEqual([1, 2, 3, 4, 5]);
  });

  test('since n: what came after n, then each event as it comes', async () => {
    const log = logOf(5);
    const reader = log.read({ since: 3 });
    expect(await take(reader, 2)).toEqual([4, 5]);
    const next = reader.next();
    expect(await stateOf(next)).toBe('waiting');
    log.append('web', BODY);
    expect((await next).value?.seq).toBe(6);
  });

  test('without since: only new ones', async () => {
    const log = logOf(5);
    const reader = log.read();
    const next = reader.next();
    expect(await stateOf(next)).toBe('waiting');
    log.append('web', BODY);
    expect((await next).value?.seq).toBe(6);
  });

  test('many readers, each at its own pace, see the same', async () => {
    const log = logOf(3);
    const readers = [0, 1, 2, 3].map(since => log.read({ since }));
    const early = readers.map(reader => take(reader, 3));
    for (let index = 0; index < 10; index++) log.append('web', BODY);
    expect(await Promise.all(early)).toEqual([
      [1, 2, 3],
      [2, 3, 4],
      [3, 4, 5],
      [4, 5, 6],
    ]);
  });

  test('events that come between two reads are not lost', async () => {
    const log = new EventLog();
    const reader = log.read({ since: 0 });
    for (let round = 0; round < 50; round++) {
      log.append('web', BODY);
      log.append('web', BODY);
      expect(await take(reader, 2)).toEqual([2 * round + 1, 2 * round + 2]);
    }
  });

  test('a number from the future waits for it', async () => {
    const log = logOf(2);
    const reader = log.read({ since: 3 });
    const next = reader.next();
    log.append('web', BODY);
    expect(await stateOf(next)).toBe('waiting');
    log.append('web', BODY);
    expect((await next).value?.seq).toBe(4);
  });
});

describe('what is no longer kept', () => {
  test('at least the last 10 000 events are kept', async () => {
    const log = logOf(30_000);
    expect(await take(log.read({ since: 20_000 }), 3)).toEqual([20_001, 20_002, 20_003]);
  });

  test('asking for older ones is an error that names them, not a silent gap', async () => {
    const log = logOf(30_000);
    const failure = await log
      .read({ since: 5 })
      .next()
      .then(
        () => undefined,
        (error: unknown) => error,
      );
    const error = errorOf(() => {
      throw failure;
    });
    expect(error.code).toBe('CLOSED');
    expect(error.message).toMatch(/^events 6 to \d+ are no longer kept$/);
    expect(error.hint).toContain('current state');
  });

  test('a reader that falls behind gets that error instead of later events', async () => {
    const log = logOf(1);
    const reader = log.read({ since: 0 });
    expect(await take(reader, 1)).toEqual([1]);
    for (let index = 0; index < 30_000; index++) log.append('web', BODY);
    await expect(reader.next()).rejects.toMatchObject({ code: 'CLOSED' });
    expect(await reader.next()).toEqual({ value: undefined, done: true });
  });

  test('one that just keeps up does not', async () => {
    const log = logOf(1);
    const reader = log.read({ since: 0 });
    for (let seq = 1; seq <= 20_000; seq++) {
      expect((await reader.next()).value?.seq).toBe(seq);
      log.append('web', BODY);
    }
  });
});

describe('ending', () => {
  test('close: readers see what there is, then end', async () => {
    const log = logOf(3);
    const waiting = log.read();
    const next = waiting.next();
    const behind = all(log.read({ since: 0 }));
    log.close();
    expect(await next).toEqual({ value: undefined, done: true });
    expect(await behind).toEqual([1, 2, 3]);
    expect(await all(log.read({ since: 1 }))).toEqual([2, 3]);
  });

  test('close: subscribers hear no more', () => {
    const log = new EventLog();
    let heard = 0;
    log.subscribe(() => heard++);
    log.close();
    log.append('web', BODY);
    expect(heard).toBe(0);
  });

  test('abort ends a reader that waits, at once and without an error', async () => {
    const log = logOf(1);
    const controller = new AbortController();
    const reader = log.read({ signal: controller.signal });
    const next = reader.next();
    expect(await stateOf(next)).toBe('waiting');
    controller.abort();
    expect(await stateOf(next)).toEqual({ value: undefined, done: true });
  });

  test('abort ends one that has events left to read', async () => {
    const log = logOf(3);
    const controller = new AbortController();
    const reader = log.read({ since: 0, signal: controller.signal });
    expect(await take(reader, 1)).toEqual([1]);
    controller.abort();
    expect(await take(reader, 9)).toEqual([]);
  });

  test('aborted before it began: nothing', async () => {
    expect(await all(logOf(3).read({ since: 0, signal: AbortSignal.abort() }))).toEqual([]);
  });

  test('abort of one reader is none of another', async () => {
    const log = new EventLog();
    const controller = new AbortController();
    const aborted = log.read({ signal: controller.signal }).next();
    const other = log.read().next();
    controller.abort();
    await aborted;
    log.append('web', BODY);
    expect((await other).value?.seq).toBe(1);
  });

  test('break ends the loop, and the reader', async () => {
    const log = logOf(3);
    const reader = log.read({ since: 0 });
    for await (const event of reader) if (event.seq === 2) break;
    expect(await reader.next()).toEqual({ value: undefined, done: true });
  });
});
