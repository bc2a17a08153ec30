/** Root file systems in files: squashfs, erofs and ext4, below a layer, read-only, and written to. */
import { execFileSync, spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Container } from 'caisson';
import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { ERRNO } from '#src/spec/errno.js';
import { IMAGE_TYPES, type ImageType } from '#src/spec/image.js';
import { makeImage, missingTools, noSquashfsIdmap } from '../lib/make-image.ts';
import { finish, MODES, until, useRig } from '../lib/rig.ts';
import { startShell } from '../lib/shell.ts';
import { slow } from '../lib/slow.ts';
import { own, settledDifference, snapshot } from '../lib/snapshot.ts';
import { halfMade, Victim } from '../lib/victim.ts';

const rig = useRig();
const images = new Map<ImageType, string>();
const imageOf = (type: ImageType): string => images.get(type) ?? '';

const noTools = missingTools();
const noSquashfs = noSquashfsIdmap();
/** One that cannot be written, for any container of this host. */
const PACKED = noSquashfs === undefined ? 'squashfs' : 'erofs';

beforeEach(({ skip }) => {
  if (noTools !== undefined) skip(noTools);
});

beforeAll(() => {
  if (noTools !== undefined) return;
  for (const type of IMAGE_TYPES) images.set(type, makeImage(type, rig.rootfs, join(rig.dir, `base.${type}`)));
});

/** An ext4 image that this test may write. */
function copy(name: string): string {
  const path = join(rig.directory(name), 'root.ext4');
  copyFileSync(imageOf('ext4'), path);
  return path;
}

async function again(container: Container): Promise<string[]> {
  const from = container.console.end;
  await container.start();
  await finish(container);
  return container.console.since(from).data.toString().split('\r\n').filter(Boolean);
}

const COUNT = 'cat /count 2>/dev/null; echo run >> /count';
const OWNER = 'stat -c %u:%g /bin/busybox';

describe.each(MODES)('%s', mode => {
  describe.each(IMAGE_TYPES)('%s', type => {
    beforeEach(({ skip }) => {
      if (type === 'squashfs' && mode === 'unprivileged' && noSquashfs !== undefined) skip(noSquashfs);
    });

    test('by default changes go to a layer that is thrown away, and the image is not touched', async () => {
      const before = statSync(imageOf(type));
      const script = `${COUNT}; ${OWNER}; grep -c ' / overlay' /proc/self/mounts`;
      const { container, lines } = await rig.run({ mode, rootfs: { image: imageOf(type) }, script });
      expect(lines).toEqual(['0:0', '1']);
      await rig.expectNothingLeft();
      expect(await again(container)).toEqual(['0:0', '1']);
      expect(statSync(imageOf(type)).mtimeMs).toBe(before.mtimeMs);
    });

    test('a persistent layer is kept with the container', async () => {
      const rootfs = { image: imageOf(type), overlay: 'persistent' } as const;
      const { container, lines } = await rig.run({ mode, rootfs, script: `${COUNT}; ${OWNER}` });
      expect(lines).toEqual(['0:0']);
      expect(await again(container)).toEqual(['run', '0:0']);
    });

    test('readOnly: the root is the image, and cannot be written', async () => {
      const rootfs = { image: imageOf(type), readOnly: true };
      const script = `touch /x; ${OWNER}; grep ' / ' /proc/self/mounts; mount -o remount,rw / && touch /x`;
      const { text } = await rig.run({ mode, rootfs, script });
      expect(text).toMatch(/touch: \/x: Read-only file system\n0:0\n/);
      expect(text).toMatch(new RegExp(`/dev/loop\\d+ / ${type} ro,nodev,`));
      await rig.run({ rootfs, script: 'true' });
    });
  });

  test('overlay: none: what the container writes is in the file once it has stopped', async () => {
    const image = copy('written');
    const rootfs = { image, overlay: 'none' } as const;
    const script = `${COUNT}; ${OWNER}; grep ' / ' /proc/self/mounts; echo 'from inside' > /etc/mark; chown 7:8 /etc/mark`;
    const { container, lines } = await rig.run({ mode, rootfs, script });
    expect(lines[0]).toBe('0:0');
    expect(lines[1]).toMatch(/ \/ ext4 rw,nodev,.*errors=remount-ro/);
    await rig.expectNothingLeft();
    expect(
      execFileSync('debugfs', ['-R', 'cat /etc/mark', image], {
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'ignore'],
      }),
    ).toBe('from inside\n');
    // The ids inside, whoever wrote it: another container, with other ids, finds its own.
    expect(
      execFileSync('debugfs', ['-R', 'stat /etc/mark', image], {
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'ignore'],
      }),
    ).toMatch(/User:\s+7\s+Group:\s+8\s/);
    expect(spawnSync('e2fsck', ['-fn', image]).status).toBe(0);
    expect((await again(container))[0]).toBe('run');
  });

  test('LIF-41: a written image outlasts reboots', async () => {
    const script = `${COUNT}; [ "$(grep -c . /count)" -ge 3 ] || reboot -f`;
    const { container, lines } = await rig.run({ mode, rootfs: { image: copy('reboot'), overlay: 'none' }, script });
    expect(container.restartCount).toBe(2);
    expect(lines).toEqual(['run', 'run', 'run'].slice(0, lines.length));
  });

  test('ENV-70: a container that remounts its root read-only does not touch the host', async () => {
    for (const rootfs of [{ image: copy('remount'), overlay: 'none' }, { image: imageOf(PACKED) }] as const) {
      const { lines } = await rig.run({ mode, rootfs, script: 'mount -o remount,ro /; touch /x; echo tried' });
      expect(lines.at(-1)).toBe('tried');
      writeFileSync(join(rig.dir, 'still-writable'), 'yes');
    }
  });

  test('device nodes of the image are dead', async () => {
    const { text } = await rig.run({
      mode,
      rootfs: { image: nodes() },
      script: 'cat /null; cat /dev/null && echo its own works',
    });
    expect(text).toMatch(/'\/null'.*Permission denied/);
    expect(text).toContain('its own works');
  });
});

