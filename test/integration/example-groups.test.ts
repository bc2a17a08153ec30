/** The example of docs/supervision.md does what it says, and leaves nothing behind. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, realpathSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { removeTree } from '../lib/rig.ts';
import { slow } from '../lib/slow.ts';
import { own, settledDifference, snapshot } from '../lib/snapshot.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const EXAMPLE = join(ROOT, 'examples/groups.mjs');

let stateDir: string;
beforeAll(() => {
  stateDir = realpathSync(mkdtempSync('/var/tmp/caisson-test-'));
  own(stateDir);
});
afterAll(() => removeTree(stateDir));

test(
  'examples/groups.mjs: a crash of the first child restarts all that come after it',
  async () => {
    snapshot();
    const before = snapshot();
    const printed = execFileSync(process.execPath, [EXAMPLE, stateDir], {
      cwd: ROOT,
      encoding: 'utf8',
      timeout: slow(60_000),
    });
    const start = [
      '  db runs',
      'front: stopped -> starting',
      '  worker runs',
      '  web runs',
      'front: starting -> running',
    ];
    expect(printed.split('\n')).toEqual([
      'site: stopped -> starting',
      ...start,
      'site: starting -> running',
      'site: restart db, front, since db failed',
      'site: running -> restarting',
      'front: running -> stopping',
      'front: stopping -> stopped',
      ...start,
      'site: restarting -> running',
      'front: stay , since worker asked',
      'worker held, web up',
      'site: running -> stopping',
      'front: running -> stopping',
      'front: stopping -> stopped',
      'site: stopping -> stopped',
      '',
    ]);
    expect(await settledDifference(before)).toBe('');
  },
  slow(70_000),
);
