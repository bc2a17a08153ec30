/** Who the container, its image and its host are (HST-14, HST-15, HST-17), what becomes PID 1 and keeps /run/host (HST-58, HST-32). */
import { copyFileSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Container } from 'caisson';
import { describe, expect, test } from 'vitest';
import { IMAGE_TIMEOUT_MS, image } from '../lib/images.ts';
import { inside, login } from '../lib/inside.ts';
import { MODES, until, useRig } from '../lib/rig.ts';

const rig = useRig();

const ID = '0123456789abcdef0123456789abcdef';
const DASHED = '01234567-89ab-cdef-0123-456789abcdef';
const SLEEP = { init: '/bin/sleep', args: ['60'] };

function treeWith(change: (tree: string) => void): { path: string; overlay: 'ephemeral' } {
  const tree = rig.tree();
  change(tree);
  return { path: tree, overlay: 'ephemeral' };
}

const withId = (id: string) => treeWith(tree => writeFileSync(join(tree, 'etc/machine-id'), `${id}\n`));
const codes = (container: Container): string[] => container.report().entries.map(({ code }) => code);
const machineIds = (container: Container): string[] =>
  container
    .report()
    .entries.filter(({ code }) => code.startsWith('machine-id'))
    .map(({ code, why }) => `${code}: ${why}`);

describe('HST-14, HST-15', () => {
  test('an id that another running container has, too, is told; one that has ended does not count', async () => {
    const rootfs = withId(ID);
    const first = await rig.start({ ...SLEEP, rootfs });
    const second = await rig.start({ ...SLEEP, rootfs });
    const other = await rig.start({ ...SLEEP, rootfs: withId(ID.replace('0', 'f')) });
    expect(machineIds(first)).toEqual([]);
    expect(machineIds(second)).toEqual([
      expect.stringContaining(`machine-id-duplicate: ${first.name} has the same uuid, ${DASHED}`),
    ]);
    expect(machineIds(other)).toEqual([]);
    await first.kill();
    await second.kill();
    await first.start();
    expect(machineIds(first)).toEqual([]);
  });

  test("an id that is the host's is told; one that is not set is not", async () => {
    const supervisor = await rig.open({ facts: { machineId: DASHED } });
    const same = await rig.start({ supervisor, ...SLEEP, rootfs: withId(ID) });
    expect(machineIds(same)).toEqual([expect.stringMatching(/^machine-id-host: /)]);
    const unset = await rig.start({ supervisor, ...SLEEP, rootfs: withId('uninitialized') });
    expect(machineIds(unset)).toEqual([]);
  });
});

