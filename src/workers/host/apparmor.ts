/** Loading AppArmor profiles. apparmor_parser is their compiler, and there is no other: the one program that is run. */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { CaissonError } from '../../spec/errors.js';

const PROFILES = '/sys/kernel/security/apparmor/profiles';
const TIMEOUT_MS = 30_000;

/** Profiles that this thread has seen loaded: the kernel keeps them. */
const loaded = new Set<string>();

function isLoaded(name: string): boolean {
  return readFileSync(PROFILES, 'utf8')
    .split('\n')
    .some(line => line.startsWith(`${name} (`));
}

/**
 * A profile stays loaded, as those of the host's packages do: containers of other supervisors may have it on, and to
 * take it away would leave them unconfined.
 */
export function loadProfile({ parser, name, text }: { parser: string; name: string; text: string }): void {
  if (loaded.has(name)) return;
  if (!isLoaded(name)) {
    const options = { input: text, encoding: 'utf8', timeout: TIMEOUT_MS, env: {} } as const;
    const { status, stderr, error } = spawnSync(parser, ['--replace', '--skip-cache'], options);
    if (error !== undefined || status !== 0) {
      throw new CaissonError('STEP_FAILED', `${parser}: ${error?.message ?? stderr.trim()}`, {
        hint: 'security.apparmor: none starts the container without a profile',
      });
    }
  }
  loaded.add(name);
}
