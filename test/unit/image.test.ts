/** What an image holds, by its superblock; images are hostile until proven otherwise. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { compile } from '#src/plan/compile.js';
import { resolveSpec } from '#src/spec/container.js';
import { IMAGE_HEAD, identifyImage } from '#src/spec/image.js';
import { DEBIAN_12, NO_IDMAP, PURE_V2 } from '../lib/facts.js';
import {
  actions,
  at,
  DIR,
  expectError,
  has,
  hostStepOf,
  planOf,
  privileged,
  RANGE,
  UUID,
  unprivileged,
} from './kit.js';

type Patch = (head: DataView) => void;

function head(...patches: Patch[]): Uint8Array {
  const bytes = new Uint8Array(IMAGE_HEAD);
  for (const patch of patches) patch(new DataView(bytes.buffer));
  return bytes;
}

const squashfs: Patch = view => {
  view.setUint32(0, 0x73717368, true);
  view.setUint16(28, 4, true);
};
const erofs: Patch = view => view.setUint32(1024, 0xe0f5e1e2, true);
const ext4: Patch = view => {
  view.setUint32(1024, 1000, true);
  view.setUint32(1024 + 0x18, 2, true);
  view.setUint16(1024 + 0x38, 0xef53, true);
  view.setUint32(1024 + 0x4c, 1, true);
};
const at32 =
  (offset: number, value: number): Patch =>
  view =>
    view.setUint32(1024 + offset, value, true);

describe('identifyImage', () => {
  test.each([
    ['squashfs', squashfs],
    ['erofs', erofs],
    ['ext4', ext4],
  ] as const)('%s', (type, patch) => {
    expect(identifyImage(head(patch))).toMatchObject({ type });
  });

  test('how large an erofs says that it is', () => {
    const sized = head(erofs, at32(0x24, 5), view => view.setUint8(1024 + 0xc, 12));
    expect(identifyImage(sized)).toEqual({ type: 'erofs', size: 5 * 4096 });
  });

  test('nothing known: zeroes, nothing at all, other versions, a disk with partitions', () => {
    expect(identifyImage(head())).toBeUndefined();
    expect(identifyImage(new Uint8Array(0))).toBeUndefined();
    expect(identifyImage(head(squashfs, view => view.setUint16(28, 3, true)))).toBeUndefined();
    expect(identifyImage(head(view => view.setUint16(510, 0xaa55, true)))).toBeUndefined();
  });

  test('two bytes of magic are not enough for ext4', () => {
    expect(identifyImage(head(view => view.setUint16(1024 + 0x38, 0xef53, true)))).toBeUndefined();
    expect(identifyImage(head(squashfs, view => view.setUint16(1024 + 0x38, 0xef53, true)))).toEqual({
      type: 'squashfs',
    });
  });

  test('more than one superblock: it is not guessed which', () => {
    expect(identifyImage(head(squashfs, ext4))).toEqual({ ambiguous: ['squashfs', 'ext4'] });
    expect(identifyImage(head(squashfs, erofs))).toEqual({ ambiguous: ['squashfs', 'erofs'] });
  });

  test.each([
    ['erofs with contents on other devices', erofs, at32(0x50, 0x8), /other block devices/],
    ['ext4 with multi-mount protection', ext4, at32(0x60, 0x100), /multi-mount/],
    ['ext4 that is only a journal', ext4, at32(0x60, 0x8), /journal on another/],
    ['ext4 with a mount option of its own', ext4, at32(0x23c, 0x61000000), /mount options/],
  ] as const)('%s is not fit to be mounted', (_, patch, bad, why) => {
    expect(identifyImage(head(patch, bad))).toMatchObject({
      unfit: expect.stringMatching(why),
      hint: expect.any(String),
    });
  });

  test('a journal device counts only with a journal', () => {
    expect(identifyImage(head(ext4, at32(0xe4, 0x801)))).toEqual({ type: 'ext4' });
    expect(identifyImage(head(ext4, at32(0x5c, 4), at32(0xe4, 0x801)))).toMatchObject({ unfit: expect.any(String) });
  });

  test('any bytes of any length get an answer', () => {
    const patches = fc.subarray([squashfs, erofs, ext4]);
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: IMAGE_HEAD }), patches, fc.nat(IMAGE_HEAD), (noise, chosen, length) => {
        const bytes = head(...chosen);
        bytes.set(noise, bytes.length - noise.length);
        const finding = identifyImage(bytes.subarray(0, length));
        if (finding !== undefined && 'unfit' in finding) expect(finding.hint).toBeTruthy();
      }),
    );
  });
});

const IMAGE = { image: '/srv/web.img' };
const rootfsOf = (rootfs: unknown) => resolveSpec({ name: 'web', rootfs }, () => RANGE).rootfs;

describe('rootfs.image in a spec', () => {
  test('an image is only read unless asked for otherwise', () => {
    expect(rootfsOf(IMAGE)).toMatchObject({
      kind: 'image',
      path: '/srv/web.img',
      overlay: 'ephemeral',
      readOnly: false,
    });
    expect(rootfsOf({ ...IMAGE, readOnly: true })).toMatchObject({ overlay: 'none', readOnly: true });
    expect(rootfsOf({ ...IMAGE, overlay: 'none' })).toMatchObject({ overlay: 'none', readOnly: false });
  });

  test.each([
    ['rootfs.image', { image: 'web.img' }],
    ['rootfs.path', { image: '/srv/web.img', path: '/srv/web' }],
    ['rootfs.readOnly', { ...IMAGE, readOnly: true, overlay: 'persistent' }],
    ['rootfs.readOnly', { path: '/srv/web', readOnly: true }],
    ['rootfs.allowSharedSuperblock', { ...IMAGE, allowSharedSuperblock: true }],
  ])('%s is refused in %o', (field, rootfs) => {
    expectError(() => rootfsOf(rootfs), 'SPEC_INVALID', field);
  });
});

describe('plans', () => {
  test('everything but the mount is closed before the container is made', () => {
    const plan = planOf(unprivileged({ rootfs: IMAGE }), PURE_V2);
    expect(hostStepOf(plan, 'creating.image.close').action).toMatchObject({ registers: ['fd:image', 'fd:loop'] });
    expect(at(plan, 'creating.image.close')).toBeLessThan(at(plan, 'creating.run'));
    expect(actions(plan, 'image.mount')[0]?.attributes).toEqual(['MOUNT_ATTR_NODEV', 'MOUNT_ATTR_RDONLY']);
    expect(actions(plan, 'rootfs.overlay')[0]).toMatchObject({
      lower: 'fd:rootfs.dir',
      attributes: ['MOUNT_ATTR_NODEV'],
    });
    expect(actions(plan, 'mount.idmap')[0]?.mount).toBe('fd:rootfs.dir');
    expect(has(plan, 'mounting.rootfs.clone')).toBe(false);
  });

  test('below 6.15 its mount, which is detached, is attached while a layer is laid on it', () => {
    for (const spec of [unprivileged({ rootfs: IMAGE }), privileged({ rootfs: IMAGE })]) {
      expect(actions(planOf(spec, DEBIAN_12), 'rootfs.overlay')[0]?.attached).toBe(true);
      expect(actions(planOf(spec, PURE_V2), 'rootfs.overlay')[0]?.attached).toBe(false);
    }
  });

  test('ENV-70 privileged, without a layer: its superblock is not the host’s', () => {
    const plan = planOf(privileged({ rootfs: { ...IMAGE, overlay: 'none' } }), PURE_V2);
    expect(actions(plan, 'image.mount')[0]).toMatchObject({ writable: true, save: 'fd:rootfs' });
    expect(has(plan, 'mounting.rootfs.close')).toBe(false);
  });

  test('without idmapped mounts the image must hold the ids of the container', () => {
    const plan = planOf(unprivileged({ rootfs: IMAGE }), NO_IDMAP);
    expect(actions(plan, 'rootfs.check')[0]).toMatchObject({ owner: RANGE.first, dir: 'fd:rootfs.dir' });
  });

  test('a loop device is marked with whose it is, in as many bytes as there are', () => {
    const runDir = `/run/caisson/3ba3ca96/${'a'.repeat(63)}`;
    const plan = compile(unprivileged({ rootfs: IMAGE }), PURE_V2, { runDir, dir: DIR, uuid: UUID });
    const label = actions(plan, 'image.attach')[0]?.label ?? '';
    expect(label).toMatch(/^caisson 3ba3ca96\/a+$/);
    expect(label).toHaveLength(63);
  });
});
