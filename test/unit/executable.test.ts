/** ENV-07: what the kernel makes of a program's first bytes, and who runs it. */
import { readFileSync } from 'node:fs';
import process from 'node:process';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { matchesBinfmt, parseBinfmt } from '#src/spec/binfmt.js';
import { type Elf, EXECUTABLE_HEAD, foreignMachine, loaderPlace, parseExecutable } from '#src/spec/executable.js';

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

describe('scripts', () => {
  test.each([
    ['#!/bin/sh\necho', '/bin/sh'],
    ['#! \t/usr/bin/env bash\n', '/usr/bin/env'],
    ['#!relative', 'relative'],
    ['#!/bin/sh\0/evil', '/bin/sh'],
  ])('%j is run by %s', (text, interpreter) => {
    expect(parseExecutable(bytes(text))).toEqual({ kind: 'script', interpreter });
  });

  test.each(['#!', '#!   \n/bin/sh', '# !/bin/sh', '', 'neither'])('%j is no script', text => {
    expect(parseExecutable(bytes(text))).toEqual({ kind: 'unknown' });
  });

  test('the line ends where the kernel stops to read', () => {
    const found = parseExecutable(bytes(`#!/${'a'.repeat(2 * EXECUTABLE_HEAD)}`));
    expect(found.kind === 'script' && found.interpreter).toHaveLength(EXECUTABLE_HEAD - 2);
  });
});

interface Fields {
  readonly wide?: boolean;
  readonly little?: boolean;
  readonly machine?: number;
  readonly offset?: number;
  readonly size?: number;
  readonly count?: number;
}

function header({
  wide = true,
  little = true,
  machine = 62,
  offset = 64,
  count = 1,
  ...more
}: Fields = {}): Uint8Array {
  const { size = wide ? 56 : 32 } = more;
  const head = new Uint8Array(EXECUTABLE_HEAD);
  const view = new DataView(head.buffer);
  head.set([0x7f, 0x45, 0x4c, 0x46, wide ? 2 : 1, little ? 1 : 2, 1]);
  view.setUint16(18, machine, little);
  if (wide) view.setBigUint64(32, BigInt(offset), little);
  else view.setUint32(28, offset, little);
  view.setUint16(wide ? 54 : 42, size, little);
  view.setUint16(wide ? 56 : 44, count, little);
  return head;
}

const elf = (options: Fields = {}): Elf => {
  const found = parseExecutable(header(options));
  if (found.kind !== 'elf') throw new Error(found.kind);
  return found;
};

describe('ELF', () => {
  test("this very program: its loader is what the file says at that place, and the machine is the host's", () => {
    const file = readFileSync(process.execPath);
    const found = parseExecutable(file.subarray(0, EXECUTABLE_HEAD));
    if (found.kind !== 'elf' || found.headers === undefined) throw new Error('node is no ELF program');
    const { offset, size, count } = found.headers;
    const place = loaderPlace(found, file.subarray(offset, offset + size * count));
    if (place === undefined) throw new Error('node has no loader');
    expect(file.toString('latin1', place.offset, place.offset + place.length)).toMatch(/^\/lib.*\/ld-linux.*\0$/);
    expect(foreignMachine(found, process.arch as 'x64' | 'arm64')).toBeUndefined();
  });

  test('which machines are foreign', () => {
    expect(foreignMachine(elf({ machine: 62 }), 'x64')).toBeUndefined();
    expect(foreignMachine(elf({ machine: 3, wide: false }), 'x64')).toBeUndefined();
    expect(foreignMachine(elf({ machine: 183 }), 'x64')).toBe('aarch64');
    expect(foreignMachine(elf({ machine: 183 }), 'arm64')).toBeUndefined();
    expect(foreignMachine(elf({ machine: 40, wide: false }), 'arm64')).toBeUndefined();
    expect(foreignMachine(elf({ machine: 62 }), 'arm64')).toBe('x86-64');
    expect(foreignMachine(elf({ machine: 22, little: false }), 'x64')).toBe('s390x');
    // Big-endian arm is not run by a little-endian kernel.
    expect(foreignMachine(elf({ machine: 183, little: false }), 'arm64')).toBe('aarch64');
    expect(foreignMachine(elf({ machine: 9999 }), 'x64')).toBe('machine 9999');
  });

  test('headers that no kernel would read are not read', () => {
    for (const bad of [{ size: 8 }, { size: 60_000, count: 60_000 }, { offset: 2 ** 60 }])
      expect(elf(bad).headers, JSON.stringify(bad)).toBeUndefined();
  });

  test('any bytes get an answer, and what is to be read of them is bounded', () => {
    const noise = fc.uint8Array({ maxLength: EXECUTABLE_HEAD });
    const start = fc.constantFrom(
      new Uint8Array(),
      header(),
      header({ wide: false }),
      header({ little: false }),
      bytes('#!'),
    );
    fc.assert(
      fc.property(start, noise, fc.nat(40), fc.uint8Array({ maxLength: 300 }), (begin, rest, at, table) => {
        const head = new Uint8Array(EXECUTABLE_HEAD);
        head.set(begin);
        head.set(rest.subarray(0, EXECUTABLE_HEAD - 8 - at), 8 + at);
        const found = parseExecutable(head);
        if (found.kind !== 'elf' || found.headers === undefined) return;
        expect(found.headers.size * found.headers.count).toBeLessThanOrEqual(65_536);
        const place = loaderPlace(found, table);
        if (place !== undefined) expect(place.length).toBeLessThanOrEqual(4096);
      }),
    );
  });
});

describe('binfmt_misc', () => {
  const AARCH64 = `enabled
interpreter /usr/bin/qemu-aarch64
flags: OCF
offset 0
magic 7f454c460201010000000000000000000200b700
mask ffffffffffffff00fffffffffffffffffeffffff
`;

  test('an entry takes what its magic under its mask says', () => {
    const entry = parseBinfmt(AARCH64);
    if (entry === undefined) throw new Error('no entry');
    const program = header({ machine: 183 });
    program[16] = 3;
    expect(matchesBinfmt(entry, program)).toBe(true);
    expect(matchesBinfmt(entry, header({ machine: 62 }))).toBe(false);
    expect(matchesBinfmt(entry, new Uint8Array(2))).toBe(false);
  });

  test('without a mask every bit counts', () => {
    const entry = parseBinfmt('enabled\ninterpreter /x\nflags: \noffset 2\nmagic 4142\n');
    if (entry === undefined) throw new Error('no entry');
    expect(matchesBinfmt(entry, bytes('--AB'))).toBe(true);
    expect(matchesBinfmt(entry, bytes('AB--'))).toBe(false);
  });

  test('one that is off, and one that goes by the name of a file, count for nothing', () => {
    expect(parseBinfmt(AARCH64.replace('enabled', 'disabled'))).toBeUndefined();
    expect(parseBinfmt('enabled\ninterpreter /usr/bin/wine\nflags: \nextension .exe\n')).toBeUndefined();
  });
});
