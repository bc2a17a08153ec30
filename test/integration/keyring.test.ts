/** Keys and the login of who started the supervisor do not reach the payload, and no keyring outlives it (ENV-63). */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import process from 'node:process';
import { promisify } from 'node:util';
import { beforeAll, describe, expect, test } from 'vitest';
import { ERRNO } from '#src/spec/errno.js';
import { trySyscall } from '#src/syscalls/libc.js';
import { compile, compileInto, KEYS } from '../lib/programs.ts';
import { MODES, until, useRig, waitForText } from '../lib/rig.ts';

const rig = useRig({ prepare: rootfs => compileInto(rootfs, 'keys', KEYS) });
const NAME = 'caisson-test-secret';
const run = promisify(execFile);
let keys = '';

beforeAll(() => {
  keys = compile(join(rig.directory('host'), 'keys'), KEYS);
});

const KEYCTL_DESCRIBE = 6;

/** Also true of one that this user may not look at. */
function exists(serial: number): boolean {
  return trySyscall('keyctl', KEYCTL_DESCRIBE, serial, 0, 0) !== -ERRNO.ENOKEY;
}

test('the bait: what runs in that session keyring finds the key', async () => {
  const { stdout } = await run(keys, ['with', NAME, keys, 'show', NAME]);
  expect(stdout).toMatch(/^session keyring;0;.*;_ses\nid \d+\nsearch found\nrequest found\n$/);
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
    expect(text).toMatch(/^session keyring;0;\d+;[0-9a-f]+;_ses\nid \d+\nsearch ENOKEY\nrequest ENOKEY\n4294967295\n$/);
    expect(ownLogin, 'the bait').toBe('1000');
    // Read from outside: inside, a user that is not mapped would look like none.
    expect(login).toBe('4294967295');
  });

  test('ENV-63: no keyring is left after many starts', async () => {
    const serials: number[] = [];
    for (let round = 0; round < 3; round++) {
      const script = `keys show ${NAME}; sleep 1000`;
      const containers = await Promise.all(
        Array.from({ length: 5 }, () => rig.start({ mode, init: '/bin/sh', args: ['-c', script] })),
      );
      const texts = await Promise.all(containers.map(container => waitForText(container, 'request ENOKEY')));
      const found = texts.map(text => Number(/^id (\d+)/m.exec(text)?.[1]));
      expect(found.map(exists)).toEqual(found.map(() => true));
      serials.push(...found);
      await Promise.all(containers.map(container => container.kill()));
    }
    expect(new Set(serials).size).toBe(15);
    await until(() => !serials.some(exists), 'the keyrings of ended containers are gone');
  });
});
