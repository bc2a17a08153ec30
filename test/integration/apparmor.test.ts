/** AppArmor where the host has it (ENV-39); elsewhere the container is unconfined, and says so. */
import { describe, expect, test } from 'vitest';
import { MODES, type Mode, type Spec, useRig } from '../lib/rig.ts';

const rig = useRig();

async function runWithNotices(mode: Mode, spec: Spec & { script: string }) {
  const codes: string[] = [];
  const off = rig.supervisor.on(event => {
    if (event.type === 'notice') codes.push(event.code);
  });
  const { lines } = await rig.run({ mode, ...spec });
  off();
  return { lines, codes };
}

const LABEL = 'cat /proc/1/attr/current 2>&1; echo';
const confined = (): boolean => typeof rig.supervisor.facts.apparmor?.parser === 'string';

describe.each(MODES)('%s', mode => {
  test('ENV-39: PID 1 is confined where the host has AppArmor, else the report says unconfined', async () => {
    const { lines, codes } = await runWithNotices(mode, { script: LABEL });
    if (confined()) {
      expect(lines[0]).toMatch(new RegExp(`^caisson-${mode}-[0-9a-f]{8} \\(enforce\\)$`));
      expect(codes).not.toContain('unconfined');
    } else {
      console.warn('not tried: this host has no AppArmor, or no apparmor_parser');
      expect(codes).toContain('unconfined');
    }
  });

  test('ENV-39: security.apparmor: none is told', async () => {
    const { lines, codes } = await runWithNotices(mode, { script: LABEL, security: { apparmor: 'none' } });
    if (confined()) expect(lines[0]).toBe('unconfined');
    expect(codes).toContain('unconfined');
  });

  test('ENV-39: a profile that does not exist ends the start, whatever host', async () => {
    const start = rig.start({ mode, init: '/bin/true', security: { apparmor: 'caisson-no-such-profile' } });
    await expect(start).rejects.toMatchObject(
      confined()
        ? { code: 'STEP_FAILED', errno: 'ENOENT', step: { id: 'running.apparmor' } }
        : { code: 'SPEC_INVALID', field: 'security.apparmor' },
    );
  });
});

test('ENV-39, ENV-70: a privileged container cannot reach debugfs and the like, nor remount its root', async () => {
  if (!confined()) {
    console.warn('skipped: this host has no AppArmor, or no apparmor_parser');
    return;
  }
  const script = `
    mkdir /m
    for t in debugfs tracefs configfs securityfs binfmt_misc; do mount -t $t none /m 2>/dev/null && echo "$t mounted"; done
    mount -t tmpfs none /m && echo tmpfs mounted
    ls /sys/kernel/debug /sys/kernel/tracing /sys/kernel/security 2>/dev/null && echo listed
    echo h > /proc/sysrq-trigger && echo sysrq
    mount -o remount,ro / && echo remounted
    touch /x && echo writable`;
  const { lines } = await rig.run({ mode: 'privileged', script: script.replaceAll(' / ', ' / 2>/dev/null ') });
  expect(lines.filter(line => !line.includes('denied') && !line.includes('Read-only'))).toEqual([
    'tmpfs mounted',
    'writable',
  ]);
  const free = await rig.run({ mode: 'privileged', script, security: { apparmor: 'none' } });
  expect(free.lines).toContain('debugfs mounted');
  expect(free.lines).toContain('remounted');
});
