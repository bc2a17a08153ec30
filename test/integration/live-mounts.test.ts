/** Mounts of running containers (HST-34, HST-35), and what a hostile payload makes of their targets. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { CaissonError } from 'caisson';
import { describe, expect, test } from 'vitest';
import { MuteServer } from '../lib/mute-server.ts';
import { MODES, type Mode, useRig } from '../lib/rig.ts';
import { type Shell, startShell } from '../lib/shell.ts';
import { slow } from '../lib/slow.ts';

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

describe('HST-34 a payload that serves files itself', () => {
  // The kernel lets nobody from outside into what is mounted in a user namespace: there the walk is refused at once.
  const MUTE = 'mkdir /mute; exec 3<>/dev/fuse; mount -t fuse -o fd=3,rootmode=40000,user_id=0,group_id=0 x /mute';

  /** Of a promise that is rejected: with what, and after how many ms. */
  async function refusedIn(promise: Promise<unknown>): Promise<{ error: CaissonError; ms: number }> {
    const begun = performance.now();
    return { error: await refusal(promise), ms: performance.now() - begun };
  }

  test('and never answers holds up nobody: the mount is given up in time, and the container can be ended', async () => {
    const hostile = await shell('privileged');
    await hostile.say(MUTE);
    const path = source();
    for (const act of [
      () => hostile.container.addMount({ source: path, target: '/mute/deep/er' }),
      () => hostile.container.addMount({ source: join(path, 'hello'), target: '/mute/hello' }),
      () => hostile.container.removeMount('/mute/deep/er'),
    ]) {
      const { error, ms } = await refusedIn(act());
      expect(error).toMatchObject({ code: 'TIMEOUT' });
      expect(ms).toBeLessThan(slow(5000));
    }
    await hostile.container.addMount({ source: path, target: '/beside' });
    expect(await hostile.say('cat /beside/hello')).toBe('from the host');
    // What is mounted over the mute root itself needs no answer.
    await hostile.container.removeMount('/mute');
    expect(await hostile.say('ls -A /mute | wc -l')).toBe('0');
    await hostile.container.kill();
  });

  test('and has taken the request, so that who asks cannot even be killed: the same', async () => {
    const hostile = await shell('privileged');
    const other = await shell('unprivileged');
    await hostile.say('mkdir /mute');
    const server = new MuteServer('/mute', 'fuse', hostile.container.pid);
    try {
      const path = source();
      const { error, ms } = await refusedIn(hostile.container.addMount({ source: path, target: '/mute/x' }));
      expect(error).toMatchObject({ code: 'TIMEOUT' });
      expect(ms).toBeLessThan(slow(5000));
      expect(server.taken).toBeGreaterThan(0);
      await other.container.addMount({ source: path, target: '/x' });
      expect(await other.say('cat /x/hello')).toBe('from the host');
    } finally {
      server.end();
    }
    // A thread reaps a child that it had to leave to itself when it sends the next one: here all threads do.
    await new Promise(resolve => setTimeout(resolve, slow(300)));
    await Promise.all(Array.from({ length: 16 }, () => refusal(other.container.removeMount('/nowhere'))));
    for (const { container } of [hostile, other]) await container.kill();
  });

  test('in a user namespace: nobody from outside is let in, which is told at once', async () => {
    const hostile = await shell('unprivileged');
    await hostile.say(MUTE);
    const { error } = await refusedIn(hostile.container.addMount({ source: source(), target: '/mute/x' }));
    expect(error).toMatchObject({ code: 'STEP_FAILED', errno: 'EACCES' });
    await hostile.container.kill();
  });
});

test('HST-34 a source on the host whose file server never answers is given up in time, and holds up nobody', async () => {
  const { container, say } = await shell('unprivileged');
  const hung = rig.directory('hung');
  const server = new MuteServer(hung, 'fuse');
  try {
    for (const source of [join(hung, 'below'), join(hung, 'below')]) {
      const begun = performance.now();
      expect(await refusal(container.addMount({ source, target: '/x' }))).toMatchObject({
        code: 'TIMEOUT',
        message: expect.stringContaining(source),
      });
      expect(performance.now() - begun).toBeLessThan(slow(5000));
    }
    expect(server.taken).toBeGreaterThan(0);
    // All its workers are free for others, and nobody asks the server for what is mounted as a whole.
    await Promise.all(
      Array.from({ length: 8 }, (_, index) => container.addMount({ source: source(), target: `/y/${index}` })),
    );
    expect(await say('cat /y/7/hello')).toBe('from the host');
    const asked = server.taken;
    await container.addMount({ source: hung, target: '/whole', readOnly: true });
    expect(await say("grep -c ' /whole ' /proc/mounts")).toBe('1');
    expect(server.taken).toBe(asked);
    await container.removeMount('/whole');
  } finally {
    server.end();
  }
  await new Promise(resolve => setTimeout(resolve, slow(300)));
  await Promise.all(Array.from({ length: 16 }, () => refusal(container.removeMount('/nowhere'))));
  await container.kill();
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