let nodesImage: string | undefined;
/** An image with a device node in its root. */
function nodes(): string {
  if (nodesImage !== undefined) return nodesImage;
  const tree = rig.tree();
  execFileSync('mknod', ['-m', '666', join(tree, 'null'), 'c', '1', '3']);
  nodesImage = makeImage(PACKED, tree, join(rig.dir, 'nodes'));
  return nodesImage;
}

describe('who may use an image', () => {
  test('one writer, and nobody else meanwhile; the error names who it is', async () => {
    const image = copy('exclusive');
    const writer = await startShell(rig, 'unprivileged', { name: 'writer', rootfs: { image, overlay: 'none' } });
    for (const rootfs of [{ image, overlay: 'none' }, { image }, { image, readOnly: true }] as const) {
      const other = await rig.create({ rootfs, init: '/bin/true' });
      await expect(other.start()).rejects.toMatchObject({
        code: 'ROOTFS_IMAGE_IN_USE',
        field: 'rootfs.image',
        message: expect.stringContaining('container writer'),
        step: { id: 'creating.image.open' },
      });
    }
    // Also by another name.
    const link = join(rig.dir, 'hardlink.ext4');
    execFileSync('ln', [image, link]);
    const other = await rig.create({ rootfs: { image: link, overlay: 'none' }, init: '/bin/true' });
    await expect(other.start()).rejects.toMatchObject({ code: 'ROOTFS_IMAGE_IN_USE' });
    await writer.container.kill();
    // At once: the lock ends with the device.
    await other.start();
    await finish(other);
  });

  test('readers keep a writer out, and the host’s own loop devices count, too', async () => {
    const image = copy('readers');
    const reader = await startShell(rig, 'unprivileged', { name: 'reader', rootfs: { image } });
    const writer = await rig.create({ rootfs: { image, overlay: 'none' }, init: '/bin/true' });
    await expect(writer.start()).rejects.toMatchObject({ message: expect.stringContaining('container reader') });
    await reader.container.kill();
    const device = execFileSync('losetup', ['--find', '--show', image], { encoding: 'utf8' }).trim();
    try {
      await expect(writer.start()).rejects.toMatchObject({
        code: 'ROOTFS_IMAGE_IN_USE',
        message: expect.stringContaining(device),
      });
    } finally {
      execFileSync('losetup', ['--detach', device]);
    }
    await until(() => !existsSync(`/sys/block/${device.slice(5)}/loop`), 'the device is free');
    await writer.start();
    await finish(writer);
  });

  test.for(IMAGE_TYPES)('readers of one %s share a device, and with it what is in memory', async (type, { skip }) => {
    if (type === 'squashfs' && noSquashfs !== undefined) skip(noSquashfs);
    const shells = [];
    for (const mode of [...MODES, ...MODES]) {
      shells.push(await startShell(rig, mode, { rootfs: { image: imageOf(type) } }));
    }
    const devices = snapshot().loops;
    expect(devices).toHaveLength(1);
    for (const { say } of shells) expect(await say(`${OWNER}; echo x > /x; cat /x`)).toBe('0:0\nx');
    // The first to come may be the first to go.
    await shells.shift()?.container.kill();
    for (const { say } of shells) expect(await say('ls /bin/busybox')).toBe('/bin/busybox');
    expect(snapshot().loops).toEqual(devices);
    for (const { container } of shells) await container.kill();
    await rig.expectNothingLeft();
  });

  test('a device that outlives who made it, since others read it, keeps nobody waiting', async () => {
    const first = await startShell(rig, 'unprivileged', { name: 'reborn', rootfs: { image: imageOf('erofs') } });
    const second = await startShell(rig, 'unprivileged', { rootfs: { image: imageOf('erofs') } });
    await first.container.kill();
    await rig.supervisor.remove('reborn');
    // The same name, now a writer: what it waits for at its end is its own device.
    const begun = Date.now();
    const { end } = await rig.run({
      name: 'reborn',
      rootfs: { image: copy('reborn'), overlay: 'none' },
      script: 'true',
    });
    expect(end).toMatchObject({ state: 'stopped' });
    expect(Date.now() - begun).toBeLessThan(slow(15_000));
    expect(await second.say('ls /bin/busybox')).toBe('/bin/busybox');
  });

  test('many start at the same time, each on an image of its own', async () => {
    const containers = await Promise.all(
      Array.from({ length: 12 }, (_, index) =>
        rig.create({ rootfs: { image: copy(`many${index}`), overlay: 'none' }, init: '/bin/sleep', args: ['1000'] }),
      ),
    );
    await Promise.all(containers.map(container => container.start()));
    expect(snapshot().loops).toHaveLength(12);
    await Promise.all(containers.map(container => container.kill()));
    await rig.expectNothingLeft();
  });
});

