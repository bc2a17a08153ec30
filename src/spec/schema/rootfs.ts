/** `rootfs`: where the container's files come from. */
import * as v from 'valibot';
import { absolutePath, flag, isRecord, object } from './values.js';

export const OVERLAYS = ['none', 'ephemeral', 'persistent'] as const;
export type OverlayKind = (typeof OVERLAYS)[number];

export const SHIFTS = ['auto', 'idmap', 'chown', 'none'] as const;
export type ShiftKind = (typeof SHIFTS)[number];

const common = {
  /** Make missing /dev, /proc, /sys in the rootfs instead of refusing (ENV-03). */
  createMissing: v.optional(flag),
  /** Changes go to a layer on top: `ephemeral` is thrown away at each stop, `persistent` when the container is removed. */
  overlay: v.optional(v.picklist(OVERLAYS, 'must be none, ephemeral or persistent')),
};

const directory = object({
  path: absolutePath,
  ...common,
  /** A privileged container on a plain directory can remount the host's file system read-only (ENV-70): say so. */
  allowSharedSuperblock: v.optional(flag),
  /** How the files come to belong to an unprivileged container's ids (NET-33). */
  shift: v.optional(v.picklist(SHIFTS, 'must be auto, idmap, chown or none')),
});

const image = object({
  /** A file that holds a file system: squashfs, erofs or ext4. */
  image: absolutePath,
  ...common,
  /** Nothing can be written, not even to a layer. */
  readOnly: v.optional(flag),
});

/** Unpacked once for all containers that name it, so that none may write to it. */
const archive = object({
  archive: absolutePath,
  createMissing: v.optional(flag),
  overlay: v.optional(v.picklist(['ephemeral', 'persistent'], 'must be ephemeral or persistent')),
});

const neitherRootfsNorPath = v.string('must be an absolute path or an object with a path, an image or an archive');
/** Chosen by the kind of value, not by trial: so that an error names the field inside, not the whole. */
export const rootfsOrPath = v.lazy(input => {
  if (isRecord(input)) return 'image' in input ? image : 'archive' in input ? archive : directory;
  return typeof input === 'string' ? absolutePath : neitherRootfsNorPath;
});

export interface Rootfs {
  /** Of a directory, an image file, or an archive. */
  readonly path: string;
  readonly kind: 'directory' | 'image' | 'archive';
  readonly createMissing: boolean;
  readonly overlay: OverlayKind;
  readonly readOnly: boolean;
  readonly allowSharedSuperblock: boolean;
  readonly shift: ShiftKind;
}

type RootfsInput = v.InferInput<typeof directory> | v.InferInput<typeof image> | v.InferInput<typeof archive>;

/** An image is only read unless asked for otherwise: what it was made as, the next container finds again. */
export function resolveRootfs(input: string | RootfsInput): Rootfs {
  const given: RootfsInput = typeof input === 'string' ? { path: input } : input;
  if ('archive' in given) {
    const { archive: path, createMissing = false, overlay = 'persistent' } = given;
    return {
      path,
      kind: 'archive',
      createMissing,
      overlay,
      readOnly: false,
      allowSharedSuperblock: false,
      shift: 'auto',
    };
  }
  const readOnly = 'image' in given && given.readOnly === true;
  return {
    path: 'image' in given ? given.image : given.path,
    kind: 'image' in given ? 'image' : 'directory',
    createMissing: given.createMissing ?? false,
    overlay: given.overlay ?? ('image' in given && !readOnly ? 'ephemeral' : 'none'),
    readOnly,
    allowSharedSuperblock: 'path' in given && given.allowSharedSuperblock === true,
    shift: 'path' in given ? (given.shift ?? 'auto') : 'auto',
  };
}
