/** Tar archives made by hand, with what no tar would put into one. */
import { Buffer } from 'node:buffer';

export interface TarMember {
  readonly name: string | Buffer;
  /** The type flag; a regular file by default. */
  readonly type?: string;
  readonly link?: string;
  readonly mode?: number;
  readonly uid?: number;
  readonly gid?: number;
  readonly mtime?: number;
  readonly data?: string | Buffer;
  /** What the header says, if that is not the length of the data. */
  readonly size?: number;
  /** Records of an extended header before it. */
  readonly pax?: Readonly<Record<string, string | Buffer>>;
  /** Changes the header before its checksum is made. */
  readonly patch?: (header: Buffer) => void;
}

const BLOCK = 512;

function padded(data: Buffer): Buffer {
  const rest = data.length % BLOCK;
  return rest === 0 ? data : Buffer.concat([data, Buffer.alloc(BLOCK - rest)]);
}

function headerOf(member: TarMember, length: number): Buffer {
  const header = Buffer.alloc(BLOCK);
  const octal = (value: number, at: number, size: number): void => {
    header.write(value.toString(8).padStart(size - 1, '0'), at, 'latin1');
  };
  Buffer.from(member.name).copy(header, 0, 0, 100);
  const type = member.type ?? '0';
  octal(member.mode ?? (type === '5' ? 0o755 : 0o644), 100, 8);
  octal(member.uid ?? 0, 108, 8);
  octal(member.gid ?? 0, 116, 8);
  octal(member.size ?? length, 124, 12);
  octal(member.mtime ?? 1_700_000_000, 136, 12);
  header.write(type, 156, 'latin1');
  Buffer.from(member.link ?? '').copy(header, 157, 0, 100);
  header.write('ustar\u000000', 257, 'latin1');
  member.patch?.(header);
  header.fill(0x20, 148, 156);
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return header;
}

/** One record: its length counts its own digits. */
export function paxRecord(key: string, value: string | Buffer): Buffer {
  const rest = Buffer.concat([Buffer.from(` ${key}=`), Buffer.from(value), Buffer.from('\n')]);
  let length = rest.length + 1;
  while (`${length}`.length + rest.length !== length) length++;
  return Buffer.concat([Buffer.from(`${length}`), rest]);
}

function bytesOf(member: TarMember): Buffer {
  const data = Buffer.from(member.data ?? '');
  const records = Object.entries(member.pax ?? {}).map(([key, value]) => paxRecord(key, value));
  const pax =
    records.length === 0 ? Buffer.alloc(0) : bytesOf({ name: 'pax', type: 'x', data: Buffer.concat(records) });
  return Buffer.concat([pax, headerOf(member, data.length), padded(data)]);
}

/** An archive of these members, with its end. */
export function tarOf(...members: readonly TarMember[]): Buffer {
  return Buffer.concat([...members.map(bytesOf), Buffer.alloc(2 * BLOCK)]);
}
