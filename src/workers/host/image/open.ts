/** Opening the file of an image: what it is, who may have it, and what it holds. */
import type { ImageAction } from '../../../plan/actions/image.js';
import { IMAGE_HEAD, IMAGE_TYPES, type ImageType, identifyImage, isReadOnlyType } from '../../../spec/image.js';
import { O } from '../../../syscalls/abi/constants.js';
import { close, readAt, statFd } from '../../../syscalls/fs.js';
import { tryLock } from '../../../syscalls/loop.js';
import { openRegularFile } from '../../regular-file.js';
import { loopsOf, ownerOf } from './loops.js';
import { refuseImage } from './refuse.js';

type OpenImage = Extract<ImageAction, { op: 'image.open' }>;

const HINT = `give the path of a file that holds ${IMAGE_TYPES.slice(0, -1).join(', ')} or ${IMAGE_TYPES.at(-1)}`;

function openFile(path: string, writable: boolean): number {
  const file = openRegularFile(path, writable ? O.O_RDWR : O.O_RDONLY);
  if (typeof file === 'number') return file;
  if (file.kind === 'missing') refuseImage('ROOTFS_IMAGE_MISSING', `image ${path} does not exist`, HINT, file.cause);
  refuseImage('ROOTFS_IMAGE_NOT_FILE', `image ${path} is not a regular file`, HINT);
}

function typeOf(file: number, path: string): ImageType {
  const finding = identifyImage(readAt(file, 0, IMAGE_HEAD));
  if (finding === undefined)
    refuseImage('ROOTFS_IMAGE_TYPE', `image ${path} holds no file system that is known here`, HINT);
  if ('ambiguous' in finding) {
    const types = finding.ambiguous.join(' and ');
    refuseImage(
      'ROOTFS_IMAGE_TYPE',
      `image ${path} has the superblocks of ${types}: it cannot be told what it is`,
      HINT,
    );
  }
  const { type, size = 0, unfit, hint } = finding;
  if (statFd(file).size < size)
    refuseImage('ROOTFS_IMAGE_REFUSED', `image ${path} is cut short: its ${type} has ${size} bytes`, 'make it anew');
  if (unfit !== undefined)
    refuseImage('ROOTFS_IMAGE_REFUSED', `image ${path}: its ${type} ${unfit}`, hint ?? 'make the image anew');
  return type;
}

/**
 * One writer, or any number of readers. The lock belongs to the open file, which the loop device keeps: it ends with the
 * container, however that ends, and whoever started it.
 */
function lock(file: number, path: string, writable: boolean): void {
  const locked = tryLock(file, writable);
  const others = loopsOf(file).filter(other => writable || !other.readOnly);
  if (locked && others.length === 0) return;
  const owner = others[0] === undefined ? 'another process' : ownerOf(others[0]);
  refuseImage(
    'ROOTFS_IMAGE_IN_USE',
    `image ${path} is in use by ${owner}`,
    'only one container can write an image, and nobody else can use it then: give each a copy, or an overlay on it',
  );
}

export function openImage({ path, writable }: OpenImage): { readonly file: number; readonly type: ImageType } {
  const file = openFile(path, writable);
  try {
    const type = typeOf(file, path);
    if (writable && isReadOnlyType(type)) {
      refuseImage(
        'ROOTFS_IMAGE_READ_ONLY',
        `image ${path} holds ${type}, which cannot be written`,
        'set rootfs.overlay to ephemeral or persistent, or rootfs.readOnly',
      );
    }
    lock(file, path, writable);
    return { file, type };
  } catch (error) {
    close(file);
    throw error;
  }
}
