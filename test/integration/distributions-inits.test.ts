/** Inits other than systemd, as Debian packages them: boot, a login on the console, the end by their own means. */
import type { Container } from 'caisson';
import { beforeAll, describe, expect, test } from 'vitest';
import { IMAGE_TIMEOUT_MS, type ImageName, image } from '../lib/images.ts';
import { inside, login, type, zombies } from '../lib/inside.ts';
import { finish, type Spec, until, useRig } from '../lib/rig.ts';
import { slow } from '../lib/slow.ts';

const rig = useRig();
const trees = new Map<ImageName, string>();
/** What the slowest of them needs to end, and some more. */
const CLEAN_MS = slow(20_000);

const INITS = ['sysvinit', 'openrc', 'runit', 'finit', 's6'] as const;
type Init = (typeof INITS)[number];
/** Those which would take the console have one of their own, after which they take no other. */
const TERMINAL_OF: Readonly<Record<Init, string>> = {
  sysvinit: 'pts/1',
  openrc: 'pts/1',
  runit: '?',
  finit: '?',
  s6: '?',
};

beforeAll(async () => {
  for (const name of INITS) trees.set(name, await image(name));
}, IMAGE_TIMEOUT_MS);

function start(name: Init, spec: Spec = {}): Promise<Container> {
  const rootfs = { path: trees.get(name) ?? '', overlay: 'ephemeral' as const };
  return rig.start({ rootfs, ...spec });
}

describe.each(INITS)('%s', name => {
  test('LIF-48, ENV-64: boots, lets root log in on the console, and reaps orphans', async () => {
    const container = await start(name);
    await login(container);
    expect(await type(container, 'tty; echo $((6 * 7))', /42\r\n/)).toContain('/dev/console');
    expect(await zombies(container)).toBe('');
  });
});

describe.each(INITS)('%s', name => {
  test('ENV-54: ^C on the console is for the command that runs there, not for PID 1', async () => {
    const container = await start(name);
    await login(container);
    await type(container, 'echo $((6 * 7)); sleep 1000', /42\r\n/);
    // The shell needs a moment until it has made sleep the terminal's foreground.
    await new Promise(resolve => setTimeout(resolve, 500));
    await container.console.write('\x03');
    // The shell answers, a thousand seconds before the sleep would have ended.
    await type(container, 'echo $((6 * 7))', /42\r\n/);
    expect(container.restartCount).toBe(0);
    expect(container.state).toBe('running');
    // The terminal is the shell's, so that PID 1 can have no part in it.
    expect((await inside(container, 'ps -o tty= -p 1')).text).toBe(TERMINAL_OF[name]);
  });
});

describe.each(['sysvinit', 'openrc', 'runit', 'finit'] as const)('%s', name => {
  test("LIF-18, LIF-32: reboot and poweroff typed on the console are the guest's own doing", async () => {
    const container = await start(name);
    await login(container);
    const from = container.console.end;
    await container.console.write('reboot\n');
    await until(() => container.restartCount === 1 && container.state === 'running', 'it is back', CLEAN_MS);
    await login(container, from);
    await container.console.write('poweroff\n');
    expect(await finish(container)).toMatchObject({ state: 'stopped', forced: false, exit: { kind: 'halt' } });
  });
});
