/** Mounts of running containers (HST-34, HST-35), and what a hostile payload makes of their targets. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { CaissonError } from 'caisson';
import { describe, expect, test } from 'vitest';
import { MODES, type Mode, useRig } from '../lib/rig.ts';
import { type Shell, startShell } from '../lib/shell.ts';

const rig = useRig();

const shell = (mode: Mode): Promise<Shell> => startShell(rig, mode);

function source(): string {
  const path = rig.directory('source');
  writeFileSync(join(path, 'hello'), 'from the host\n', { mode: 0o644 });
  return path;
}

async function refusal(promise: Promise<unknown>): Promise<CaissonError> {
  return await promise.then(
    () => {
      throw new Error('it was not refused');
    },
    (error: CaissonError) => error,
  );
}

describe.each(MODES)('%s', mode => {
  test('HST-34 a directory of the host appears in a running container, and goes again', async () => {
    const { container, say } = await shell(mode);
    const path = source();
    await container.addMount({ source: path, target: '/mnt/deep/er' });
    expect(await say('cat /mnt/deep/er/hello')).toBe('from the host');
    expect(await say("stat -c '%u:%g %a' /mnt/deep")).toBe('0:0 755');
    writeFileSync(join(path, 'later'), 'too\n');
    expect(await say('cat /mnt/deep/er/later')).toBe('too');
    await container.removeMount('/mnt/deep/er');
    expect(await say('ls /mnt/deep/er | wc -l')).toBe('0');
    // Nothing of it in the host's own mount namespace, before or after.
    expect(readFileSync('/proc/self/mountinfo', 'utf8')).not.toContain('/mnt/deep');
    await container.kill();
  });

  test('HST-34 read-only, without devices and setuid programs; a single file; owners by the id map when asked', async () => {
    const { container, say } = await shell(mode);
    const path = source();
    await container.addMount({ source: path, target: '/ro', readOnly: true });
    expect(await say('touch /ro/x 2>&1')).toContain('Read-only file system');
    expect(await say("grep ' /ro ' /proc/mounts")).toMatch(/ ro,nosuid,nodev/);
    await container.addMount({ source: join(path, 'hello'), target: '/etc/a/hello' });
    expect(await say('cat /etc/a/hello')).toBe('from the host');
    await container.addMount({ source: path, target: '/shifted', shift: true });
    expect(await say("stat -c '%u:%g' /shifted/hello; echo x > /shifted/made; echo $?")).toBe('0:0\n0');
    expect(statSync(join(path, 'made')).uid).toBe(0);
    await container.kill();
  });

  test('HST-34 a process with a mount namespace of its own sees it come and go; HST-33: and what comes to incoming', async () => {
    const { container, say } = await shell(mode);
    await say('unshare -m --propagation slave sleep 1000 & sleep 0.3');
    await container.addMount({ source: source(), target: '/late' });
    expect(await say('cat /proc/$!/root/late/hello')).toBe('from the host');
    await container.removeMount('/late');
    expect(await say('grep -c /late /proc/$!/mounts; ls -A /proc/$!/root/late')).toBe('0');
    const staged = join(container.runDir, 'incoming/staged');
    mkdirSync(staged);
    execFileSync('mount', ['-t', 'tmpfs', 'caisson-test', staged]);
    expect(await say('grep -c incoming/staged /proc/$!/mounts')).toBe('1');
    execFileSync('umount', [staged]);
    expect(await say('grep -c incoming/staged /proc/$!/mounts')).toBe('0');
    rmdirSync(staged);
    await container.kill();
  });

  test('HST-35 a symlink at the target, or on the way to it, is refused and nothing is made through it', async () => {
    const { container, say } = await shell(mode);
    await say('ln -s /run/host /evil; ln -s / /way; mkdir /dir; echo > /file');
    const path = source();
    for (const target of ['/evil', '/way/etc', '/evil/new', '/file/below', '/file']) {
      expect(await refusal(container.addMount({ source: path, target })), target).toMatchObject({
        code: 'MOUNT_TARGET_REFUSED',
        field: 'target',
      });
    }
    expect(await say('ls /run/host/new 2>&1')).toContain('No such file');
    expect(await refusal(container.removeMount('/dir'))).toMatchObject({ code: 'MOUNT_TARGET_REFUSED' });
    expect(await refusal(container.removeMount('/nowhere'))).toMatchObject({ code: 'MOUNT_TARGET_REFUSED' });
    await container.kill();
  });
});

test('bad input names its field and changes nothing; a container that does not run has no mounts', async () => {
  const { container } = await shell('unprivileged');
  for (const [options, field] of [
    [{ source: 'relative', target: '/x' }, 'source'],
    [{ source: '/tmp', target: 'x' }, 'target'],
    [{ source: '/tmp', target: '/' }, 'target'],
    [{ source: '/tmp', target: '/a/../../b' }, 'target'],
  ] as const) {
    expect(await refusal(container.addMount(options))).toMatchObject({ code: 'SPEC_INVALID', field });
  }
  expect(await refusal(container.addMount({ source: '/nonexistent', target: '/x' }))).toMatchObject({
    code: 'STEP_FAILED',
    errno: 'ENOENT',
  });
  await container.kill();
  expect(await refusal(container.addMount({ source: '/tmp', target: '/x' }))).toMatchObject({
    code: 'INVALID_TRANSITION',
  });
});

test('200 mounts while the payload swaps their target for a symlink: none lands elsewhere', async () => {
  const { container, say } = await shell('unprivileged');
  const path = source();
  mkdirSync(join(path, 'inner'));
  await say(
    'mkdir /prey; (while :; do rm -rf /bait; ln -s /prey /bait; rm -f /bait; mkdir /bait; done) >/dev/null 2>&1 &',
  );
  let refused = 0;
  for (let round = 0; round < 200; round++) {
    await container.addMount({ source: path, target: '/bait/x' }).catch(() => refused++);
  }
  await say('kill $!; wait');
  expect((await say('ls -A /prey | wc -l')).split('\n').at(-1)).toBe('0');
  console.log(`${refused} of 200 mounts refused`);
  expect(readFileSync(`/proc/${container.pid}/mountinfo`, 'utf8')).not.toMatch(/ \/prey/);
  await container.kill();
});
