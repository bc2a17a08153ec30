/** Root file systems of real distributions, built on first use by scripts/images.sh and shared: boot them below an overlay. */
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

export const IMAGES = ['debian-12', 'debian-13', 'sysvinit', 'openrc', 'runit', 'finit', 's6'] as const;
export type ImageName = (typeof IMAGES)[number];

/** For the hook that calls image() first: a mirror may be slow. */
export const IMAGE_TIMEOUT_MS = 300_000;

const SCRIPT = fileURLToPath(new URL('../../scripts/images.sh', import.meta.url));

/** The path of a tree owned by the host's root. The script's lock lets one process build while others wait for it. */
export async function image(name: ImageName): Promise<string> {
  const { stdout } = await promisify(execFile)('bash', [SCRIPT, name], { timeout: IMAGE_TIMEOUT_MS });
  return stdout.trim();
}
