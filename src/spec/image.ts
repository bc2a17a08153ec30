/**
 * What file system an image holds, by its superblock and nothing else: never by the name of the file, and never by
 * trying one after the other, which would give hostile bytes to each parser of the kernel in turn.
 */

export const IMAGE_TYPES = ['squashfs', 'erofs', 'ext4'] as const;
export type ImageType = (typeof IMAGE_TYPES)[number];

/** Bytes from the start of the image that `identifyImage` wants; fewer are given of a smaller file. */
export const IMAGE_HEAD = 2048;

/** File systems that nobody can write. */
export function isReadOnlyType(type: ImageType): boolean {
  return type !== 'ext4';
}

export type ImageFinding =
  /** `size`: bytes that must be there at least. `unfit`: why it must not be mounted. */
  | { readonly type: ImageType; readonly size?: number; readonly unfit?: string; readonly hint?: string }
  /** More than one superblock, which no tool makes by accident. */
  | { readonly ambiguous: readonly ImageType[] };

const SQUASHFS_MAGIC = 0x73717368;
const EROFS_MAGIC = 0xe0f5e1e2;
const EXT4_MAGIC = 0xef53;
/** Where erofs and ext4 have theirs: the first kilobyte is left to boot loaders. */
const AFTER_BOOT = 1024;

/** squashfs 4, the only one that Linux has read since 2.6.29 (Documentation/filesystems/squashfs.rst). */
function isSquashfs(head: DataView): boolean {
  return head.byteLength >= 96 && head.getUint32(0, true) === SQUASHFS_MAGIC && head.getUint16(28, true) === 4;
}

function isErofs(head: DataView): boolean {
  return head.byteLength >= AFTER_BOOT + 128 && head.getUint32(AFTER_BOOT, true) === EROFS_MAGIC;
}

/** Offsets in struct erofs_super_block (fs/erofs/erofs_fs.h). */
const EROFS = { blockSizeBits: 0xc, blocks: 0x24, incompat: 0x50 };
const INCOMPAT_DEVICE_TABLE = 0x8;

/** Before Linux 6.4 the kernel opens each device that the image names, by a path of the host, to read file contents. */
function unfitErofs(head: DataView): { unfit: string; hint: string } | undefined {
  if ((head.getUint32(AFTER_BOOT + EROFS.incompat, true) & INCOMPAT_DEVICE_TABLE) === 0) return undefined;
  return {
    unfit: 'keeps contents on other block devices, which would be those of the host',
    hint: 'make it without --blobdev',
  };
}

/** The kernel compares this itself for the other two. */
function sizeOfErofs(head: DataView): number {
  const bits = head.getUint8(AFTER_BOOT + EROFS.blockSizeBits);
  return head.getUint32(AFTER_BOOT + EROFS.blocks, true) * 2 ** bits;
}

/** Offsets in struct ext4_super_block (Documentation/filesystems/ext4/super.rst). */
const EXT4 = { logBlockSize: 0x18, magic: 0x38, revision: 0x4c, compat: 0x5c, incompat: 0x60, journalDevice: 0xe4 };
const EXT4_MOUNT_OPTIONS = { at: 0x200, length: 64 };
const COMPAT_HAS_JOURNAL = 0x4;
const INCOMPAT_JOURNAL_DEVICE = 0x8;
const INCOMPAT_MMP = 0x100;

/** ext2, ext3 and ext4. A magic of two bytes is found in random data: other fields must make sense, too. */
function isExt4(head: DataView): boolean {
  if (head.byteLength < AFTER_BOOT + 1024) return false;
  return (
    head.getUint16(AFTER_BOOT + EXT4.magic, true) === EXT4_MAGIC &&
    head.getUint32(AFTER_BOOT + EXT4.revision, true) <= 1 &&
    head.getUint32(AFTER_BOOT + EXT4.logBlockSize, true) <= 6 &&
    head.getUint32(AFTER_BOOT, true) > 0
  );
}

/** What an ext4 superblock can ask of the host's kernel beyond reading the image. */
function unfitExt4(head: DataView): { unfit: string; hint: string } | undefined {
  const compat = head.getUint32(AFTER_BOOT + EXT4.compat, true);
  const incompat = head.getUint32(AFTER_BOOT + EXT4.incompat, true);
  const external = (compat & COMPAT_HAS_JOURNAL) !== 0 && head.getUint32(AFTER_BOOT + EXT4.journalDevice, true) !== 0;
  if (external || (incompat & INCOMPAT_JOURNAL_DEVICE) !== 0) {
    return {
      unfit: 'wants a journal on another block device, which would be one of the host',
      hint: 'give it a journal of its own: tune2fs -O ^has_journal, then tune2fs -j',
    };
  }
  if ((incompat & INCOMPAT_MMP) !== 0) {
    return {
      unfit: 'has multi-mount protection, by which it can make the kernel wait for hours',
      hint: 'tune2fs -O ^mmp: a file is locked in another way',
    };
  }
  for (let at = 0; at < EXT4_MOUNT_OPTIONS.length; at++) {
    if (head.getUint8(AFTER_BOOT + EXT4_MOUNT_OPTIONS.at + at) !== 0) {
      return {
        unfit: 'brings mount options of its own, which may name devices of the host',
        hint: "tune2fs -E mount_opts='' takes them out",
      };
    }
  }
  return undefined;
}

/** @param bytes the first IMAGE_HEAD bytes. Undefined: no superblock that is known. */
export function identifyImage(bytes: Uint8Array): ImageFinding | undefined {
  const head = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const found: ImageType[] = [];
  if (isSquashfs(head)) found.push('squashfs');
  if (isErofs(head)) found.push('erofs');
  if (isExt4(head)) found.push('ext4');
  const [type] = found;
  if (type === undefined) return undefined;
  if (found.length > 1) return { ambiguous: found };
  switch (type) {
    case 'squashfs':
      return { type };
    case 'erofs':
      return { type, size: sizeOfErofs(head), ...unfitErofs(head) };
    case 'ext4':
      return { type, ...unfitExt4(head) };
  }
}
