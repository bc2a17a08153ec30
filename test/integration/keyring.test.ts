/** Keys and the login of who started the supervisor do not reach the payload, and no keyring outlives it (ENV-63). */
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { promisify } from 'node:util';
import { beforeAll, describe, expect, test } from 'vitest';
import { compile, compileInto, KEYS } from '../lib/programs.ts';
import { MODES, until, useRig, waitForText } from '../lib/rig.ts';

const rig = useRig({ prepare: rootfs => compileInto(rootfs, 'keys', KEYS) });
const NAME = 'caisson-test-secret';
const run = promisify(execFile);
let keys = '';

beforeAll(() => {
  keys = compile(join(rig.directory('host'), 'keys'), KEYS);
});

/** Keys of all users together (keyrings(7), /proc/key-users). */
function keyCount(): number {
  const lines = readFileSync('/proc/key-users', 'utf8').split('\n').filter(Boolean);
  return lines.reduce((sum, line) => sum + Number(/^\s*\d+:\s+\d+\s+(\d+)\//.exec(line)?.[1]), 0);
}

/** The count once the kernel has collected what nobody has any more. */
async function settledKeyCount(): Promise<number> {
  for (let count = keyCount(); ; ) {
    await new Promise(resolve => setTimeout(resolve, 300));
    const now = keyCount();
    if (now === count) return count;
    count = now;
  }
}

test('the bait: what runs in that session keyring finds the key', async () => {
  const { stdout } = await run(keys, ['with', NAME, keys, 'show', NAME]);
  expect(stdout).toMatch(/^session keyring;0;.*;_ses\nsearch found\nrequest found\n$/);
});

describe.each(MODES)('%s', mode => {
  test("ENV-63: a new session keyring, without the supervisor's keys, and nobody's login", async () => {
    const program = new URL('./fixtures/status.mjs', import.meta.url).pathname;
    const script = `keys show ${NAME}; cat /proc/1/loginuid; echo; sleep 1`;
    const spec = { ...rig.spec(mode), init: '/bin/sh', args: ['-c', script] };
    const argument = JSON.stringify({ stateDir: rig.stateDir(), spec });
    const { stdout } = await run(keys, ['with', NAME, process.execPath, program, argument], { timeout: 30_000 });
    const { ownLogin, login, text } = JSON.parse(stdout) as { ownLogin: string; login: string; text: string };
    // The owner is root of the container.
    expect(text).toMatch(/^session keyring;0;\d+;[0-9a-f]+;_ses\nsearch ENOKEY\nrequest ENOKEY\n4294967295\n$/);
    expect(ownLogin, 'the bait').toBe('1000');
    // Read from outside: inside, a user that is not mapped would look like none.
    expect(login).toBe('4294967295');
  });

  test('ENV-63: no keyring is left after many starts', async () => {
    const before = await settledKeyCount();
    for (let round = 0; round < 3; round++) {
      const script = `keys show ${NAME}; sleep 1000`;
      const containers = await Promise.all(
        Array.from({ length: 5 }, () => rig.start({ mode, init: '/bin/sh', args: ['-c', script] })),
      );
      await Promise.all(containers.map(container => waitForText(container, 'request ENOKEY')));
      expect(keyCount()).toBeGreaterThanOrEqual(before + containers.length);
      await Promise.all(containers.map(container => container.kill()));
    }
    await until(() => keyCount() <= before, `the keys of ended containers are gone (${before} before)`);
  });
});
