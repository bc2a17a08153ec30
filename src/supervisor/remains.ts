/** What an earlier supervisor has left of a container on the host. */
import { lstat, readFile } from 'node:fs/promises';
import type { HostFacts } from '../plan/facts.js';
import { frozenSign, traces } from '../plan/teardown.js';
import type { ContainerSpec } from '../spec/container.js';

/** Only ENOENT says that nothing is there. */
function isPresentError(error: NodeJS.ErrnoException): boolean {
  return error.code !== 'ENOENT';
}

/** True when an earlier supervisor, or a cleanup that failed, has left something of this container. */
export async function hasTraces(spec: ContainerSpec, facts: HostFacts, runDir: string): Promise<boolean> {
  const paths = traces(spec, facts, { runDir });
  const found = await Promise.all(paths.map(path => lstat(path).then(() => true, isPresentError)));
  return found.includes(true);
}

/** True when it was left frozen. */
export async function isFrozen(spec: ContainerSpec, facts: HostFacts): Promise<boolean> {
  const sign = frozenSign(spec, facts);
  if (sign === undefined) return false;
  const text = await readFile(sign.path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error;
    return '';
  });
  return text.includes(sign.text);
}
