/** Debian with systemd boots from an image file as it does from a directory: packed below a layer, and written to. */
import { execFileSync, spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { ImageType } from '#src/spec/image.js';
import { IMAGE_TIMEOUT_MS, image } from '../lib/images.ts';
import { booted, inside } from '../lib/inside.ts';
import { makeImage, missingTools, noSquashfsIdmap } from '../lib/make-image.ts';
import { MODES, useRig } from '../lib/rig.ts';

const rig = useRig();
const files = new Map<ImageType, string>();

const noTools = missingTools();
const noSquashfs = noSquashfsIdmap();

beforeEach(({ skip }) => {
  if (noTools !== undefined) skip(noTools);
});

beforeAll(async () => {
  if (noTools !== undefined) return;
  const tree = await image('debian-12');
  for (const type of ['squashfs', 'ext4'] as const)
    files.set(type, makeImage(type, tree, join(rig.dir, `debian.${type}`), { size: 700 }));
}, IMAGE_TIMEOUT_MS);

/** What is wrong with a booted Debian. */
async function complaints(container: Parameters<typeof inside>[0]): Promise<object> {
  const state = await booted(container);
  const failed = (await inside(container, 'systemctl --failed --no-legend --plain')).text;
  return { state, failed };
}

describe.each(MODES)('%s', mode => {
  test('ENV-70: from a squashfs, changes thrown away', async ({ skip }) => {
    if (mode === 'unprivileged' && noSquashfs !== undefined) skip(noSquashfs);
    const rootfs = { image: files.get('squashfs') ?? '' };
    const container = await rig.start({ mode, rootfs });
    expect(await complaints(container)).toEqual({ state: 'running', failed: '' });
    expect((await inside(container, 'grep " / " /proc/mounts')).text).toMatch(/^\S+ \/ overlay rw,nodev,relatime/);
    await inside(container, 'touch /mark; mount -o remount,ro /');
    writeFileSync(join(rig.dir, 'still-writable'), 'yes');
    await container.stop({ timeout: 20_000 });
    await rig.expectNothingLeft();
    await container.start();
    await booted(container);
    expect((await inside(container, 'test -e /mark')).status).toBe(1);
    await container.kill();
  });

  // The second mode finds what the first has written: the ids in the image are those inside.
  test('ENV-70: from an ext4 that it writes', async () => {
    const file = files.get('ext4') ?? '';
    const container = await rig.start({ mode, rootfs: { image: file, overlay: 'none' } });
    expect(await complaints(container)).toEqual({ state: 'running', failed: '' });
    const { text } = await inside(
      container,
      'cat /mark; ls -l /usr/bin/su /var/log/journal >/dev/null; stat -c %u:%g / /usr/bin/su',
    );
    expect(text).toBe(mode === MODES[0] ? '0:0\n0:0' : `written\n0:0\n0:0`);
    // Set-uid programs work.
    const setuid = 'cp /usr/bin/id /root-id; chmod 4755 /root-id; setpriv --reuid 1000 --clear-groups /root-id -u';
    expect((await inside(container, setuid)).text).toBe('0');
    await inside(container, 'echo written > /mark');
    const { exit } = await container.stop({ timeout: 20_000 });
    expect(exit).toMatchObject({ kind: 'halt' });
    // All of it, and whole.
    expect(
      execFileSync('debugfs', ['-R', 'cat /mark', file], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }),
    ).toBe('written\n');
    expect(spawnSync('e2fsck', ['-fn', file]).status).toBe(0);
    writeFileSync(join(rig.dir, 'still-writable'), 'yes');
  });
});
