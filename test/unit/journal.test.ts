/** The journal of events: what survives which cut, rotation, and reading without gap or repeat. */
import { mkdir, mkdtemp, readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { CaissonError } from '#src/spec/errors.js';
import { type CaissonEvent, type EventBody, EventLog } from '#src/supervisor/events.js';
import { crc32, crc32ByTable } from '#src/supervisor/journal/crc32.js';
import { Journal, type JournalOptions } from '#src/supervisor/journal/journal.js';

const SMALL = { segmentBytes: 4096, segments: 4 } as const;

let dir: string;
const failures: CaissonError[] = [];
beforeEach(async () => {
  dir = await mkdtemp('/var/tmp/caisson-journal-');
  failures.length = 0;
});
afterEach(async () => {
  await rm(dir, { recursive: true, force: true });
  expect(failures).toEqual([]);
});

function open(options: JournalOptions = SMALL): Promise<Journal<CaissonEvent>> {
  return Journal.open<CaissonEvent>(dir, options, error => failures.push(error));
}

function body(message: string): EventBody {
  return { type: 'notice', code: 'adopted', message };
}

function event(seq: number, message = `number ${seq}`): CaissonEvent {
  return { seq, time: 1_700_000_000_000 + seq, container: 'web', ...body(message) };
}

/** Lets a file that is being prepared become ready. */
async function settle(): Promise<void> {
  await new Promise(resolve => setTimeout(resolve, 20));
}

async function write(count: number, options?: JournalOptions): Promise<void> {
  const journal = await open(options);
  for (let index = 0; index < count; index++) {
    journal.append(event(journal.seq + 1));
    if (index % 10 === 9) await settle();
  }
  await journal.close();
}

async function readAll(journal: Journal<CaissonEvent>, from: number): Promise<number[]> {
  const seen: number[] = [];
  let next = from;
  while (next <= journal.seq) {
    const batch = await journal.read(next);
    seen.push(...batch.map(({ seq }) => seq));
    next = (seen.at(-1) ?? next) + 1;
  }
  return seen;
}

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from + 1 }, (_, index) => from + index);
}

describe('records', () => {
  test('come back as they were, whatever a payload puts into them', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.string({ unit: 'binary', maxLength: 200 }), { minLength: 1, maxLength: 10 }),
        async texts => {
          await rm(dir, { recursive: true, force: true });
          const journal = await open();
          const events = texts.map((text, index) => event(index + 1, text));
          for (const each of events) journal.append(each);
          expect(await journal.read(1)).toEqual(events);
          await journal.close();
        },
      ),
      { numRuns: 50 },
    );
  });

  test('one checksum with and without the built-in function', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), bytes => crc32(bytes) === crc32ByTable(bytes)));
    expect(crc32ByTable(Buffer.from('123456789'))).toBe(0xcbf43926);
  });

  test('one that no file has room for keeps its number and its subject', async () => {
    const journal = await open();
    journal.append(event(1, 'x'.repeat(5000)));
    journal.append(event(2));
    const [first, second] = await journal.read(1);
    expect(first).toMatchObject({ seq: 1, container: 'web', type: 'notice', code: 'event-too-large' });
    expect(second).toEqual(event(2));
    await journal.close();
  });
});

describe('after a crash', () => {
  test('what was appended is in the file at once, before anything is flushed or closed', async () => {
    const journal = await open();
    for (const seq of range(1, 5)) journal.append(event(seq));
    // Another reader of the file, as the next supervisor would be after a SIGKILL.
    const text = (await readFile(join(dir, '00000001.journal'))).toString('latin1');
    for (const seq of range(1, 5)) expect(text).toContain(`"seq":${seq},`);
    await journal.close();
  });

  test('a file cut at any byte of its last records keeps every whole record, and goes on after them', async () => {
    await write(8);
    const path = join(dir, '00000001.journal');
    const whole = await readFile(path);
    const ends: number[] = [];
    for (let at = whole.indexOf(10); at !== -1; at = whole.indexOf(10, at + 1)) ends.push(at + 1);
    expect(ends).toHaveLength(8);
    const last = ends[7] ?? 0;
    for (let cut = ends[4] ?? 0; cut <= last + 3; cut++) {
      await writeFile(path, whole.subarray(0, cut));
      const kept = ends.filter(end => end <= cut).length;
      const journal = await open();
      expect(journal.seq, `cut at ${cut}`).toBe(kept);
      journal.append(event(kept + 1, 'after the cut'));
      expect(await readAll(journal, 1)).toEqual(range(1, kept + 1));
      await journal.close();
      const again = await open();
      expect(again.seq).toBe(kept + 1);
      await again.close();
    }
  });

  test('zeros or garbage in place of the last bytes are no record', async () => {
    await write(3);
    const path = join(dir, '00000001.journal');
    const whole = await readFile(path);
    const end = whole.lastIndexOf(10) + 1;
    for (const garbage of [0x00, 0x0a, 0x7b, 0xff]) {
      for (let cut = end - 30; cut < end - 1; cut++) {
        const damaged = Buffer.from(whole);
        damaged.fill(garbage, cut, end + 40);
        await writeFile(path, damaged);
        const journal = await open();
        expect(journal.seq, `${garbage} from ${cut}`).toBe(2);
        expect(await readAll(journal, 1)).toEqual([1, 2]);
        await journal.close();
      }
    }
  });

  test('a new file that nothing was written to yet does not restart the numbers', async () => {
    await write(12);
    await writeFile(join(dir, '00000002.journal'), Buffer.alloc(0));
    const journal = await open();
    expect(journal.seq).toBe(12);
    journal.append(event(13));
    expect(await readAll(journal, 1)).toEqual(range(1, 13));
    await journal.close();
  });

  test('a damaged record in the middle is told, and what follows it can be read', async () => {
    await write(5);
    const path = join(dir, '00000001.journal');
    const bytes = await readFile(path);
    bytes.write('X', bytes.indexOf('number 3'));
    await writeFile(path, bytes);
    const journal = await open();
    expect((await journal.read(1)).map(({ seq }) => seq)).toEqual([1, 2]);
    await expect(journal.read(3)).rejects.toMatchObject({ code: 'STATE_INVALID' });
    expect((await journal.read(4)).map(({ seq }) => seq)).toEqual([4, 5]);
    await journal.close();
  });
});