describe('what is refused', () => {
  const refused = async (code: string, image: string, more: object = {}): Promise<void> => {
    const container = await rig.create({ rootfs: { image, ...more }, init: '/bin/true' });
    await expect(container.start(), code).rejects.toMatchObject({
      code,
      field: 'rootfs.image',
      hint: expect.any(String),
    });
    await rig.expectNothingLeft();
  };

  test('no file, no regular file, no file system', async () => {
    const dir = rig.directory('bad');
    await refused('ROOTFS_IMAGE_MISSING', join(dir, 'nothing'));
    await refused('ROOTFS_IMAGE_MISSING', join(imageOf('ext4'), 'below-a-file'));
    await refused('ROOTFS_IMAGE_NOT_FILE', dir);
    await refused('ROOTFS_IMAGE_NOT_FILE', '/dev/null');
    execFileSync('mkfifo', [join(dir, 'fifo')]);
    await refused('ROOTFS_IMAGE_NOT_FILE', join(dir, 'fifo'));
    for (const [name, text] of [
      ['empty', ''],
      ['text', 'x'.repeat(10_000)],
    ] as const) {
      writeFileSync(join(dir, name), text);
      await refused('ROOTFS_IMAGE_TYPE', join(dir, name));
    }
  });

  test('squashfs and erofs cannot be written', async () => {
    for (const type of ['squashfs', 'erofs'] as const)
      await refused('ROOTFS_IMAGE_READ_ONLY', imageOf(type), { overlay: 'none' });
  });

  test.each(IMAGE_TYPES)('a %s that is cut short or damaged', async type => {
    const path = join(rig.directory('damaged'), 'image');
    copyFileSync(imageOf(type), path);
    truncateSync(path, 4096);
    await refused('ROOTFS_IMAGE_REFUSED', path);
  });

  test('what would reach other devices of the host', async () => {
    const dir = rig.directory('reach');
    const erofs = join(dir, 'image.erofs');
    execFileSync('mkfs.erofs', ['--quiet', '--chunksize=4096', `--blobdev=${join(dir, 'blob')}`, erofs, rig.tree()]);
    await refused('ROOTFS_IMAGE_REFUSED', erofs);
    const options = makeImage('ext4', rig.tree(), join(dir, 'options.ext4'));
    execFileSync('tune2fs', ['-E', 'mount_opts=journal_path=/dev/vda', options]);
    await refused('ROOTFS_IMAGE_REFUSED', options);
    const mmp = makeImage('ext4', rig.tree(), join(dir, 'mmp.ext4'), { more: ['-O', 'mmp'] });
    await refused('ROOTFS_IMAGE_REFUSED', mmp, { overlay: 'none' });
  });

  test('a superblock that asks for a crash of the host at the first error does not get it', async () => {
    const image = makeImage('ext4', rig.tree(), join(rig.directory('panic'), 'image'), { more: ['-e', 'panic'] });
    const { text } = await rig.run({ rootfs: { image, overlay: 'none' }, script: 'grep " / " /proc/self/mounts' });
    expect(text).toContain('errors=remount-ro');
  });

  test('an image without /dev, and one without an init', async () => {
    const tree = rig.tree();
    for (const name of ['dev', 'proc', 'sys']) execFileSync('rmdir', [join(tree, name)]);
    const image = makeImage('ext4', tree, join(rig.directory('bare'), 'image'));
    const container = await rig.create({ rootfs: { image }, init: '/bin/true' });
    await expect(container.start()).rejects.toMatchObject({ code: 'ROOTFS_DEV_MISSING' });
    for (const overlay of ['ephemeral', 'persistent', 'none'] as const) {
      const { lines } = await rig.run({
        rootfs: { image, overlay, createMissing: true },
        script: 'ls -1d /dev/null /proc/1 /sys/class; stat -c %u:%g /mnt 2>&1 | grep -c x',
      });
      expect(lines.slice(0, 3), overlay).toEqual(['/dev/null', '/proc/1', '/sys/class']);
    }
    const missing = await rig.create({ rootfs: { image: imageOf('squashfs') }, init: '/sbin/nothing' });
    await expect(missing.start()).rejects.toMatchObject({ code: 'ROOTFS_INIT_MISSING' });
  });
});