describe.each(MODES)('%s', mode => {
  const ENVIRON = "tr '\\0' '\\n' </proc/1/environ; true";

  test('HST-17: which distribution the host is, when asked for', async () => {
    const osRelease = { id: 'debian', version_id: '13', variant_id: 'a b' };
    const supervisor = await rig.open({ facts: { osRelease } });
    const asked = await rig.run({ supervisor, mode, hostInfo: 'env', script: ENVIRON });
    expect(asked.lines).toEqual([
      'container=lxc',
      'container_host_id=debian',
      'container_host_version_id=13',
      'container_host_variant_id=a b',
    ]);
    expect(asked.container.report().entries.find(({ code }) => code === 'environment')?.why).toContain(
      'container_host_id (hostInfo)',
    );
    const environment = { container_host_id: 'mine' };
    const own = await rig.run({ supervisor, mode, hostInfo: 'env', environment, script: ENVIRON });
    expect(own.lines.filter(line => line.startsWith('container_host_id='))).toEqual(['container_host_id=mine']);
    expect((await rig.run({ supervisor, mode, script: ENVIRON })).lines).toEqual(['container=lxc']);
  });

  test('HST-58: init auto takes the first of the usual programs that the image has', async () => {
    const say = (text: string): string => `#!/bin/sh\necho ${text} "$0"\n`;
    const put = (tree: string, path: string, text: string, executable = 0o755): void => {
      mkdirSync(join(tree, path, '..'), { recursive: true });
      rmSync(join(tree, path), { force: true });
      writeFileSync(join(tree, path), text, { mode: executable });
    };
    const all = treeWith(tree => {
      put(tree, 'usr/lib/systemd/systemd', say('usr'));
      put(tree, 'sbin/init', say('sbin'));
    });
    const lib = treeWith(tree => {
      // Not executable, and a link out of the tree: neither can be it.
      put(tree, 'usr/lib/systemd/systemd', say('usr'), 0o644);
      put(tree, 'lib/systemd/systemd', say('lib'));
    });
    const sbin = treeWith(tree => {
      mkdirSync(join(tree, 'usr/lib/systemd'), { recursive: true });
      symlinkSync('/var/tmp/nowhere/systemd', join(tree, 'usr/lib/systemd/systemd'));
      put(tree, 'sbin/init', say('sbin'));
    });
    const run = async (rootfs: typeof all) => (await rig.run({ mode, rootfs, init: 'auto' })).lines;
    expect(await run(all)).toEqual(['usr /usr/lib/systemd/systemd']);
    expect(await run(lib)).toEqual(['lib /lib/systemd/systemd']);
    expect(await run(sbin)).toEqual(['sbin /sbin/init']);
    const none = treeWith(tree => rmSync(join(tree, 'sbin/init'), { force: true }));
    await expect(rig.start({ mode, rootfs: none, init: 'auto' })).rejects.toMatchObject({
      code: 'ROOTFS_INIT_MISSING',
    });
    const persistent = { path: all.path, overlay: 'persistent' as const };
    expect((await rig.run({ mode, rootfs: persistent, init: 'auto' })).lines).toEqual(['usr /usr/lib/systemd/systemd']);
  });

  test('HST-32: a boot script that mounts a /run of its own hides /run/host, and the report says that it may', async () => {
    const boot = (mount: string) =>
      treeWith(tree => {
        rmSync(join(tree, 'sbin/init'), { force: true });
        mkdirSync(join(tree, 'sbin'), { recursive: true });
        copyFileSync(join(tree, 'bin/busybox'), join(tree, 'sbin/busybox'));
        symlinkSync('busybox', join(tree, 'sbin/init'));
        mkdirSync(join(tree, 'etc/init.d'), { recursive: true });
        writeFileSync(join(tree, 'etc/inittab'), '::sysinit:/etc/init.d/rcS\n');
        writeFileSync(join(tree, 'etc/init.d/rcS'), `#!/bin/busybox sh\n${mount}\n`, { mode: 0o755 });
      });
    const look = async (mount: string): Promise<[string, boolean]> => {
      const container = await rig.start({ mode, rootfs: boot(`${mount}\n/bin/busybox echo booted`) });
      await until(() => container.console.history().includes('booted'), 'boot');
      const { status } = await inside(container, '/bin/busybox test -e /run/host/container-manager');
      const { runHost } = container.report();
      await container.kill();
      return [runHost, status === 0];
    };
    expect(await look('/bin/busybox mount -t tmpfs tmpfs /run')).toEqual(['may-be-hidden', false]);
    expect(await look('/bin/busybox mount -t tmpfs tmpfs /tmp # not /run')).toEqual(['visible', true]);
  });
});

test.each(['sysvinit', 'openrc', 'runit', 'finit', 's6'] as const)(
  'HST-32: the init of %s keeps /run/host, and the report does not warn of it',
  async name => {
    const rootfs = { path: await image(name), overlay: 'ephemeral' as const };
    const container = await rig.start({ rootfs });
    await login(container);
    expect(container.report().runHost).toBe('visible');
    expect(codes(container)).not.toContain('run-host');
    expect((await inside(container, 'cat /run/host/container-manager')).text).toBe('lxc');
  },
  IMAGE_TIMEOUT_MS,
);

test(
  'HST-58: init auto boots a Debian',
  async () => {
    const rootfs = { path: await image('debian-12'), overlay: 'ephemeral' as const };
    const container = await rig.start({ rootfs, init: 'auto' });
    await login(container);
    expect((await inside(container, "tr '\\0' ' ' </proc/1/cmdline")).text).toBe('/usr/lib/systemd/systemd');
    expect(container.report().runHost).toBe('visible');
  },
  IMAGE_TIMEOUT_MS,
);
