/** Uuids of the containers that run: images are copied with their machine id, and two of one are told of (HST-15). */
import type { PlanNotice } from '../plan/step.js';

/** @param uuids of each container that runs, by its name; `name` is entered. */
export function claimUuid(uuids: Map<string, string>, name: string, uuid: string): PlanNotice[] {
  const others = [...uuids].filter(([other, used]) => used === uuid && other !== name);
  uuids.set(name, uuid);
  if (others.length === 0) return [];
  const names = others.map(([other]) => other).join(', ');
  const message = `${names} has the same uuid, ${uuid}: empty /etc/machine-id in the image, or give each its own`;
  return [{ code: 'machine-id-duplicate', message }];
}
