/** ENV-37 to ENV-39: which paths of the host are passed on, and how. */
import { describe, expect, test } from 'vitest';
import type { Plan } from '#src/plan/step.js';
import { DEBIAN_12, PURE_V2 } from '../lib/facts.js';
import { actions, at, has, hostStepOf, initStepOf, planOf, privileged, unprivileged } from './kit.js';

const SYS = [
  '/sys/firmware/efi/efivars',
  '/sys/fs/fuse/connections',
  '/sys/fs/pstore',
  '/sys/kernel/debug',
  '/sys/kernel/security',
  '/sys/kernel/config',
  '/sys/kernel/tracing',
  '/sys/fs/selinux',
];
const BINFMT = '/proc/sys/fs/binfmt_misc';

const passedOn = (plan: Plan): string[] => actions(plan, 'bind.tree').map(({ path }) => path);
const readOnly = (plan: Plan): string[] =>
  actions(plan, 'bind.tree')
    .filter(({ attributes }) => attributes.includes('MOUNT_ATTR_RDONLY'))
    .map(({ path }) => path);

describe.each([
  ['unprivileged', unprivileged()],
  ['privileged', privileged()],
])('%s', (_, spec) => {
  const plan = planOf(spec, PURE_V2);

  test('ENV-38 each is looked for when the start runs: nothing in the facts, and no errno of absence is an error', () => {
    expect(passedOn(plan)).toEqual(spec.idmap === null ? [BINFMT, ...SYS] : SYS);
    for (const step of plan.steps) {
      if (step.action.op !== 'bind.tree') continue;
      const errnos = step.tolerate?.map(({ errno }) => errno);
      expect(errnos, step.id).toEqual(['ENOENT', 'EACCES', 'EPERM', 'EINVAL', 'ENOSYS']);
      const attach = initStepOf(plan, step.id.replace(/\.open$/, ''));
      expect(attach.needs, step.id).toBe(step.action.save);
      expect(attach.action, step.id).toEqual({ op: 'move_mount', mount: step.action.save, target: step.action.path });
    }
  });

  test('ENV-38 they are attached over proc and sysfs as these are by then, while the old root is still there', () => {
    for (const step of plan.steps) {
      if (!step.id.startsWith('mounting.host.') || step.executor !== 'init') continue;
      for (const before of ['mounting.proc', 'mounting.sys', 'mounting.sys.ro'])
        expect(at(plan, before)).toBeLessThan(at(plan, step.id));
      if (spec.idmap === null) expect(at(plan, 'mounting.proc.sys.ro')).toBeLessThan(at(plan, step.id));
    }
    expect(hostStepOf(plan, 'mounting.host.close').action).toMatchObject({ op: 'close' });
  });
});

test('ENV-38 binfmt_misc: an instance of its own in a user namespace from Linux 6.7 on, else that of the host', () => {
  const own = initStepOf(planOf(unprivileged(), PURE_V2), 'mounting.host.binfmt');
  expect(own.action).toMatchObject({ op: 'mount', fstype: 'binfmt_misc', target: BINFMT });
  expect(own.needs).toBeUndefined();
  expect(passedOn(planOf(unprivileged(), DEBIAN_12))[0]).toBe(BINFMT);
  expect(initStepOf(planOf(unprivileged(), DEBIAN_12), 'mounting.host.binfmt').action.op).toBe('move_mount');
  expect(passedOn(planOf(privileged(), PURE_V2))[0]).toBe(BINFMT);
});

test('ENV-39 privileged without an LSM profile: read-only, and the plan says unconfined', () => {
  const bare = planOf(privileged(), { ...PURE_V2, apparmor: null });
  expect(bare.notices.map(({ code }) => code)).toContain('unconfined');
  expect(readOnly(bare)).toEqual([BINFMT, ...SYS].filter(path => !path.includes('fuse')));
  const confined = planOf(privileged(), { ...PURE_V2, apparmor: { parser: '/sbin/apparmor_parser' } });
  expect(has(confined, 'running.apparmor')).toBe(true);
  expect(readOnly(confined)).toEqual(['/sys/fs/selinux']);
});

test('ENV-37, ENV-39 in a user namespace only selinuxfs is read-only: the rest belongs to the root of the host', () => {
  expect(readOnly(planOf(unprivileged(), { ...PURE_V2, apparmor: null }))).toEqual(['/sys/fs/selinux']);
});
