/** What covers files of /proc, and what nesting leaves bare (ENV-34 to ENV-36, HST-57). */
import { existsSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { mountAt, parseMounts, SHARED_INSIDE, sections } from '../lib/report.ts';
import { finish, MODES, useRig, waitForText } from '../lib/rig.ts';

const rig = useRig();

const BOOT_ID = '/proc/sys/kernel/random/boot_id';
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
const hostBootId = (): string => readFileSync(BOOT_ID, 'utf8').trim();

describe.each(MODES)('%s', mode => {
  test('ENV-36: each start and each reboot has a boot id of its own, and none is that of the host', async () => {
    const script = `cat ${BOOT_ID}; [ -e /etc/rebooted ] || { touch /etc/rebooted; reboot -f; }`;
    // Kept over the reboot, unlike an ephemeral layer; the payload of the privileged one writes to its own tree only.
    const rootfs = { path: rig.tree(), overlay: 'none' as const, allowSharedSuperblock: mode === 'privileged' };
    const container = await rig.create({ mode, rootfs, init: '/bin/sh', args: ['-c', script] });
    await container.start();
    await finish(container);
    expect(container.restartCount).toBe(1);
    await container.start();
    await finish(container);
    const ids = container.console.history().toString().split('\r\n').filter(Boolean);
    expect(ids).toHaveLength(3);
    for (const id of ids) expect(id).toMatch(UUID);
    expect(new Set([...ids, hostBootId()]).size).toBe(4);
  });

  test('ENV-36, ENV-31: the boot id is read-only, nosuid, nodev, noexec, and its file lies on no path inside', async () => {
    const { text } = await rig.run({
      mode,
      script: `
        echo '@@ mount'; grep ' ${BOOT_ID} ' /proc/self/mountinfo
        echo '@@ stat'; stat -c '%u:%g %a %h' ${BOOT_ID}
        echo '@@ write'; echo x > ${BOOT_ID}
        echo '@@ sources'; cut -d' ' -f3,5 /proc/self/mountinfo
        echo '@@ end'`,
    });
    const report = sections(text);
    expect(report.has('end'), text).toBe(true);
    const mount = mountAt(parseMounts(report.get('mount') ?? []), BOOT_ID);
    expect(mount).toMatchObject({ type: 'tmpfs', root: '/boot-id', propagation: SHARED_INSIDE });
    expect(mount.options).toEqual(expect.arrayContaining(['ro', 'nosuid', 'nodev', 'noexec']));
    expect(report.get('stat')).toEqual(['0:0 444 1']);
    expect(report.get('write')).toEqual([expect.stringContaining('Read-only file system')]);
    // Every mount of that tmpfs is a single file over one of /proc.
    const sources = (report.get('sources') ?? []).map(line => line.split(' '));
    const device = sources.find(([, point]) => point === BOOT_ID)?.[0];
    for (const [from, point] of sources) if (from === device) expect(point).toMatch(/^\/proc\/.+/);
  });

  test('ENV-34: files of the kernel that are no business of a container are empty', async () => {
    const files = ['kcore', 'kallsyms', 'keys', 'timer_list'].map(name => `/proc/${name}`);
    const { lines } = await rig.run({
      mode,
      script: `for f in ${files.join(' ')}; do echo "$f $(cat $f | wc -c)"; done`,
    });
    expect(lines.filter(line => line.startsWith('/proc/'))).toEqual(files.map(path => `${path} 0`));
    // Those that this kernel does not have are in the report, with the reason.
    const { container } = await rig.run({ mode, script: 'true' });
    const skipped = container.report().entries.filter(({ code }) => code === 'step');
    for (const path of files) {
      const told = skipped.filter(({ what }) => what.startsWith(`${path} `));
      expect(told, path).toHaveLength(existsSync(path) ? 0 : 1);
      for (const { outcome, why } of told)
        expect([outcome, why]).toEqual(['skipped', expect.stringContaining('ENOENT')]);
    }
  });

  test('ENV-34: what belongs to the hardware cannot be written', async () => {
    const script = `
      for d in acpi asound bus fs irq scsi; do
        [ -e /proc/$d ] || continue
        find /proc/$d -type f 2>/dev/null | while read f; do { : >> $f; } 2>/dev/null && echo "$f opens for writing"; done
        touch /proc/$d/x 2>/dev/null && echo "$d takes files"
      done
      for f in /proc/irq/*/smp_affinity; do { cat $f > $f; } 2>&1; break; done`;
    const { lines } = await rig.run({ mode, script });
    expect(lines).toEqual([
      expect.stringMatching(mode === 'privileged' ? /Read-only file system/ : /Permission denied/),
    ]);
  });

  test('HST-57: the kernel log says nothing, and a reader of it waits', async () => {
    const script = `
      stat -c '%F %a %u:%g' /proc/kmsg
      cat /proc/kmsg > /tmp/said & reader=$!
      sleep 1
      kill -0 $reader && echo waits; cat /tmp/said | wc -c
      kill $reader; echo over`;
    const { lines } = await rig.run({ mode, script });
    expect(lines).toEqual(['fifo 600 0:0', 'waits', '0', 'over']);
  });

  const NESTED = 'unshare -Urpfn --mount-proc sh -c \'echo "nested $$"; mount -t sysfs sys /sys && echo sysfs\' 2>&1';

  test('ENV-35: with nesting a container can be made inside, and nothing of /proc is hidden', async () => {
    const script = `
      echo '@@ nested'; ${NESTED}
      echo '@@ mounts'; cat /proc/self/mountinfo
      echo '@@ symbols'; [ $(cat /proc/kallsyms | wc -c) -gt 0 ] && echo shown
      echo '@@ modes'; stat -c '%n %a %u:%g' /dev/.lxc /dev/.lxc/proc/1
      echo '@@ end'`;
    const { text } = await rig.run({ mode, script, security: { nesting: true } });
    const report = sections(text);
    expect(report.has('end'), text).toBe(true);
    expect(report.get('nested')).toEqual(['nested 1', 'sysfs']);
    const mounts = parseMounts(report.get('mounts') ?? []);
    for (const [point, type] of [
      ['/dev/.lxc/proc', 'proc'],
      ['/dev/.lxc/sys', 'sysfs'],
    ] as const) {
      expect(mountAt(mounts, point)).toMatchObject({ type, root: '/', propagation: SHARED_INSIDE });
      expect(mountAt(mounts, point).options).toEqual(expect.arrayContaining(['rw', 'nosuid', 'nodev', 'noexec']));
      expect(mounts.filter(mount => mount.point.startsWith(`${point}/`))).toEqual([]);
    }
    expect(report.get('symbols')).toEqual(['shown']);
    expect(report.get('modes')).toEqual(['/dev/.lxc 755 0:0', '/dev/.lxc/proc/1 555 0:0']);
  });

  test('ENV-34, ENV-35: without nesting the kernel refuses a proc below, since not all of ours can be seen', async () => {
    const { text } = await rig.run({ mode, script: `${NESTED}; ls -d /dev/.lxc` });
    expect(text).not.toContain('nested');
    expect(text).toMatch(/proc.*(Operation not permitted|Permission denied)/);
    expect(text).toMatch(/\.lxc.*No such file/);
  });
});

test('HST-57: the kernel log stays silent in a container that lives on after its reader', async () => {
  const container = await rig.start({ init: '/bin/sh', args: ['-c', 'cat /proc/kmsg; echo end; sleep 1000'] });
  await expect(waitForText(container, 'end', { timeoutMs: 500 })).rejects.toThrow();
  expect(container.console.history().toString()).toBe('');
});
