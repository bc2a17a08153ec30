/** What the kernel makes of a program's first bytes at exec (execve(2), elf(5)). The bytes may be anybody's. */

/** Bytes that the kernel looks at (BINPRM_BUF_SIZE). */
export const EXECUTABLE_HEAD = 256;

/** Machines by the numbers of elf.h; for people. */
const MACHINES: Readonly<Record<number, string>> = {
  2: 'sparc',
  3: 'i386',
  8: 'mips',
  20: 'ppc',
  21: 'ppc64',
  22: 's390x',
  40: 'arm',
  43: 'sparc64',
  50: 'ia64',
  62: 'x86-64',
  183: 'aarch64',
  243: 'riscv',
  258: 'loongarch',
};

/** What each kernel runs by itself: its own machine, and the 32-bit one before it. */
const NATIVE = { x64: [62, 3], arm64: [183, 40] } as const;

export interface Elf {
  readonly kind: 'elf';
  readonly machine: number;
  readonly littleEndian: boolean;
  /** Where its program headers are; undefined where the kernel would not look for them. */
  readonly headers: { readonly offset: number; readonly size: number; readonly count: number } | undefined;
  readonly wide: boolean;
}

export type Executable = Elf | { readonly kind: 'script'; readonly interpreter: string } | { readonly kind: 'unknown' };

/** The interpreter of a `#!` line; undefined where there is none, or the line names nothing. */
export function scriptInterpreter(head: Uint8Array): string | undefined {
  if (head[0] !== 0x23 || head[1] !== 0x21) return undefined;
  const line = new TextDecoder().decode(head.subarray(0, EXECUTABLE_HEAD));
  return /^#![ \t]*([^ \t\n\0]+)/.exec(line)?.[1];
}

const ELF_MAGIC = 0x464c457f;
const MAX_PROGRAM_HEADERS = 65_536;

function parseElf(head: Uint8Array): Elf | undefined {
  if (head.length < 64) return undefined;
  const view = new DataView(head.buffer, head.byteOffset, head.byteLength);
  if (view.getUint32(0, true) !== ELF_MAGIC) return undefined;
  const [width, order] = [head[4], head[5]];
  if ((width !== 1 && width !== 2) || (order !== 1 && order !== 2)) return undefined;
  const [wide, little] = [width === 2, order === 1];
  const offset = wide ? Number(view.getBigUint64(32, little)) : view.getUint32(28, little);
  const size = view.getUint16(wide ? 54 : 42, little);
  const count = view.getUint16(wide ? 56 : 44, little);
  const sane = size >= 32 && size * count <= MAX_PROGRAM_HEADERS && Number.isSafeInteger(offset);
  return {
    kind: 'elf',
    machine: view.getUint16(18, little),
    littleEndian: little,
    headers: sane ? { offset, size, count } : undefined,
    wide,
  };
}

/** @param head the first EXECUTABLE_HEAD bytes, or all there are. */
export function parseExecutable(head: Uint8Array): Executable {
  const interpreter = scriptInterpreter(head);
  if (interpreter !== undefined) return { kind: 'script', interpreter };
  return parseElf(head) ?? { kind: 'unknown' };
}

const PT_INTERP = 3;
const MAX_PATH = 4096;

/** Where in the file the path of its loader is; undefined for a static program. `table`: its program headers. */
export function loaderPlace(
  elf: Elf,
  table: Uint8Array,
): { readonly offset: number; readonly length: number } | undefined {
  const { headers, wide, littleEndian } = elf;
  if (headers === undefined) return undefined;
  const view = new DataView(table.buffer, table.byteOffset, table.byteLength);
  for (let at = 0; at + (wide ? 56 : 32) <= table.length; at += headers.size) {
    if (view.getUint32(at, littleEndian) !== PT_INTERP) continue;
    const offset = wide ? Number(view.getBigUint64(at + 8, littleEndian)) : view.getUint32(at + 4, littleEndian);
    const length = wide ? Number(view.getBigUint64(at + 32, littleEndian)) : view.getUint32(at + 16, littleEndian);
    return length <= MAX_PATH && Number.isSafeInteger(offset) ? { offset, length } : undefined;
  }
  return undefined;
}

/** The name of a machine that this one does not run by itself; undefined for one that it does. */
export function foreignMachine(elf: Elf, host: keyof typeof NATIVE): string | undefined {
  if (elf.littleEndian && (NATIVE[host] as readonly number[]).includes(elf.machine)) return undefined;
  return MACHINES[elf.machine] ?? `machine ${elf.machine}`;
}
