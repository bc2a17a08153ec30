/** The assembler, linker and emulator that the stub's tests need. A missing one fails the test, by its package's name. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Arch } from '#src/syscalls/abi/numbers.js';
import type { Image } from './image.ts';

const TRIPLE = { x64: 'x86_64-linux-gnu', arm64: 'aarch64-linux-gnu' } as const;
const BINUTILS = { x64: 'binutils-x86-64-linux-gnu', arm64: 'binutils-aarch64-linux-gnu' } as const;
const QEMU = { x64: 'qemu-x86_64', arm64: 'qemu-aarch64' } as const;

const isNative = (arch: Arch) => arch === process.arch;

export interface Outcome {
  status: number | null;
  signal: string | null;
  stderr: string;
}

function run(debianPackage: string, command: string, args: readonly string[]): Outcome {
  const { status, signal, stderr, error } = spawnSync(command, args, { encoding: 'utf8', timeout: 30_000 });
  if (error !== undefined) {
    if ('code' in error && error.code === 'ENOENT') {
      throw new Error(`${command} is missing: install the Debian package ${debianPackage}`);
    }
    throw error;
  }
  return { status, signal, stderr };
}

function binutils(arch: Arch, tool: 'as' | 'ld' | 'objcopy', args: readonly string[]): void {
  const [debianPackage, command] = isNative(arch) ? ['binutils', tool] : [BINUTILS[arch], `${TRIPLE[arch]}-${tool}`];
  const { status, signal, stderr } = run(debianPackage, command, args);
  if (status !== 0) throw new Error(`${command} ${args.join(' ')}: ${signal ?? status}\n${stderr}`);
}

function inScratchDirectory<T>(work: (directory: string) => T): T {
  const directory = mkdtempSync(join(tmpdir(), 'caisson-stub-'));
  try {
    return work(directory);
  } finally {
    rmSync(directory, { recursive: true });
  }
}

const path = (relative: string) => fileURLToPath(new URL(relative, import.meta.url));

export type Listing = 'stub' | 'joiner';

const LISTINGS = path('../../../src/syscalls/launcher');

export const listing = (arch: Arch, name: Listing = 'stub') => readFileSync(`${LISTINGS}/${name}.${arch}.s`, 'utf8');

/** The machine code of a listing, with other values for some of its symbols. The joiner's begins with the stub's. */
export function assemble(
  arch: Arch,
  symbols: Readonly<Record<string, number>> = {},
  name: Listing = 'stub',
): Uint8Array {
  return inScratchDirectory(directory => {
    const object = join(directory, 'stub.o');
    const code = join(directory, 'stub.bin');
    const defined = Object.entries(symbols).flatMap(([name, value]) => ['--defsym', `${name}=${value}`]);
    binutils(arch, 'as', [...defined, '-I', LISTINGS, '-o', object, `${LISTINGS}/${name}.${arch}.s`]);
    binutils(arch, 'objcopy', ['-O', 'binary', '-j', '.text', object, code]);
    return Uint8Array.from(readFileSync(code));
  });
}

/**
 * Runs `stub` in a static ELF of its own (harness.<arch>.s) over `image`, which is shared memory of the program
 * and its children; afterwards `image` holds what they left there. Another architecture runs under qemu-user.
 */
export function runHarness(arch: Arch, stub: Uint8Array, image: Image): Outcome {
  return inScratchDirectory(directory => {
    const object = join(directory, 'harness.o');
    const program = join(directory, 'harness');
    const memory = join(directory, 'image');
    writeFileSync(join(directory, 'stub.bin'), stub);
    writeFileSync(memory, image.bytes);
    binutils(arch, 'as', ['-I', directory, '-o', object, path(`harness.${arch}.s`)]);
    binutils(arch, 'ld', ['-static', '-o', program, object]);
    const outcome = isNative(arch) ? run('', program, [memory]) : run('qemu-user', QEMU[arch], [program, memory]);
    readFileSync(memory).copy(image.bytes);
    return outcome;
  });
}