describe('rotation', () => {
  test('keeps as many files as it is told, whole, and every event in them', async () => {
    await write(400);
    const names = (await readdir(dir)).sort();
    expect(names.length).toBeLessThanOrEqual(SMALL.segments + 1);
    expect(names[0]).not.toBe('00000001.journal');
    for (const name of names) expect((await stat(join(dir, name))).size).toBe(SMALL.segmentBytes);
    const journal = await open();
    expect(journal.seq).toBe(400);
    await expect(journal.read(1)).rejects.toMatchObject({ code: 'CLOSED' });
    const oldest = Number(/"seq":(\d+),/.exec(await readFile(join(dir, names[0] ?? ''), 'latin1'))?.[1]);
    expect(oldest).toBeGreaterThan(200);
    expect(oldest).toBeLessThan(400);
    expect(await readAll(journal, oldest)).toEqual(range(oldest, 400));
    await journal.close();
  });

  test('a burst faster than files can be made loses nothing', async () => {
    const journal = await open({ segmentBytes: 4096, segments: 100 });
    for (const seq of range(1, 500)) journal.append(event(seq));
    await journal.close();
    const again = await open({ segmentBytes: 4096, segments: 100 });
    expect(await readAll(again, 1)).toEqual(range(1, 500));
    await again.close();
  });

  test('a file of another size, of an earlier setting, goes on at the set one', async () => {
    await write(30, { segmentBytes: 64 * 1024, segments: 4 });
    await truncate(join(dir, '00000001.journal'), 16 * 1024);
    const journal = await open({ segmentBytes: 8192, segments: 4 });
    expect(journal.seq).toBe(30);
    expect(await readAll(journal, 1)).toEqual(range(1, 30));
    await journal.close();
  });
});

test('when no new file can be made, that is told once, and events go on', async () => {
  const journal = await open();
  await mkdir(join(dir, '00000002.journal'));
  const log = new EventLog(journal);
  for (let index = 0; index < 200; index++) log.append('web', body('x'));
  await vi.waitFor(() => expect(failures).not.toEqual([]), 10_000);
  for (let index = 0; index < 200; index++) log.append('web', body('x'));
  expect(failures.splice(0)).toMatchObject([{ code: 'STATE_INVALID', message: expect.stringContaining('EISDIR') }]);
  expect(log.seq).toBe(400);
  await journal.close();
});

describe('the event log', () => {
  test('gives a late reader what memory no longer has, then what comes, without gap or repeat', async () => {
    const journal = await open({ segmentBytes: 64 * 1024, segments: 16 });
    const log = new EventLog(journal);
    for (let index = 0; index < 2500; index++) {
      log.append('web', body('x'));
      if (index % 200 === 0) await settle();
    }
    const stop = new AbortController();
    const seen: number[] = [];
    for await (const { seq } of log.read({ since: 3, signal: stop.signal })) {
      seen.push(seq);
      if (seq === 2000) log.append('web', body('while it reads'));
      if (seq === 2501) stop.abort();
    }
    expect(seen).toEqual(range(4, 2501));
    await journal.close();
  });

  test('of the next supervisor goes on with the numbers, and remembers the last one', async () => {
    const first = await open();
    const log = new EventLog(first);
    for (let index = 0; index < 7; index++) log.append('web', body('first life'));
    // Not closed: as after a SIGKILL.
    const second = await open();
    const next = new EventLog(second);
    expect(next.seq).toBe(7);
    next.append('web', body('second life'));
    const seen: number[] = [];
    for await (const { seq } of next.read({ since: 5 })) {
      seen.push(seq);
      if (seq === 8) break;
    }
    expect(seen).toEqual([6, 7, 8]);
    await second.close();
    await first.close();
  });
});
