/** The root file system's part of a plan: ENV-03, ENV-70, id mapping and the ephemeral layer. */

import { describe, expect, test } from 'vitest';
import type { HostFacts } from '#src/plan/facts.js';
import { compileUnshift } from '#src/plan/ownership.js';
import type { Plan } from '#src/plan/step.js';
import type { ContainerSpec } from '#src/spec/container.js';
import { DEBIAN_12, HOSTS, NESTED, NO_IDMAP, PURE_V2 } from '../lib/facts.js';
import {
  actions,
  at,
  DIR,
  expectError,
  has,
  initStepOf,
  LAYER,
  planOf,
  privileged,
  RUN_DIR,
  unprivileged,
} from './kit.js';

const EPHEMERAL = { path: '/srv/web', overlay: 'ephemeral' };

describe('ENV-70 a privileged container on a plain directory', () => {
  const plain = privileged({ rootfs: '/srv/web' });

  // The nested host refuses every privileged container, for want of a device policy.
  const hosts = Object.entries(HOSTS).filter(([host]) => host !== 'nested');

  test.each(hosts)('is refused on %s, with the field and a way out', (_, facts) => {
    const error = expectError(() => planOf(plain, facts), 'ROOTFS_SHARES_HOST_SUPERBLOCK', 'rootfs.overlay');
    expect(error.message).toContain('/srv/web');
    expect(error.hint).toContain('ephemeral');
    expect(error.hint).toContain('allowSharedSuperblock');
  });

  test('overlay none is as plain', () => {
    const spec = privileged({ rootfs: { path: '/srv/web', overlay: 'none' } });
    expectError(() => planOf(spec, PURE_V2), 'ROOTFS_SHARES_HOST_SUPERBLOCK', 'rootfs.overlay');
  });

  test.each([
    ['an ephemeral overlay', { path: '/srv/web', overlay: 'ephemeral' }],
    ['explicit leave', { path: '/srv/web', allowSharedSuperblock: true }],
  ])('is allowed with %s', (_, rootfs) => {
    expect(planOf(privileged({ rootfs }), PURE_V2).steps.length).toBeGreaterThan(40);
  });

  test("is no matter of unprivileged ones: their root cannot remount the host's superblock", () => {
    expect(planOf(unprivileged(), PURE_V2).steps.length).toBeGreaterThan(40);
  });
});

describe('ENV-01 to ENV-06 checks', () => {
  test('come first of all, on the descriptor that is used later', () => {
    const plan = planOf(unprivileged({ init: '/usr/bin/init' }), PURE_V2);
    expect(plan.steps.slice(0, 2).map(step => step.action)).toEqual([
      { op: 'rootfs.open', path: '/srv/web', save: 'fd:rootfs.dir' },
      {
        op: 'rootfs.check',
        dir: 'fd:rootfs.dir',
        path: '/srv/web',
        init: '/usr/bin/init',
        createMissing: false,
        owner: null,
        giveTo: null,
      },
    ]);
    expect(actions(plan, 'rootfs.clone')[0]).toMatchObject({ dir: 'fd:rootfs.dir' });
  });

  test('ENV-03 createMissing is off unless asked for', () => {
    expect(actions(planOf(unprivileged(), PURE_V2), 'rootfs.check')[0]?.createMissing).toBe(false);
    const asked = unprivileged({ rootfs: { path: '/srv/web', createMissing: true } });
    expect(actions(planOf(asked, PURE_V2), 'rootfs.check')[0]?.createMissing).toBe(true);
  });
});

