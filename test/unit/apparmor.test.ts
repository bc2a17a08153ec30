/** ENV-39: which profile a container gets on which host, and what is in it. */
import { describe, expect, test } from 'vitest';
import { apparmorProfile } from '#src/plan/apparmor-profile.js';
import { DEBIAN_12, PURE_V2 } from '../lib/facts.js';
import { actions, at, expectError, hostStepOf, planOf, privileged, unprivileged } from './kit.js';

const both = [
  ['privileged', privileged],
  ['unprivileged', unprivileged],
] as const;
const NO_PARSER = { ...DEBIAN_12, apparmor: { parser: null } };

describe.each(both)('%s', (mode, spec) => {
  const profile = apparmorProfile(mode === 'privileged');

  test('auto on a host with AppArmor: loaded before the child is cloned, taken on before the filter and the exec', () => {
    // The overlay on mapped ids is not what this is about.
    const plan = planOf(spec({ rootfs: { path: '/srv/web', allowSharedSuperblock: true } }), DEBIAN_12);
    expect(hostStepOf(plan, 'creating.apparmor').action).toEqual({
      op: 'apparmor.load',
      parser: '/usr/sbin/apparmor_parser',
      ...profile,
    });
    expect(at(plan, 'creating.apparmor')).toBeLessThan(at(plan, 'creating.launch'));
    expect(actions(plan, 'file.write')).toEqual([
      { op: 'file.write', path: '/proc/self/attr/exec', text: `exec ${profile.name}` },
    ]);
    expect(at(plan, 'running.apparmor')).toBeLessThan(at(plan, 'running.seccomp'));
    expect(plan.notices.map(({ code }) => code)).not.toContain('unconfined');
  });

  test('without AppArmor, without its parser, and as asked for: unconfined, and the report says why', () => {
    for (const [facts, security, outcome, why] of [
      [PURE_V2, {}, 'skipped', 'this host has no AppArmor'],
      [NO_PARSER, {}, undefined, 'no apparmor_parser'],
      [DEBIAN_12, { apparmor: 'none' }, 'done', 'as asked for'],
    ] as const) {
      const plan = planOf(spec({ security, rootfs: { path: '/srv/web', allowSharedSuperblock: true } }), facts);
      expect(actions(plan, 'apparmor.load')).toEqual([]);
      expect(actions(plan, 'file.write')).toEqual([]);
      const notices = plan.notices.filter(({ code }) => code === 'unconfined');
      expect(notices).toHaveLength(1);
      expect(notices[0]?.outcome).toBe(outcome);
      expect(notices[0]?.message).toContain(why);
    }
  });

  test('a profile by name is taken on as it is; a host without AppArmor refuses it', () => {
    const wishes = {
      security: { apparmor: 'lxc-container-default' },
      rootfs: { path: '/r', allowSharedSuperblock: true },
    };
    const plan = planOf(spec(wishes), NO_PARSER);
    expect(actions(plan, 'apparmor.load')).toEqual([]);
    expect(actions(plan, 'file.write').map(({ text }) => text)).toEqual(['exec lxc-container-default']);
    expectError(() => planOf(spec(wishes), PURE_V2), 'SPEC_INVALID', 'security.apparmor');
  });
});

test('the profiles', () => {
  const [root, user] = [apparmorProfile(true), apparmorProfile(false)];
  for (const { name, text } of [root, user]) {
    expect(name).toMatch(/^caisson-(un)?privileged-[0-9a-f]{8}$/);
    expect(text.startsWith(`profile "${name}" flags=(attach_disconnected,mediate_deleted) {\n`)).toBe(true);
    for (const rule of ['file,', 'capability,', 'network,', 'mount,', 'deny /proc/kcore rwklx,'])
      expect(text).toContain(rule);
  }
  expect(root.name).not.toBe(user.name);
  expect(root.text).toContain('deny /sys/kernel/debug/{,**} rwklx,');
  expect(root.text).toContain('deny mount fstype=debugfs,');
  expect(root.text).toMatch(/deny mount options in \(remount, ro, .*\) -> \/,/);
  // A bind remount changes the mount only, and services do it to their own root.
  expect(root.text).not.toMatch(/options in \([^)]*bind/);
  expect(user.text).not.toContain('deny mount');
});
