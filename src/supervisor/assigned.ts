/** What a container is given by its supervisor, and keeps for good. */
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import type { Assigned } from '../plan/compile.js';
import type { ContainerSpec } from '../spec/container.js';
import { treeOf } from './layers.js';

/** A uuid that a container keeps over restarts, and that a copy of it elsewhere does not share (HST-14). */
function uuidOf(storeId: string, name: string, created: number): string {
  const bytes = createHash('sha256').update(`${storeId}\0${name}\0${created}`).digest().subarray(0, 16);
  // Version 8 and variant of RFC 9562: made by a rule of our own.
  bytes.writeUInt8((bytes.readUInt8(6) & 0x0f) | 0x80, 6);
  bytes.writeUInt8((bytes.readUInt8(8) & 0x3f) | 0x80, 8);
  return bytes.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}

export interface Place {
  /** Real path of the state directory. */
  readonly stateDir: string;
  /** Volatile directory of all containers. */
  readonly runDir: string;
  readonly storeId: string;
  /** ms since the epoch, as recorded. */
  readonly created: number;
  /** SHA-256 of its archive, if it has one. */
  readonly layer?: string | undefined;
}

/** In place of the digest of an archive that has not been read. */
export const UNREAD = '<sha256>';

export function assignedTo(spec: ContainerSpec, place: Place): Assigned {
  return {
    runDir: join(place.runDir, spec.name),
    dir: join(place.stateDir, spec.name),
    uuid: spec.uuid ?? uuidOf(place.storeId, spec.name, place.created),
    ...(place.layer === undefined ? {} : { layer: treeOf(place.stateDir, place.layer) }),
  };
}
