/** Debian with systemd: stop and reboot, from inside and outside, and a journal that tells the boots apart. */
import type { CaissonEvent, Container } from 'caisson';
import { beforeAll, describe, expect, test } from 'vitest';
import { IMAGE_TIMEOUT_MS, type ImageName, image } from '../lib/images.ts';
import { booted, inside, login } from '../lib/inside.ts';
import { finish, MODES, type Mode, until, useRig } from '../lib/rig.ts';
import { slow } from '../lib/slow.ts';

const rig = useRig();
const CASES = (['debian-12', 'debian-13'] as const).flatMap(name => MODES.map(mode => [name, mode] as const));
const trees = new Map<ImageName, string>();
/** Far more than it takes: it is below a second. What ends by a timeout has not ended cleanly. */
const CLEAN_MS = slow(15_000);

beforeAll(async () => {
  for (const [name] of CASES) trees.set(name, await image(name));
}, IMAGE_TIMEOUT_MS);

function start(name: ImageName, mode: Mode): Promise<Container> {
  return rig.start({ mode, rootfs: { path: trees.get(name) ?? '', overlay: 'ephemeral' } });
}

function moves(container: Container): Extract<CaissonEvent, { type: 'state' }>[] {
  const seen: Extract<CaissonEvent, { type: 'state' }>[] = [];
  container.on('state', event => seen.push(event));
  return seen;
}

describe.each(CASES)('%s, %s', (name, mode) => {
  test('HST-22, LIF-22: stop() halts it cleanly, within seconds', async () => {
    const container = await start(name, mode);
    await booted(container);
    const from = container.console.end;
    const begun = performance.now();
    expect(await container.stop({ timeout: CLEAN_MS })).toMatchObject({
      state: 'stopped',
      forced: false,
      exit: { kind: 'halt' },
    });
    expect(performance.now() - begun).toBeLessThan(CLEAN_MS);
    const printed = container.console.since(from).data.toString();
    expect(printed).toContain('Halting system.');
    expect(printed).not.toContain('[FAILED]');
  });

  test('LIF-31, LIF-41, ENV-36: reboot() from the host brings it back with another boot id', async () => {
    const container = await start(name, mode);
    await booted(container);
    const read = async (): Promise<string> => (await inside(container, 'cat /proc/sys/kernel/random/boot_id')).text;
    const first = await read();
    const { pid } = container;
    await container.reboot({ timeout: CLEAN_MS });
    await booted(container);
    expect(container.restartCount).toBe(1);
    expect(container.pid).not.toBe(pid);
    const second = await read();
    expect(first).toMatch(/^[0-9a-f-]{36}$/);
    expect(second).not.toBe(first);
    // journald takes the same id for the boot that it writes under.
    const boots = (await inside(container, 'journalctl --list-boots --no-pager --quiet')).text;
    expect(boots).toContain(second.replaceAll('-', ''));
  });

  test("LIF-18, LIF-32: reboot and poweroff typed on the console are the guest's own doing", async () => {
    const container = await start(name, mode);
    await login(container);
    const events = moves(container);
    const from = container.console.end;
    await container.console.write('reboot\n');
    await until(() => container.restartCount === 1 && container.state === 'running', 'it is back', CLEAN_MS);
    expect(events.find(({ to }) => to === 'rebooting')).toMatchObject({ initiator: 'guest', exit: { kind: 'reboot' } });
    await login(container, from);
    await container.console.write('poweroff\n');
    expect(await finish(container)).toMatchObject({ state: 'stopped', forced: false, exit: { kind: 'halt' } });
    expect(events.at(-1)).toMatchObject({ initiator: 'guest' });
  });
});
