/** Interpreters that the kernel was told of for programs of other machines (binfmt_misc(5)). */

export interface Binfmt {
  readonly offset: number;
  readonly magic: Uint8Array;
  readonly mask: Uint8Array | undefined;
}

const hex = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text, 'hex'));

/** One file of binfmt_misc; undefined for one that is off, or that goes by the names of files. */
export function parseBinfmt(text: string): Binfmt | undefined {
  const lines = text.split('\n');
  const field = (name: string): string | undefined =>
    lines.find(line => line.startsWith(`${name} `))?.slice(name.length + 1);
  const magic = field('magic');
  if (lines[0] !== 'enabled' || magic === undefined) return undefined;
  const mask = field('mask');
  return { offset: Number(field('offset') ?? 0), magic: hex(magic), mask: mask === undefined ? undefined : hex(mask) };
}

/** Whether it takes a program that begins so. */
export function matchesBinfmt({ offset, magic, mask }: Binfmt, head: Uint8Array): boolean {
  return magic.every((byte, index) => (((head[offset + index] ?? 0) ^ byte) & (mask?.[index] ?? 0xff)) === 0);
}
