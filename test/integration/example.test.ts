/** The example of the README does what the README says, and leaves nothing behind. */

import { execFileSync } from 'node:child_process';
import { mkdtempSync, realpathSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { removeTree } from '../lib/rig.ts';
import { slow } from '../lib/slow.ts';
import { own, settledDifference, snapshot } from '../lib/snapshot.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const EXAMPLE = join(ROOT, 'examples/embed.mjs');

let stateDir: string;

beforeAll(() => {
  stateDir = realpathSync(mkdtempSync('/var/tmp/caisson-test-'));
  own(stateDir);
});

afterAll(() => removeTree(stateDir));

test('examples/embed.mjs runs a container from its start to a clean stop', async () => {
  // The first one makes what Node opens once for child processes and keeps.
  snapshot();
  const before = snapshot();
  const printed = execFileSync(process.execPath, [EXAMPLE, stateDir], {
    cwd: ROOT,
    encoding: 'utf8',
    timeout: slow(50_000),
  });
  expect(printed.replace(/^slowest step: .+$/m, 'slowest step: …').split('\n')).toEqual([
    'hello: stopped -> creating (start)',
    'hello: creating -> mounting (phase-done)',
    'hello: mounting -> devices (phase-done)',
    'hello: devices -> network (phase-done)',
    'hello: network -> running (phase-done)',
    'hello from hello, uid 0',
    'slowest step: …',
    'hello: running -> stopping (stop)',
    'hello: stopping -> stopped (stop)',
    'PID 1 halted or powered off',
    'SPEC_INVALID: limits.memori: is not a known key',
    '',
  ]);
  expect(await settledDifference(before)).toBe('');
});

test('its types hold, and the mistake in it is one', () => {
  const options =
    '--ignoreConfig --noEmit --allowJs --checkJs --strict --module nodenext --target es2023 --types node --skipLibCheck';
  execFileSync(join(ROOT, 'node_modules/.bin/tsc'), [...options.split(' '), EXAMPLE], { cwd: ROOT, stdio: 'pipe' });
});
