/** The members of a tar archive, one after the other, with all that headers before them say of them. */
import type { FileTime } from '../../syscalls/metadata.js';
import { encodeAcl } from './acl.js';
import { type ByteReader, EndOfStream } from './bytes.js';
import { BLOCK, type Header, isZero, parseHeader } from './header.js';
import { type PaxRecord, parsePax, paxNumber, paxTime } from './pax.js';
import { invalid, printable, refuse } from './refuse.js';
import { checkSparse, gnuSparse, mapBeforeData, paxSparse, type Segment } from './sparse.js';

export type MemberKind = 'file' | 'link' | 'symlink' | 'device' | 'directory' | 'fifo';

export interface Member {
  readonly kind: MemberKind;
  readonly name: Buffer;
  /** What a symlink or hard link leads to. */
  readonly link: Buffer;
  /** Bytes of the file with its holes. */
  readonly size: number;
  /** Where its data lie in it; null: all of it, from the beginning on. */
  readonly segments: readonly Segment[] | null;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly mtime: FileTime;
  /** Extended attributes by name, as they are. */
  readonly attributes: ReadonlyMap<string, Buffer>;
  /** ACLs by attribute; null: one that cannot be told in ids. */
  readonly acls: ReadonlyMap<string, Buffer | null>;
}

const KINDS: Readonly<Record<string, MemberKind>> = {
  '0': 'file',
  '\0': 'file',
  '7': 'file',
  S: 'file',
  '1': 'link',
  '2': 'symlink',
  '3': 'device',
  '4': 'device',
  '5': 'directory',
  D: 'directory',
  '6': 'fifo',
};
/** All extended headers of a member, or of all members: the kernel's attributes take 64 KiB each, a path 4 KiB. */
const MAX_EXTENDED = 1024 * 1024;
const MAX_GLOBAL_RECORDS = 10_000;
/** PATH_MAX, XATTR_NAME_MAX and XATTR_SIZE_MAX: the kernel takes no more, and we need not remember more. */
const MAX_PATH = 4096;
const MAX_ATTRIBUTE_NAME = 255;
const MAX_ATTRIBUTE = 65_536;
const MAX_ID = 0xffff_fffe;
const XATTR = 'SCHILY.xattr.';
const ACLS: Readonly<Record<string, string>> = {
  'SCHILY.acl.access': 'system.posix_acl_access',
  'SCHILY.acl.default': 'system.posix_acl_default',
};

/** What extended headers say: of all members that follow, or of the next one. */
interface Extended {
  readonly records: PaxRecord[];
  /** Bytes of all these headers so far. */
  length: number;
}

interface Before extends Extended {
  name?: Buffer;
  link?: Buffer;
}

const withoutNul = (data: Buffer): Buffer => {
  const end = data.indexOf(0);
  return Buffer.from(end === -1 ? data : data.subarray(0, end));
};

export class Members {
  private readonly global: Extended = { records: [], length: 0 };
  /** Bytes of the archive's data that are still to come for the member at hand, and what fills up their last block. */
  private left = 0;
  private padding = 0;
  private count = 0;
  private last = 'its beginning';

  constructor(private readonly bytes: ByteReader) {}

  /** The next member; undefined at the end. What is left of the data of the one before is passed over. */
  async next(): Promise<Member | undefined> {
    const before: Before = { records: [], length: 0 };
    for (;;) {
      await this.pass();
      const block = await this.block();
      if (block === undefined) return undefined;
      const { header, raw } = block;
      this.left = ['1', '2', '3', '4', '5', '6'].includes(header.type) ? 0 : header.size;
      this.padding = this.left % BLOCK === 0 ? 0 : BLOCK - (this.left % BLOCK);
      if (await this.extends(header, before)) continue;
      return await this.member(header, raw, before);
    }
  }

  /** Data of the member at hand, as they come; undefined when there are no more. */
  async data(): Promise<Buffer | undefined> {
    if (this.left === 0) return undefined;
    const part = await this.bytes.some(Math.min(this.left, BLOCK * 256));
    if (part === undefined) return this.cutOff();
    this.left -= part.length;
    return part;
  }

  private async pass(): Promise<void> {
    while ((await this.data()) !== undefined);
    if (this.padding > 0) await this.take(this.padding);
    this.padding = 0;
  }

  private cutOff(cause?: unknown): never {
    invalid(`it ends in the middle, after ${this.last}`, cause);
  }

  private async take(length: number): Promise<Buffer> {
    try {
      return await this.bytes.take(length);
    } catch (error) {
      if (error instanceof EndOfStream) this.cutOff(error);
      throw error;
    }
  }

  /** Undefined at the end, which a block of zeros tells. */
  private async block(): Promise<{ header: Header; raw: Buffer } | undefined> {
    const raw = Buffer.from(await this.take(BLOCK));
    if (isZero(raw)) return undefined;
    const header = parseHeader(raw, `what follows ${this.last}`);
    if (header !== undefined) return { header, raw };
    if (this.count > 0) invalid(`what follows ${this.last} is no header of a member`);
    refuse('ARCHIVE_UNSUPPORTED', 'it is no tar archive', 'give a .tar, or one compressed with gzip, xz or zstd');
  }

