/** Debian with systemd on a host with LXCFS: it boots as clean, and its services see LXCFS come back, too. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Container, Supervisor } from 'caisson';
import { afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { IMAGE_TIMEOUT_MS, image } from '../lib/images.ts';
import { booted, inside } from '../lib/inside.ts';
import { startOnce, TestLxcfs } from '../lib/lxcfs.ts';
import { MODES, until, useRig } from '../lib/rig.ts';
import { slow } from '../lib/slow.ts';

beforeAll(startOnce);
const rig = useRig();
let tree = '';
let lxcfs: TestLxcfs;
let supervisor: Supervisor;

beforeAll(async () => {
  tree = await image('debian-12');
}, IMAGE_TIMEOUT_MS);

beforeEach(async () => {
  const base = rig.directory('lxcfs');
  mkdirSync(join(base, 'mount'));
  lxcfs = new TestLxcfs(base, join(base, 'mount'));
  supervisor = await rig.open({ lxcfs: lxcfs.path });
});

afterEach(async () => {
  await lxcfs.end();
});

/** What the service `sleeper`, whose mount namespace is its own, reads. */
async function readByService(container: Container): Promise<string> {
  const service = '--target $(systemctl show -P MainPID sleeper) --mount';
  return (
    await inside(
      container,
      `nsenter ${service} sh -c 'head -n 1 /proc/meminfo; grep -c " /proc/meminfo " /proc/self/mountinfo'`,
    )
  ).text;
}

describe.each(MODES)('%s', mode => {
  test('ENV-45, ENV-49: it boots clean, tells of its own memory, and so do services after a restart of LXCFS', async () => {
    await lxcfs.start();
    const container = await rig.start({
      mode,
      supervisor,
      rootfs: { path: tree, overlay: 'ephemeral' },
      limits: { memory: 512 * 1024 * 1024 },
    });
    const say = async (script: string): Promise<string> => (await inside(container, script)).text;
    const state = await booted(container);
    expect({ state, failed: await say('systemctl --failed --no-legend --plain') }).toEqual({
      state: 'running',
      failed: '',
    });
    const total = 'head -n 1 /proc/meminfo';
    expect(await say(total)).toMatch(/ 524288 kB$/);
    expect(Number((await say('cat /proc/uptime')).split('.')[0])).toBeLessThan(slow(60));
    await say('systemd-run --quiet --unit=sleeper --property=PrivateTmp=yes sleep 1000');
    expect(await readByService(container)).toMatch(/ 524288 kB\n1$/);

    const codes: string[] = [];
    container.on('event', event => {
      if (event.type === 'notice') codes.push(event.code);
    });
    await lxcfs.kill();
    lxcfs.unmount();
    await lxcfs.start();
    await until(() => codes.includes('lxcfs-bound'), 'the new files are mounted');
    expect(await say(total)).toMatch(/ 524288 kB$/);
    expect(await readByService(container)).toMatch(/ 524288 kB\n1$/);
    await container.stop({ timeout: slow(20_000) });
  });
});
