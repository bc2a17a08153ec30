/** Files that hold a file system, made from a tree by the tools of their authors. */
import { execFileSync } from 'node:child_process';
import type { ImageType } from '#src/spec/image.js';

export interface ImageOptions {
  /** Size of an ext4 image, in MiB. */
  readonly size?: number;
  /** More arguments for mke2fs. */
  readonly more?: readonly string[];
}

/** Makes `file`, which must not exist, with what is in `tree`. */
export function makeImage(
  type: ImageType,
  tree: string,
  file: string,
  { size = 32, more = [] }: ImageOptions = {},
): string {
  const stdio = ['ignore', 'ignore', 'pipe'] as const;
  switch (type) {
    case 'squashfs':
      // Quick to make: what is tested is not how well it is packed.
      execFileSync(
        'mksquashfs',
        [tree, file, '-noappend', '-quiet', '-no-progress', '-comp', 'gzip', '-Xcompression-level', '1'],
        { stdio: [...stdio] },
      );
      break;
    case 'erofs':
      execFileSync('mkfs.erofs', ['--quiet', file, tree], { stdio: [...stdio] });
      break;
    case 'ext4':
      execFileSync(
        'mke2fs',
        ['-q', '-t', 'ext4', '-E', 'lazy_itable_init=1,lazy_journal_init=1', ...more, '-d', tree, file, `${size}M`],
        { stdio: [...stdio] },
      );
  }
  return file;
}
