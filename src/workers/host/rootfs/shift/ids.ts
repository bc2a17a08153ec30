/** Moving ids from one range to another, wherever a file has some: owners, ACLs, and the root that file capabilities are for. */

/** `count` ids from `from` on become those from `to` on. */
export interface Shift {
  readonly from: number;
  readonly to: number;
  readonly count: number;
}

/** Ranges that overlap would not tell what has been moved from what has not. */
export function isClear({ from, to, count }: Shift): boolean {
  return Math.abs(to - from) >= count;
}

/** The new id; one that has been moved stays. Undefined: the id is in neither range. */
export function moved(id: number, { from, to, count }: Shift): number | undefined {
  if (id >= from && id < from + count) return id - from + to;
  return id >= to && id < to + count ? id : undefined;
}

const ACL_HEADER = 4;
const ACL_ENTRY = 8;
const ACL_USER = 0x02;
const ACL_GROUP = 0x08;

/** An ACL as its attribute has it (linux/posix_acl_xattr.h); undefined when nothing in it changes. */
export function movedAcl(acl: Buffer, shift: Shift): Buffer | undefined {
  const out = Buffer.from(acl);
  for (let at = ACL_HEADER; at + ACL_ENTRY <= out.length; at += ACL_ENTRY) {
    const tag = out.readUInt16LE(at);
    if (tag !== ACL_USER && tag !== ACL_GROUP) continue;
    const id = out.readUInt32LE(at + 4);
    out.writeUInt32LE(moved(id, shift) ?? id, at + 4);
  }
  return out.equals(acl) ? undefined : out;
}

const REVISION_MASK = 0xff00_0000;
const REVISION_2 = 0x0200_0000;
const REVISION_3 = 0x0300_0000;
const SIZE_2 = 20;

/**
 * File capabilities are for the root that they name, and of revision 2 for the host's (capabilities(7)): a container
 * whose root is another id has nothing of those.
 */
export function movedCapability(value: Buffer, shift: Shift): Buffer {
  if (value.length < SIZE_2) return value;
  const magic = value.readUInt32LE(0);
  const revision = (magic & REVISION_MASK) >>> 0;
  if (revision !== REVISION_2 && revision !== REVISION_3) return value;
  const root = revision === REVISION_3 ? value.readUInt32LE(SIZE_2) : 0;
  const target = moved(root, shift) ?? root;
  const out = Buffer.alloc(target === 0 ? SIZE_2 : SIZE_2 + 4);
  value.copy(out, 0, 0, SIZE_2);
  out.writeUInt32LE(((magic & ~REVISION_MASK) | (target === 0 ? REVISION_2 : REVISION_3)) >>> 0, 0);
  if (target !== 0) out.writeUInt32LE(target, SIZE_2);
  return out;
}