describe('nothing is left behind', () => {
  test('LIF-07: whatever step of a start fails', async () => {
    const faults: Record<string, number> = {};
    const supervisor = await rig.open({ faults });
    for (const rootfs of [{ image: imageOf(PACKED) }, { image: copy('faults'), overlay: 'none' }] as const) {
      const container = await rig.create({ supervisor, rootfs, init: '/bin/sleep', args: ['1000'] });
      await container.start();
      await container.kill();
      const before = snapshot({ quick: true });
      for (const { id, tolerate, needs } of container
        .plan()
        .steps.filter(step => /image|rootfs|overlay|userns|pivot|running\.exec|running\.record/.test(step.id))) {
        if (tolerate !== undefined || needs !== undefined) continue;
        faults[id] = ERRNO.EIO;
        await expect(container.start(), id).rejects.toMatchObject({ step: { id } });
        delete faults[id];
        expect(await settledDifference(before, { quick: true }), id).toBe('');
      }
      await container.start();
      await container.kill();
    }
  });

  test('LIF-08: kill -9 of the supervisor during starts', async () => {
    const stateDir = rig.stateDir();
    const prefix = `caisson-${own(stateDir)}`;
    const payload = { init: '/bin/sleep', args: ['1000'] };
    const specs = [
      rig.spec('unprivileged', { name: 'r', rootfs: { image: imageOf('erofs') }, ...payload }),
      rig.spec('privileged', { name: 'w', rootfs: { image: copy('victim'), overlay: 'none' }, ...payload }),
    ];
    for (const killAt of ['mounting', 'devices', undefined]) {
      const victim = new Victim({ stateDir, specs, loop: true, ...(killAt === undefined ? {} : { killAt }) });
      if (killAt === undefined) {
        await victim.ready;
        await new Promise(resolve => setTimeout(resolve, Math.random() * 40));
        await victim.kill();
      } else await victim.dead;
      await until(() => halfMade(prefix).length === 0, 'unfinished starts end with their supervisor', slow(5000));
    }
    const next = await rig.open({ stateDir });
    for (const container of next.list()) {
      if (container.state === 'running') await container.kill();
      await container.start();
      await container.kill();
      await next.remove(container.name);
    }
    await rig.close(next);
    await rig.expectNothingLeft();
  });

  test('LIF-12: a container that writes its image outlives its supervisor, and the lock with it', async () => {
    const stateDir = rig.stateDir();
    const image = copy('adopted');
    const rootfs = { image, overlay: 'none' } as const;
    const script = 'echo mark > /mark; exec sleep 1000';
    const victim = new Victim({
      stateDir,
      specs: [rig.spec('unprivileged', { name: 'w', rootfs, init: '/bin/sh', args: ['-c', script] })],
    });
    await victim.ready;
    await victim.kill();
    const other = await rig.create({ rootfs, init: '/bin/true' });
    await expect(other.start()).rejects.toMatchObject({
      code: 'ROOTFS_IMAGE_IN_USE',
      message: expect.stringContaining('container w'),
    });
    const next = await rig.open({ stateDir });
    const container = next.get('w');
    expect(container.state).toBe('running');
    expect(readFileSync(`/proc/${container.pid}/root/mark`, 'utf8')).toBe('mark\n');
    await container.kill();
    await other.start();
    await finish(other);
    await next.remove('w');
    await rig.close(next);
  });
});

test('an ext4 whose journal must be replayed first is refused below a layer, and mends itself when written', async () => {
  const image = copy('dirty');
  // As a crash leaves it (INCOMPAT_RECOVER); what is to be replayed is nothing.
  execFileSync('debugfs', ['-w', '-R', 'feature needs_recovery', image], { stdio: 'ignore' });
  const layered = await rig.create({ rootfs: { image }, init: '/bin/true' });
  await expect(layered.start()).rejects.toMatchObject({
    code: 'ROOTFS_IMAGE_REFUSED',
    hint: expect.stringContaining('journal'),
  });
  await rig.run({ rootfs: { image, overlay: 'none' }, script: 'true' });
  await layered.start();
  await finish(layered);
});
