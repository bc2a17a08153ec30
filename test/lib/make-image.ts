/** Files that hold a file system, made from a tree by the tools of their authors. */
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { release } from 'node:os';
import type { ImageType } from '#src/spec/image.js';

const TOOLS = { mksquashfs: 'squashfs-tools', 'mkfs.erofs': 'erofs-utils', mke2fs: 'e2fsprogs', debugfs: 'e2fsprogs' };

/** Why this host cannot make images; undefined where it can. */
export function missingTools(): string | undefined {
  const places = ['/usr/bin', '/usr/sbin', '/bin', '/sbin', '/usr/local/bin', '/usr/local/sbin'];
  const missing = Object.entries(TOOLS).filter(([tool]) => !places.some(place => existsSync(`${place}/${tool}`)));
  if (missing.length === 0) return undefined;
  return `${missing.map(([tool]) => tool).join(', ')} is missing: install ${missing.map(([, name]) => name).join(', ')}`;
}

/** Why an unprivileged container cannot have a squashfs here; undefined where it can. */
export function noSquashfsIdmap(): string | undefined {
  const [major = 0, minor = 0] = release().split('.').map(Number);
  return major > 6 || (major === 6 && minor >= 2) ? undefined : 'squashfs has no id-mapped mounts before Linux 6.2';
}

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
