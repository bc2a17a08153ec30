/** A root file system in a file: squashfs, erofs or ext4 by a loop device that the kernel frees by itself. */
import type { ContainerSpec } from '../spec/container.js';
import { layerOf, type Places } from './rootfs-layer.js';
import type { HostAction, HostStep } from './step.js';

const FILE = 'fd:image';
const TYPE = 'text:image.type';
const DEVICE = 'fd:loop';
const DEVICE_NAME = 'text:loop';
const RELEASE_TIMEOUT_MS = 30_000;

/** Bytes of lo_file_name (linux/loop.h), less its NUL. */
const LABEL_LENGTH = 63;

/** What the loop device of a container is marked with, so that others can tell whose it is. */
function imageLabel({ runDir }: Pick<Places, 'runDir'>): string {
  return `caisson ${runDir.split('/').slice(-2).join('/')}`.slice(0, LABEL_LENGTH);
}

/** True when what the container changes goes into the image itself. */
export function writesImage({ rootfs }: ContainerSpec): boolean {
  return rootfs.kind === 'image' && rootfs.overlay === 'none' && !rootfs.readOnly;
}

function creating(id: string, label: string, action: HostAction): HostStep {
  return { id: `creating.${id}`, phase: 'creating', executor: 'host', label, action };
}

/** The register that the image's mount is left in: already the root, unless a layer comes on top. */
export function imageMount(spec: ContainerSpec, places: Places): 'fd:rootfs' | 'fd:rootfs.dir' {
  return layerOf(spec, places) === null ? 'fd:rootfs' : 'fd:rootfs.dir';
}

/** Makes a detached mount of the image; nothing else is kept open, so that the device goes when that mount goes. */
export function imageSteps(spec: ContainerSpec, places: Places): HostStep[] {
  const { path } = spec.rootfs;
  const writable = writesImage(spec);
  return [
    creating('image.open', `open image ${path} and find out what it holds`, {
      op: 'image.open',
      path,
      writable,
      save: { file: FILE, type: TYPE },
    }),
    creating('image.attach', 'loop device on it', {
      op: 'image.attach',
      file: FILE,
      path,
      writable,
      label: imageLabel(places),
      save: { device: DEVICE, name: DEVICE_NAME },
    }),
    creating('image.mount', `detached mount of the image${writable ? '' : ', read-only'}`, {
      op: 'image.mount',
      device: { from: DEVICE_NAME },
      type: { from: TYPE },
      path,
      writable,
      // Its device nodes are of whoever made the image; those of the container are in /dev.
      attributes: writable ? ['MOUNT_ATTR_NODEV'] : ['MOUNT_ATTR_NODEV', 'MOUNT_ATTR_RDONLY'],
      save: imageMount(spec, places),
    }),
    creating('image.close', 'leave file and device to the mount: they go with it', {
      op: 'close',
      registers: [FILE, DEVICE],
    }),
  ];
}

/** For the teardown of one that wrote its image: what it wrote is in the file when this is done. */
export function imageReleased(spec: ContainerSpec, places: Pick<Places, 'runDir'>): HostAction | undefined {
  if (!writesImage(spec)) return undefined;
  return { op: 'image.released', label: imageLabel(places), timeoutMs: RELEASE_TIMEOUT_MS };
}
