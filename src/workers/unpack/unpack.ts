/** An archive of a stranger's, unpacked into an empty directory within limits. */
import { CaissonError } from '../../spec/errors.js';
import { close, writeAll } from '../../syscalls/fs.js';
import { SyscallError } from '../../syscalls/libc.js';
import { seek, truncate } from '../../syscalls/metadata.js';
import { ByteReader } from './bytes.js';
import { type Member, Members } from './members.js';
import { Memory } from './memory.js';
import { openTree, placeOf, Tree } from './place.js';
import { invalid, printable, refuse } from './refuse.js';

export interface UnpackLimits {
  /** Bytes of the tar stream: all that is written but holes, its headers, and what is passed over. */
  readonly bytes: number;
  readonly members: number;
}

export interface Unpacked {
  readonly members: number;
  readonly bytes: number;
  /** What was left out, for a person. */
  readonly leftOut: readonly string[];
}

/** Padding after the end of an archive: tar fills up to whole records, of 10 KiB as a rule. */
const MAX_TRAILER = 16 * 1024 * 1024;

/** Names of attributes that were left out: a person wants to see a few. */
const MAX_TOLD = 1000;

/** What the kernel says of a name or file that an archive should not have. */
const ITS_FAULT = [
  'EEXIST',
  'EISDIR',
  'ELOOP',
  'ENAMETOOLONG',
  'ENOTDIR',
  'ENOTEMPTY',
  'EXDEV',
  'EMLINK',
  'EFBIG',
  'EINVAL',
];

/** `trusted.overlay` and `user.overlay` would tell overlayfs where to look for files; labels are the other machine's. */
function isKept(attribute: string): boolean {
  if (attribute.startsWith('user.')) return !attribute.startsWith('user.overlay.');
  return attribute === 'security.capability';
}

class Unpacking {
  private members = 0;
  /** Where device nodes would be: a hard link to one is one. */
  private readonly devices = new Set<string>();
  private deviceCount = 0;
  private acls = 0;
  private readonly attributes = new Set<string>();

  constructor(
    private readonly source: Members,
    private readonly tree: Tree,
    private readonly memory: Memory,
    private readonly limits: UnpackLimits,
  ) {}

  async run(): Promise<Omit<Unpacked, 'bytes'>> {
    for (;;) {
      const member = await this.source.next();
      if (member === undefined) break;
      if (++this.members > this.limits.members)
        refuse('ARCHIVE_TOO_LARGE', `it has more than ${this.limits.members} members`, 'raise archiveLimits.members');
      try {
        await this.unpack(this.accepted(member));
      } catch (error) {
        if (!(error instanceof SyscallError && ITS_FAULT.includes(error.errno))) throw error;
        invalid(`${printable(member.name)} cannot be made: ${error.message}`, error);
      }
    }
    if (this.members === 0) invalid('it is empty');
    this.tree.finish();
    return { members: this.members, leftOut: this.leftOut() };
  }

  private async unpack(member: Member): Promise<void> {
    // The container has a /dev of its own, and makes what nodes it wants: none of the archive's is ever used.
    if (member.kind === 'device' || this.leadsToDevice(member)) {
      this.memory.keep(member.name.length);
      this.devices.add(placeOf(member.name, printable(member.name)));
      this.deviceCount++;
      return;
    }
    // It takes the place of one, so that links to it are links to a file.
    if (this.devices.size > 0) this.devices.delete(placeOf(member.name, printable(member.name)));
    const fd = this.tree.place(member);
    if (fd === undefined) return;
    try {
      await this.write(fd, member);
      this.tree.settle(fd, member);
    } finally {
      close(fd);
    }
  }

  private leadsToDevice({ kind, name, link }: Member): boolean {
    return kind === 'link' && this.devices.has(placeOf(link, `${printable(name)}, a link,`));
  }

  private async write(fd: number, member: Member): Promise<void> {
    const segments = [...(member.segments ?? [])].reverse();
    let room = member.segments === null ? Number.POSITIVE_INFINITY : 0;
    for (let data = await this.source.data(); data !== undefined; data = await this.source.data()) {
      for (let at = 0; at < data.length; ) {
        while (room === 0) {
          const next = segments.pop() ?? invalid(`${printable(member.name)}: its map of holes ends early`);
          seek(fd, next.offset);
          room = next.length;
        }
        const part = data.subarray(at, at + Math.min(room, data.length - at));
        writeAll(fd, part, printable(member.name));
        at += part.length;
        room -= part.length;
      }
    }
    if (member.segments !== null) truncate(fd, member.size);
  }

  private accepted(member: Member): Member {
    // The kernel has them for no other kind, but for labels.
    const has = member.kind === 'file' || member.kind === 'directory';
    const attributes = new Map<string, Buffer>();
    for (const [name, value] of member.attributes) {
      if (has && isKept(name)) attributes.set(name, value);
      else if (this.attributes.size < MAX_TOLD) this.attributes.add(name);
    }
    for (const value of member.acls.values()) if (value === null) this.acls++;
    return { ...member, attributes, acls: has ? member.acls : new Map() };
  }

  private leftOut(): string[] {
    const out: string[] = [];
    if (this.deviceCount > 0) out.push(`${this.deviceCount} device nodes`);
    if (this.acls > 0) out.push(`${this.acls} ACLs that name people without their ids`);
    const names = [...this.attributes].sort();
    if (names.length > 0) {
      const more = names.length > 5 ? ` and ${names.length - 5} more` : '';
      out.push(`the attributes ${names.slice(0, 5).map(printable).join(', ')}${more}`);
    }
    return out;
  }
}

/** Throws before there is more of it than `most`: also what is passed over takes time. */
async function* within(
  stream: AsyncGenerator<Buffer, void, void>,
  most: number,
  goOn: () => void,
): AsyncGenerator<Buffer, void, void> {
  let length = 0;
  for await (const chunk of stream) {
    goOn();
    length += chunk.length;
    if (length > most)
      refuse('ARCHIVE_TOO_LARGE', `it unpacks to more than ${most} bytes`, 'raise archiveLimits.bytes');
    yield chunk;
  }
}

async function drain(bytes: ByteReader): Promise<void> {
  const end = bytes.position + MAX_TRAILER;
  while ((await bytes.some(1024 * 1024)) !== undefined) {
    if (bytes.position > end) invalid('much follows the end of the archive');
  }
}

/** @param goOn throws when it is to be given up. */
export async function unpack(
  stream: AsyncGenerator<Buffer, void, void>,
  directory: string,
  limits: UnpackLimits,
  goOn: () => void,
): Promise<Unpacked> {
  const limited = within(stream, limits.bytes, goOn);
  const bytes = new ByteReader(limited);
  const root = openTree(directory);
  const memory = new Memory();
  const tree = new Tree(root, memory);
  try {
    const unpacked = await new Unpacking(new Members(bytes), tree, memory, limits).run();
    // To the very end: only there does a compressor say whether all was whole.
    await drain(bytes);
    return { ...unpacked, bytes: bytes.position };
  } catch (error) {
    if (error instanceof SyscallError)
      throw new CaissonError('ARCHIVE_FAILED', `it cannot be unpacked: ${error.message}`, {
        field: 'rootfs.archive',
        errno: error.errno,
        cause: error,
        hint: error.errno === 'ENOSPC' ? 'make room on the file system of the state directory' : undefined,
      });
    throw error;
  } finally {
    tree.close();
    close(root);
    await limited.return();
    // One that was never asked for anything has not begun with the other.
    await stream.return();
  }
}