  /** Takes in a header that only says something of the next one. */
  private async extends(header: Header, before: Before): Promise<boolean> {
    const where = `the header after ${this.last}`;
    const whole = async (told: Extended): Promise<Buffer> => {
      if (told.length + header.size > MAX_EXTENDED)
        invalid(`${where} is ${header.size} bytes long, after others of ${told.length}`);
      told.length += header.size;
      const data = Buffer.from(await this.take(header.size));
      this.left = 0;
      return data;
    };
    switch (header.type) {
      case 'L':
        before.name = withoutNul(await whole(before));
        return true;
      case 'K':
        before.link = withoutNul(await whole(before));
        return true;
      case 'x':
      case 'X':
        before.records.push(...parsePax(await whole(before), where));
        return true;
      case 'g':
        this.global.records.push(...parsePax(await whole(this.global), where));
        if (this.global.records.length > MAX_GLOBAL_RECORDS)
          invalid(`${where} brings too many records for all members`);
        return true;
      case 'V':
        // The name of the archive.
        return true;
      default:
        return false;
    }
  }

  private async member(header: Header, raw: Buffer, before: Before): Promise<Member> {
    const records = [...this.global.records, ...before.records];
    const recordOf = (key: string): Buffer | undefined => {
      const value = records.findLast(([name]) => name === key)?.[1];
      return value?.length === 0 ? undefined : value;
    };
    const name = recordOf('GNU.sparse.name') ?? recordOf('path') ?? before.name ?? header.name;
    const link = recordOf('linkpath') ?? before.link ?? header.link;
    for (const path of [name, link])
      if (path.length > MAX_PATH || path.includes(0))
        invalid(`what follows ${this.last} has too long a path, or a NUL`);
    const where = printable(name);
    if (header.type === '2' && link.length === 0) invalid(`${where} is a symlink to nowhere`);
    this.last = where;
    this.count++;
    let kind = KINDS[header.type];
    if (kind === undefined) {
      refuse(
        'ARCHIVE_UNSUPPORTED',
        `${where} is of the unknown type ${printable(header.type)}`,
        'make it with GNU tar',
      );
    }
    // So directories were told before there was a type for them.
    if (kind === 'file' && name.at(-1) === 0x2f) kind = 'directory';
    const numberOf = (key: string): number | undefined => {
      const value = recordOf(key);
      return value === undefined ? undefined : paxNumber(value, key, where);
    };
    const ids = [numberOf('uid') ?? header.uid, numberOf('gid') ?? header.gid] as const;
    for (const id of ids) if (id < 0 || id > MAX_ID) invalid(`${where}: its owner has no id that there can be`);
    const mtime = recordOf('mtime');
    const stored = kind === 'file' ? (numberOf('size') ?? header.size) : this.left;
    this.left = stored;
    this.padding = stored % BLOCK === 0 ? 0 : BLOCK - (stored % BLOCK);
    const sparse = kind === 'file' ? await this.sparse(header, raw, records, where) : undefined;
    return {
      kind,
      name,
      link,
      size: sparse?.size ?? (kind === 'file' ? stored : 0),
      segments: sparse?.segments ?? null,
      mode: header.mode & 0o7777,
      uid: ids[0],
      gid: ids[1],
      mtime: mtime === undefined ? { seconds: header.mtime, nanoseconds: 0 } : paxTime(mtime, where),
      ...attributesIn(records, where),
    };
  }

  private async sparse(header: Header, raw: Buffer, records: readonly PaxRecord[], where: string) {
    const take = (length: number): Promise<Buffer> => this.take(length);
    // The blocks of the map that follow the header are not counted in its size.
    if (header.type === 'S' && header.gnu) return checkSparse(await gnuSparse(raw, take, where), this.left, where);
    const recordOf = (key: string): Buffer | undefined => records.findLast(([name]) => name === key)?.[1];
    const major = recordOf('GNU.sparse.major')?.toString('latin1');
    if (major === undefined || major === '0') {
      const map = paxSparse(records, where);
      return map === undefined ? undefined : checkSparse(map, this.left, where);
    }
    const size = recordOf('GNU.sparse.realsize');
    if (major !== '1' || size === undefined)
      refuse('ARCHIVE_UNSUPPORTED', `${where} has holes in a form that is not known`, 'make it with GNU tar');
    const { segments, taken } = await mapBeforeData(take, where);
    if (taken > this.left) invalid(`${where}: its map of holes is longer than its data`);
    this.left -= taken;
    return checkSparse({ size: paxNumber(size, 'real size', where), segments }, this.left, where);
  }
}

function attributesIn(records: readonly PaxRecord[], where: string): Pick<Member, 'attributes' | 'acls'> {
  const attributes = new Map<string, Buffer>();
  const acls = new Map<string, Buffer | null>();
  for (const [key, value] of records) {
    const acl = ACLS[key];
    const name = acl ?? (key.startsWith(XATTR) ? key.slice(XATTR.length) : undefined);
    if (name === undefined) continue;
    if (name.length > MAX_ATTRIBUTE_NAME || name.includes('\0') || value.length > MAX_ATTRIBUTE)
      invalid(`${where} has an attribute that no file can have`);
    // tar may tell an ACL twice: as text, and as the attribute that it is, which has ids in any case.
    if (acl !== undefined) acls.set(acl, acls.get(acl) ?? encodeAcl(value.toString('utf8')) ?? null);
    else if (Object.values(ACLS).includes(name)) acls.set(name, value);
    else attributes.set(name, value);
  }
  return { attributes, acls };
}
