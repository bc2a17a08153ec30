/** The layer that takes what a container changes of a root file system that is only read (overlayfs). */
import type { ContainerSpec } from '../spec/container.js';
import { CaissonError } from '../spec/errors.js';
import type { Assigned } from './compile.js';

/** What a container's directories are called by. */
export type Places = Pick<Assigned, 'runDir' | 'dir' | 'layer'>;

/** The directory that the root file system is made from. */
export function sourceOf(spec: ContainerSpec, places: Pick<Places, 'layer'>): string {
  const path = spec.rootfs.kind === 'archive' ? places.layer : spec.rootfs.path;
  if (path === undefined) throw new CaissonError('INTERNAL', `${spec.name} has an archive, but no layer`);
  return path;
}

/** Where the ephemeral layer lies: beside the volatile directory, which does not outlast a reboot of the container. */
export function ephemeralLayer(places: Pick<Places, 'runDir'>): string {
  return `${places.runDir}.overlay`;
}

/** The directory of the container's layer; null without an overlay. */
export function layerOf(spec: ContainerSpec, places: Places): string | null {
  switch (spec.rootfs.overlay) {
    case 'none':
      return null;
    case 'ephemeral':
      return ephemeralLayer(places);
    case 'persistent':
      return `${places.dir}/overlay`;
  }
}
