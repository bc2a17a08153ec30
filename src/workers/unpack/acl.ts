/** POSIX ACLs as tar has them (text, of acl(5)), and as the kernel wants them (linux/posix_acl_xattr.h). */

const VERSION = 2;
const TAGS = { user: [0x01, 0x02], group: [0x04, 0x08], mask: [0x10, 0x10], other: [0x20, 0x20] } as const;
const NO_ID = 0xffff_ffff;

interface Entry {
  readonly tag: number;
  readonly permissions: number;
  readonly id: number;
}

/** `user:1000:rw-`, or with the id after the name as star writes it, `user:lisa:rw-:1000`. */
function entryOf(line: string): Entry | undefined {
  const [kind = '', qualifier = '', letters = '', id = ''] = line.split(':');
  const tags = TAGS[kind as keyof typeof TAGS];
  const permissions = /^([r-])([w-])([x-])$/.exec(letters);
  if (tags === undefined || permissions === null) return undefined;
  const bits = (letters[0] === 'r' ? 4 : 0) + (letters[1] === 'w' ? 2 : 0) + (letters[2] === 'x' ? 1 : 0);
  if (qualifier === '') return { tag: tags[0], permissions: bits, id: NO_ID };
  const number = /^[0-9]{1,10}$/.test(id)
    ? Number(id)
    : /^[0-9]{1,10}$/.test(qualifier)
      ? Number(qualifier)
      : undefined;
  return number === undefined ? undefined : { tag: tags[1], permissions: bits, id: number };
}

/** Undefined when the text is no ACL, or tells names without ids: whose these are only that machine knew. */
export function encodeAcl(text: string): Buffer | undefined {
  const lines = text
    .split(/[\n,]/)
    .map(line => line.replace(/\s*#.*$/, '').trim())
    .filter(Boolean);
  const entries = lines.map(entryOf);
  if (entries.length === 0 || entries.some(entry => entry === undefined)) return undefined;
  // The kernel wants them by tag, and by id within one.
  const sorted = (entries as Entry[]).sort((a, b) => a.tag - b.tag || a.id - b.id);
  const bytes = Buffer.alloc(4 + 8 * sorted.length);
  bytes.writeUInt32LE(VERSION, 0);
  for (const [index, { tag, permissions, id }] of sorted.entries()) {
    bytes.writeUInt16LE(tag, 4 + 8 * index);
    bytes.writeUInt16LE(permissions, 6 + 8 * index);
    bytes.writeUInt32LE(id, 8 + 8 * index);
  }
  return bytes;
}
