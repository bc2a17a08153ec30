/** A loop device for an image. */
import type { ImageAction } from '../../../plan/actions/image.js';
import { close } from '../../../syscalls/fs.js';
import { SyscallError } from '../../../syscalls/libc.js';
import { configureLoop, fileId, freeLoop, loopPath, openLoop } from '../../../syscalls/loop.js';
import { sleep } from '../../sleep.js';
import { holdLoop, isOurs, isSameFile, loopsOf } from './loops.js';
import { refuseImage } from './refuse.js';

type Attach = Extract<ImageAction, { op: 'image.attach' }>;

export interface Attached {
  readonly device: number;
  readonly path: string;
}

/** Others take free devices at the same time as we do: between being told of one and having it there is a gap. */
const TRIES = 100;

/**
 * The device of another container that only reads the same image: then both have one superblock, and what is read
 * of it is in memory once. Looked at again once it is open, since it may have been freed and taken meanwhile.
 */
function shared(file: number): Attached | undefined {
  const id = fileId(file);
  for (const { number } of loopsOf(file)) {
    const held = holdLoop(number);
    if (held === undefined) continue;
    const { device, status } = held;
    if (isSameFile(status, id) && status.readOnly && status.autoclear && status.whole && isOurs(status))
      return { device, path: loopPath(number) };
    close(device);
  }
  return undefined;
}

function attachFree(file: number, { writable, label }: Attach): Attached | undefined {
  const number = freeLoop();
  const device = openLoop(number, writable);
  try {
    configureLoop(device, file, { readOnly: !writable, name: label });
    return { device, path: loopPath(number) };
  } catch (error) {
    close(device);
    if (error instanceof SyscallError && error.errno === 'EBUSY') return undefined;
    throw error;
  }
}

/** Errnos of a host, or a kernel, without loop devices for us. */
const NO_LOOP: readonly string[] = ['ENOENT', 'ENODEV', 'ENXIO', 'EPERM', 'EACCES', 'ENOSPC'];

/** @throws CaissonError ROOTFS_IMAGE_NO_LOOP */
export function attachImage(file: number, action: Attach): Attached {
  const none = (why: string, cause?: unknown): never =>
    refuseImage(
      'ROOTFS_IMAGE_NO_LOOP',
      `no loop device for image ${action.path}: ${why}`,
      'an image needs /dev/loop-control and the loop module (modprobe loop); inside a container there is neither',
      cause,
    );
  try {
    const other = action.writable ? undefined : shared(file);
    if (other !== undefined) return other;
    for (let attempt = 0; attempt < TRIES; attempt++) {
      const attached = attachFree(file, action);
      if (attached !== undefined) return attached;
      sleep(1);
    }
  } catch (error) {
    if (error instanceof SyscallError && NO_LOOP.includes(error.errno)) none(error.message, error);
    throw error;
  }
  return none('others take each one that is free');
}
