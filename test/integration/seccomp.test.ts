/** The seccomp filter at work: each refused call is really made inside a container, in every calling convention (ENV-62). */
import { arch } from 'node:process';
import { describe, expect, test } from 'vitest';
import { compileInto } from '../lib/programs.ts';
import { REFUSED_CALLS } from '../lib/refused-calls.ts';
import { MODES, type Mode, type Spec, useRig } from '../lib/rig.ts';

const rig = useRig({ prepare: rootfs => compileInto(rootfs, 'refused', REFUSED_CALLS) });

const REFUSED = [
  'kexec_load',
  'kexec_file_load',
  'open_by_handle_at',
  'init_module',
  'finit_module',
  'delete_module',
  'umount2-forced',
  'umount2-forced-and-more',
  'umount2-forced-upper-half',
] as const;
/** 32-bit x86 has no kexec_file_load, and no upper half. */
const REFUSED_I386 = REFUSED.filter(call => call !== 'kexec_file_load' && !call.startsWith('umount2-forced-'));

/** Results by `convention call`. */
async function callsIn(mode: Mode, spec: Spec = {}): Promise<Map<string, string>> {
  const { lines, text } = await rig.run({ mode, init: '/bin/refused', ...spec });
  const results = new Map(
    lines.map(line => [line.slice(0, line.lastIndexOf(' ')), line.slice(line.lastIndexOf(' ') + 1)]),
  );
  expect(results.size, text).toBeGreaterThan(REFUSED.length);
  return results;
}

describe.each(MODES)('%s', mode => {
  test('ENV-62: every call of the list is refused with EPERM, and no other', async () => {
    const results = await callsIn(mode);
    for (const call of REFUSED) expect(results.get(`native ${call}`), call).toBe('EPERM');
    expect(results.get('native handle-of-a-file')).toBe('EPERM');
    expect(results.get('native umount2')).toBe('ENOENT');
    expect(results.get('native umount2-lazy')).toBe('ENOENT');
    expect(results.get('native getpid')).toBe('allowed');
  });

  test.skipIf(arch !== 'x64')('ENV-62: x32 and i386 are no way around', async () => {
    const results = await callsIn(mode);
    for (const call of REFUSED) expect(results.get(`x32 ${call}`), `x32 ${call}`).toBe('EPERM');
    // A kernel without x32 refuses it after the filter has let it pass.
    for (const call of ['umount2', 'getpid', 'route-socket']) expect(results.get(`x32 ${call}`)).not.toBe('EPERM');
    if (results.get('i386 none') === 'none') {
      console.warn('not tried: this kernel runs no 32-bit programs (CONFIG_IA32_EMULATION)');
      return;
    }
    for (const call of REFUSED_I386) expect(results.get(`i386 ${call}`), `i386 ${call}`).toBe('EPERM');
    expect(results.get('i386 umount2')).toBe('EFAULT');
    expect(results.get('i386 audit-socket')).toBe('EAFNOSUPPORT');
    expect(results.get('i386 route-socket')).toBe('allowed');
    expect(results.get('i386 getpid')).toBe('allowed');
  });

  test('ENV-61, HST-52: audit is as on a kernel without it, unless a capability for it is kept', async () => {
    const results = await callsIn(mode);
    expect(results.get('native audit-socket')).toBe('EAFNOSUPPORT');
    expect(results.get('native route-socket')).toBe('allowed');
    const kept = await callsIn(mode, { capabilities: { keep: ['audit_write'] } });
    // A kernel without audit says EPROTONOSUPPORT.
    expect(['allowed', 'EPROTONOSUPPORT']).toContain(kept.get('native audit-socket'));
  });

  test('ENV-62, ENV-63: one filter, without no_new_privs', async () => {
    const { text } = await rig.run({ mode, script: 'grep -E "^(Seccomp|Seccomp_filters|NoNewPrivs):" /proc/1/status' });
    expect(text.replaceAll(/\s+/g, ' ').trim()).toBe('NoNewPrivs: 0 Seccomp: 2 Seccomp_filters: 1');
  });

  test('ENV-62: a forced umount is refused and leaves the mount alone, a plain one works', async () => {
    const { lines } = await rig.run({
      mode,
      script: `
        mkdir /mnt && mount -t tmpfs none /mnt && touch /mnt/file
        umount -f /mnt; ls /mnt; umount /mnt && ls /mnt; echo done`,
    });
    expect(lines).toEqual([expect.stringMatching(/umount.*Operation not permitted/), 'file', 'done']);
  });

  test('ENV-62: security.seccomp: none installs none, and says so', async () => {
    const codes: string[] = [];
    const off = rig.supervisor.on(event => {
      if (event.type === 'notice') codes.push(event.code);
    });
    const results = await callsIn(mode, { security: { seccomp: 'none' } });
    off();
    expect(codes).toContain('seccomp-none');
    expect(results.get('native umount2-forced')).toBe('ENOENT');
    if (mode === 'privileged') {
      // What the filter keeps a privileged container from: it has CAP_DAC_READ_SEARCH and CAP_SYS_BOOT.
      expect(results.get('native handle-of-a-file')).toBe('allowed');
      expect(['EINVAL', 'ENOSYS']).toContain(results.get('native kexec_load'));
    }
    const { text } = await rig.run({
      mode,
      security: { seccomp: 'none' },
      script: 'grep -E "^(Seccomp|Seccomp_filters):" /proc/1/status',
    });
    expect(text.replaceAll(/\s+/g, ' ').trim()).toBe('Seccomp: 0 Seccomp_filters: 0');
  });
});

test('ENV-62: it is the filter that refuses modules, not a missing capability', async () => {
  const capabilities = { keep: ['sys_module' as const] };
  const without = await callsIn('privileged', { capabilities, security: { seccomp: 'none' } });
  for (const call of ['init_module', 'finit_module', 'delete_module']) {
    // What the kernel says to bad arguments, or for want of modules at all.
    expect(['ENOEXEC', 'EINVAL', 'ENOENT', 'EFAULT', 'ENOSYS'], call).toContain(without.get(`native ${call}`));
  }
  const filtered = await callsIn('privileged', { capabilities });
  for (const call of ['init_module', 'finit_module', 'delete_module']) {
    expect(filtered.get(`native ${call}`), call).toBe('EPERM');
  }
});

test('ENV-62: on a host without filters a privileged container is refused, an unprivileged one told', async () => {
  const features = { ...rig.supervisor.facts.features, seccomp: false };
  const supervisor = await rig.open({ facts: { features } });
  const refused = { code: 'SECCOMP_UNAVAILABLE', field: 'security.seccomp' };
  await expect(rig.start({ supervisor, mode: 'privileged', init: '/bin/true' })).rejects.toMatchObject(refused);
  expect(supervisor.list()).toEqual([]);
  const codes: string[] = [];
  supervisor.on(event => {
    if (event.type === 'notice') codes.push(event.code);
  });
  const { lines } = await rig.run({ supervisor, script: 'echo on' });
  expect(lines).toEqual(['on']);
  expect(codes).toContain('seccomp-none');
});
