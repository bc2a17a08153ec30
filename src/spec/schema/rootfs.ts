/** `rootfs`: where the container's files come from. */
import * as v from 'valibot';
import { absolutePath, flag, isRecord, object } from './values.js';

export const OVERLAYS = ['none', 'ephemeral', 'persistent'] as const;
export type OverlayKind = (typeof OVERLAYS)[number];

const rootfs = object({
  path: absolutePath,
  /** Make missing /dev, /proc, /sys in the rootfs instead of refusing (ENV-03). */
  createMissing: v.optional(flag),
  /** Changes go to a layer on top: `ephemeral` is thrown away at each stop, `persistent` when the container is removed. */
  overlay: v.optional(v.picklist(OVERLAYS, 'must be none, ephemeral or persistent')),
  /** A privileged container on a plain directory can remount the host's file system read-only (ENV-70): say so. */
  allowSharedSuperblock: v.optional(flag),
});

const neitherRootfsNorPath = v.string('must be an absolute path or an object with a path');
/** Chosen by the kind of value, not by trial: so that an error names the field inside, not the whole. */
export const rootfsOrPath = v.lazy(input => {
  if (isRecord(input)) return rootfs;
  return typeof input === 'string' ? absolutePath : neitherRootfsNorPath;
});