describe('ownership', () => {
  const OTHERWISE = { record: `${DIR}/shift.json`, first: 1_000_000, count: 65_536 };
  const shifted = (shift: string, facts: HostFacts, more = {}): Plan =>
    planOf(unprivileged({ rootfs: { path: '/srv/web', shift, ...more } }), facts);

  test("with idmapped mounts the tree is mapped by the child's own user namespace", () => {
    const plan = shifted('idmap', PURE_V2);
    expect(actions(plan, 'mount.idmap')).toEqual([{ op: 'mount.idmap', mount: 'fd:rootfs', userns: 'fd:userns' }]);
    expect(at(plan, 'creating.idmap')).toBeLessThan(at(plan, 'mounting.userns'));
    expect(at(plan, 'mounting.rootfs.idmap')).toBeLessThan(at(plan, 'mounting.rootfs.attach'));
  });

  test('NET-33: by default a directory that cannot be mapped is shifted; one that is only read is not', () => {
    expect(actions(planOf(unprivileged(), PURE_V2), 'mount.idmap')[0]).toMatchObject({ otherwise: OTHERWISE });
    expect(actions(planOf(unprivileged({ rootfs: EPHEMERAL }), PURE_V2), 'mount.idmap')[0]).not.toHaveProperty(
      'otherwise',
    );
    const plan = planOf(unprivileged(), NO_IDMAP);
    expect(has(plan, 'mounting.rootfs.idmap')).toBe(false);
    expect(has(plan, 'mounting.userns')).toBe(false);
    expect(actions(plan, 'rootfs.shift')).toEqual([{ op: 'rootfs.shift', dir: 'fd:rootfs.dir', ...OTHERWISE }]);
    expect(at(plan, 'creating.rootfs.shift')).toBeGreaterThan(at(plan, 'creating.rootfs.check'));
    expect(actions(plan, 'rootfs.check')[0]?.owner).toBeNull();
    const overlay = planOf(unprivileged({ rootfs: EPHEMERAL }), NO_IDMAP);
    expect(actions(overlay, 'rootfs.shift')).toEqual([]);
    expect(actions(overlay, 'rootfs.check')[0]?.owner).toBe(1_000_000);
  });

  test('NET-33: chown shifts, none demands that the tree belongs to the container already, on either kernel', () => {
    for (const facts of [PURE_V2, NO_IDMAP]) {
      for (const [shift, owner] of [
        ['chown', null],
        ['none', 1_000_000],
      ] as const) {
        const plan = shifted(shift, facts);
        expect(actions(plan, 'mount.idmap')).toEqual([]);
        expect(actions(plan, 'rootfs.check')[0]?.owner).toBe(owner);
        expect(actions(plan, 'rootfs.shift')).toHaveLength(shift === 'chown' ? 1 : 0);
      }
    }
    expectError(() => shifted('idmap', NO_IDMAP), 'HOST_UNSUPPORTED', 'rootfs.shift');
  });

  test("NET-33: a directory of the user is given back; what lies in the container's own goes with that", () => {
    const { steps } = compileUnshift(unprivileged(), { dir: DIR });
    expect(steps.map(({ action }) => action)).toEqual([{ op: 'rootfs.unshift', path: '/srv/web', ...OTHERWISE }]);
    const own = unprivileged({ rootfs: `${DIR}/rootfs` });
    for (const spec of [own, privileged(), unprivileged({ rootfs: { archive: '/srv/web.tar' } })])
      expect(compileUnshift(spec, { dir: DIR }).steps).toEqual([]);
  });

  test('privileged: as it is, on either kernel', () => {
    for (const facts of [PURE_V2, NO_IDMAP]) {
      const plan = planOf(privileged(), facts);
      expect(actions(plan, 'mount.idmap')).toEqual([]);
      expect(actions(plan, 'rootfs.check')[0]?.owner).toBeNull();
    }
  });

  test('an idmapped mount lies below an overlay, never on top: the kernel refuses that', () => {
    const plan = planOf(unprivileged({ rootfs: { path: '/srv/web', overlay: 'ephemeral' } }), PURE_V2);
    expect(actions(plan, 'mount.idmap')[0]?.mount).toBe('fd:rootfs.lower');
    expect(actions(plan, 'rootfs.overlay')).toEqual([
      {
        op: 'rootfs.overlay',
        lower: 'fd:rootfs.lower',
        layer: `${RUN_DIR}.overlay`,
        owner: 1_000_000,
        attached: false,
        save: 'fd:rootfs',
      },
    ]);
    expect(at(plan, 'mounting.rootfs.idmap')).toBeLessThan(at(plan, 'mounting.rootfs.overlay'));
  });

  test('the ephemeral layer of a privileged container belongs to root', () => {
    expect(actions(planOf(privileged(), PURE_V2), 'rootfs.overlay')[0]?.owner).toBe(0);
  });

  test('without ids to map the directory itself is the lower layer: no mount of it is needed', () => {
    for (const [spec, facts] of [
      [privileged(), PURE_V2],
      [unprivileged({ rootfs: EPHEMERAL }), NO_IDMAP],
    ] as const) {
      const plan = planOf(spec, facts);
      expect(actions(plan, 'rootfs.overlay')[0]?.lower).toBe('fd:rootfs.dir');
      expect(actions(plan, 'rootfs.clone')).toEqual([]);
    }
  });

  test('below 6.15 an ephemeral layer over mapped ids has its lower mount attached; no other layer needs that', () => {
    const attached = (spec: ContainerSpec, facts: HostFacts): boolean | undefined =>
      actions(planOf(spec, facts), 'rootfs.overlay')[0]?.attached;
    expect(attached(unprivileged({ rootfs: EPHEMERAL }), DEBIAN_12)).toBe(true);
    expect(attached(unprivileged({ rootfs: EPHEMERAL }), PURE_V2)).toBe(false);
    expect(attached(privileged(), DEBIAN_12)).toBe(false);
    expect(attached(unprivileged({ rootfs: EPHEMERAL }), NO_IDMAP)).toBe(false);
  });

  test('an ephemeral layer over mapped ids is refused before 5.19, naming the field; nothing else is', () => {
    const facts = { ...DEBIAN_12, features: { ...DEBIAN_12.features, overlayOnIdmapped: false } };
    const error = expectError(
      () => planOf(unprivileged({ rootfs: EPHEMERAL }), facts),
      'HOST_UNSUPPORTED',
      'rootfs.overlay',
    );
    expect(error.hint).toContain('5.19');
    expect(has(planOf(privileged(), facts), 'mounting.rootfs.overlay')).toBe(true);
    expect(has(planOf(unprivileged(), facts), 'mounting.rootfs.idmap')).toBe(true);
  });
});

