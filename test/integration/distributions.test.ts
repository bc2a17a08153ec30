/** Debian with systemd as PID 1, as its packages come, boots as cleanly as on a machine. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Container } from 'caisson';
import { beforeAll, describe, expect, test } from 'vitest';
import { IMAGE_TIMEOUT_MS, type ImageName, image } from '../lib/images.ts';
import { booted, inside, login, type, zombies } from '../lib/inside.ts';
import { MODES, type Mode, type Spec, useRig } from '../lib/rig.ts';

const rig = useRig();
const CASES = (['debian-12', 'debian-13'] as const).flatMap(name => MODES.map(mode => [name, mode] as const));
const trees = new Map<ImageName, string>();

beforeAll(async () => {
  for (const [name] of CASES) trees.set(name, await image(name));
}, IMAGE_TIMEOUT_MS);

function start(name: ImageName, mode: Mode, spec: Spec = {}): Promise<Container> {
  return rig.start({ mode, rootfs: { path: trees.get(name) ?? '', overlay: 'ephemeral' }, ...spec });
}

/** What the journal may say at level err or worse, each with the reason why that is not from us. */
const EXPECTED_ERRORS = [
  // dbus-daemon wants 65,536 descriptors; without CAP_SYS_RESOURCE the supervisor cannot raise the hard limit so far.
  /dbus-daemon.*Failed to set fd limit to 65536: Operation not permitted/,
];

describe.each(CASES)('%s, %s', (name, mode) => {
  test('boots clean', async () => {
    const container = await start(name, mode);
    const state = await booted(container);
    const say = async (script: string): Promise<string> => (await inside(container, script)).text;

    const failed = await say('systemctl --failed --no-legend --plain');
    expect({ state, failed }).toEqual({ state: 'running', failed: '' });
    const errors = (await say('journalctl --boot --priority=err --no-pager --quiet')).split('\n').filter(Boolean);
    expect(errors.filter(line => !EXPECTED_ERRORS.some(pattern => pattern.test(line)))).toEqual([]);

    // HST-13, HST-55: how it tells that it is in a container, and in which.
    expect(await say('systemd-detect-virt')).toBe('lxc');
    expect(await say('cat /run/systemd/container')).toBe('lxc');
    // HST-08: udev is installed and stays away; ENV-32 is why.
    expect(await say('systemctl show -P LoadState -P ActiveState systemd-udevd')).toBe('loaded\ninactive');
    // HST-09: no shell on a virtual terminal, one on the console.
    expect(await say("systemctl list-units 'getty@*' --no-legend --plain")).toBe('');
    expect(await say('systemctl is-active console-getty')).toBe('active');
    // ENV-41: it divides its own part of the cgroup tree.
    const slices = await say('systemctl list-units --type=slice --no-legend --plain');
    for (const slice of ['-.slice', 'system.slice', 'user.slice']) expect(slices).toContain(`${slice} `);
    expect(await say('cat /proc/1/cgroup')).toMatch(/^0::\/init\.scope$/m);
    expect(await say('systemctl show -P ControlGroup systemd-journald')).toBe('/system.slice/systemd-journald.service');
    expect(await zombies(container)).toBe('');
  });
});

describe.each(CASES)('%s, %s', (name, mode) => {
  test('HST-05, HST-09: root logs in on the console, and ^C is for the command that runs there', async () => {
    const container = await start(name, mode);
    await login(container);
    expect(await type(container, 'tty; echo $((6 * 7))', /42\r\n/)).toContain('/dev/console');
    await type(container, 'echo $((6 * 7)); sleep 1000', /42\r\n/);
    // The shell needs a moment until it has made sleep the terminal's foreground.
    await new Promise(resolve => setTimeout(resolve, 500));
    await container.console.write('\x03');
    // The shell answers, a thousand seconds before the sleep would have ended.
    await type(container, 'echo $((6 * 7))', /42\r\n/);
    expect(container.restartCount).toBe(0);
    expect(container.state).toBe('running');
  });

  test('HST-01: the host name is the one of the spec, unless the image has one of its own', async () => {
    const container = await start(name, mode, { hostname: 'given' });
    await booted(container);
    expect((await inside(container, 'uname -n; test -e /etc/hostname || echo none')).text).toBe('given\nnone');
    await inside(container, 'echo own > /etc/hostname');
    await container.stop({ timeout: 20_000 });

    const own = await start(name, mode, {
      hostname: 'given',
      // Written by what PID 1 is before it becomes systemd.
      init: '/bin/sh',
      args: ['-c', 'echo own > /etc/hostname; exec /sbin/init'],
    });
    await booted(own);
    expect((await inside(own, 'uname -n')).text).toBe('own');
  });

  test('HST-14, HST-15: an empty machine id is filled, and the image is not touched', async () => {
    const container = await start(name, mode);
    await booted(container);
    expect((await inside(container, 'cat /etc/machine-id')).text).toMatch(/^[0-9a-f]{32}$/);
    const tree = trees.get(name) ?? '';
    expect(readFileSync(join(tree, 'etc/machine-id'), 'utf8')).toBe('');
    expect(existsSync(join(tree, 'etc/hostname'))).toBe(false);
  });

  test('ENV-60, HST-07, HST-46: a service gets private devices and a private /tmp', async () => {
    const container = await start(name, mode);
    await booted(container);
    const run = 'systemd-run --quiet --wait --pipe';
    const devices = await inside(container, `${run} -p PrivateDevices=yes ls /dev`);
    expect(devices).toMatchObject({ status: 0, errors: '' });
    expect(devices.text.split('\n')).toEqual(expect.arrayContaining(['null', 'zero', 'urandom', 'full', 'pts']));
    expect(devices.text.split('\n')).not.toContain('console');
    await inside(container, 'touch /tmp/shared');
    const tmp = await inside(container, `${run} -p PrivateTmp=yes sh -c 'ls -A /tmp; touch /tmp/mine'`);
    expect(tmp).toEqual({ status: 0, text: '', errors: '' });
    expect((await inside(container, 'test -e /tmp/mine')).status).toBe(1);
  });

  test('HST-11, ENV-41: a service with Delegate=yes gets a sub-tree of its own', async () => {
    const container = await start(name, mode);
    await booted(container);
    await inside(container, 'systemd-run --quiet --unit=boss -p Delegate=yes sleep 1000');
    expect((await inside(container, 'systemctl show -P Delegate -P ActiveState boss')).text).toBe('yes\nactive');
    const group = '/sys/fs/cgroup/system.slice/boss.service';
    expect(await inside(container, `mkdir ${group}/part && rmdir ${group}/part`)).toMatchObject({ status: 0 });
  });
});
