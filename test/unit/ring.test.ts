/** The console's ring buffer (ENV-25) against a model that keeps every byte. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Ring } from '#src/supervisor/ring.js';

const bytes = (text: string): Buffer => Buffer.from(text);

describe('ENV-25 ring', () => {
  test('keeps the last bytes and tells what was lost', () => {
    const ring = new Ring(4);
    ring.write(bytes('abc'));
    expect(ring.read(0)).toEqual({ data: bytes('abc'), next: 3, lost: 0 });
    ring.write(bytes('def'));
    expect([ring.start, ring.end]).toEqual([2, 6]);
    expect(ring.read(0)).toEqual({ data: bytes('cdef'), next: 6, lost: 2 });
    expect(ring.read(4)).toEqual({ data: bytes('ef'), next: 6, lost: 0 });
  });

  test('one write larger than the whole ring leaves its last bytes', () => {
    const ring = new Ring(3);
    ring.write(bytes('abcdefgh'));
    expect(ring.read(0)).toEqual({ data: bytes('fgh'), next: 8, lost: 5 });
  });

  test('capacity 0 counts and keeps nothing', () => {
    const ring = new Ring(0);
    ring.write(bytes('abc'));
    ring.write(bytes(''));
    expect([ring.start, ring.end]).toEqual([3, 3]);
    expect(ring.read(0)).toEqual({ data: bytes(''), next: 3, lost: 3 });
  });

  test('a reader at the end gets nothing until there is more', () => {
    const ring = new Ring(8);
    expect(ring.read(0)).toEqual({ data: bytes(''), next: 0, lost: 0 });
    ring.write(bytes('xy'));
    expect(ring.read(2)).toEqual({ data: bytes(''), next: 2, lost: 0 });
    ring.write(bytes('z'));
    expect(ring.read(2)).toEqual({ data: bytes('z'), next: 3, lost: 0 });
  });

  test('what was read is a copy: later writes do not change it', () => {
    const ring = new Ring(4);
    ring.write(bytes('abcd'));
    const { data } = ring.read(0);
    ring.write(bytes('wxyz'));
    expect(data).toEqual(bytes('abcd'));
  });

  test('it does not keep hold of what it was given', () => {
    const ring = new Ring(8);
    const input = bytes('abcd');
    ring.write(input);
    input.fill(0);
    expect(ring.read(0).data).toEqual(bytes('abcd'));
  });
});

describe('against a model', () => {
  const operation = fc.oneof(
    fc.record({ kind: fc.constant('write' as const), size: fc.nat(40) }),
    fc.record({ kind: fc.constant('write' as const), size: fc.nat(6000) }),
    fc.record({ kind: fc.constant('read' as const), back: fc.nat(8000), limit: fc.option(fc.nat(3000)) }),
  );
  // Around the size at which it begins to grow by doubling, as well as tiny ones.
  const capacity = fc.oneof(fc.nat(9), fc.constantFrom(1023, 1024, 1025, 1536, 2047, 2048, 2049, 4096, 5000));

  test('any writes and reads', () => {
    fc.assert(
      fc.property(capacity, fc.array(operation, { maxLength: 25 }), (size, operations) => {
        const ring = new Ring(size);
        let written = Buffer.alloc(0);
        let seed = 1;
        for (const step of operations) {
          if (step.kind === 'write') {
            const data = Buffer.from(Array.from({ length: step.size }, () => (seed = (seed * 31 + 7) % 251)));
            ring.write(data);
            written = Buffer.concat([written, data]);
          } else {
            const offset = Math.max(0, written.length - step.back);
            const oldest = Math.max(0, written.length - size);
            const from = Math.max(offset, oldest);
            const wanted = written.subarray(from, step.limit === null ? undefined : from + step.limit);
            const got = step.limit === null ? ring.read(offset) : ring.read(offset, step.limit);
            expect(got.data.equals(wanted)).toBe(true);
            expect({ next: got.next, lost: got.lost }).toEqual({ next: from + wanted.length, lost: from - offset });
          }
          expect({ start: ring.start, end: ring.end }).toEqual({
            start: Math.max(0, written.length - size),
            end: written.length,
          });
        }
      }),
      { numRuns: 400 },
    );
  });

  test('a reader that follows by next gets every byte once, as long as it keeps up', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 64 }), fc.array(fc.nat(16), { maxLength: 30 }), (size, sizes) => {
        const ring = new Ring(size);
        let sent = '';
        let seen = '';
        let offset = 0;
        for (const [index, length] of sizes.entries()) {
          const text = String.fromCharCode(97 + (index % 26)).repeat(Math.min(length, size));
          ring.write(bytes(text));
          sent += text;
          const { data, next, lost } = ring.read(offset);
          expect(lost).toBe(0);
          seen += data.toString();
          offset = next;
        }
        expect(seen).toBe(sent);
      }),
    );
  });

  test('memory grows with what is written, not with the capacity', () => {
    const ring = new Ring(64 * 1024 * 1024);
    const before = process.memoryUsage().arrayBuffers;
    for (let index = 0; index < 100; index++) ring.write(bytes('0123456789'));
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(4 * 1024 * 1024);
    expect(ring.read(0).data).toHaveLength(1000);
  });
});