test('an archive: its layer is opened, mapped and laid below an overlay; people are told its own name', () => {
  for (const facts of [PURE_V2, NO_IDMAP]) {
    const plan = planOf(unprivileged({ rootfs: { archive: '/srv/web.tar' } }), facts);
    expect(actions(plan, 'rootfs.open')[0]?.path).toBe(LAYER);
    expect(actions(plan, 'rootfs.check')[0]?.path).toBe('/srv/web.tar');
    expect(actions(plan, 'rootfs.overlay')).toHaveLength(1);
  }
});

describe('copies of mounts that the host shares', () => {
  test('the root is severed from its original before it is pivoted to, and before anything is mounted in it', () => {
    for (const [name, facts] of Object.entries(HOSTS)) {
      const plan = planOf(unprivileged(), facts);
      expect(initStepOf(plan, 'mounting.rootfs.private').action, name).toEqual({
        op: 'mount',
        source: null,
        target: '.',
        fstype: null,
        flags: ['MS_REC', 'MS_PRIVATE'],
      });
      const order = ['rootfs.attach', 'rootfs.enter', 'rootfs.private', 'pivot', 'proc'].map(id =>
        at(plan, `mounting.${id}`),
      );
      expect(order, name).toEqual([...order].sort((a, b) => a - b));
    }
  });

  test('each bound node is severed too, right after it is attached', () => {
    const plan = planOf(unprivileged(), NESTED);
    const bound = actions(plan, 'bind.open')
      .filter(({ path }) => path.startsWith('/dev/'))
      .map(({ path }) => path.slice('/dev/'.length));
    expect(bound).toHaveLength(8);
    for (const path of bound) {
      expect(at(plan, `devices.private.${path}`)).toBe(at(plan, `devices.attach.${path}`) + 1);
      expect(initStepOf(plan, `devices.private.${path}`).action).toMatchObject({
        target: `/dev/${path}`,
        flags: ['MS_PRIVATE'],
      });
    }
  });
});
