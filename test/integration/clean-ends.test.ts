/** LIF-48: every init stops and reboots clean, by its signals or by its own commands, and never by force. */
import type { Container } from 'caisson';
import { beforeAll, describe, expect, test } from 'vitest';
import { IMAGE_TIMEOUT_MS, image } from '../lib/images.ts';
import { booted } from '../lib/inside.ts';
import { type Spec, useRig, waitForText } from '../lib/rig.ts';
import { slow } from '../lib/slow.ts';

const rig = useRig();
const trees = new Map<string, string>();
/** An init that does not end by itself would be killed after this. */
const LIMIT_MS = slow(60_000);

/** By what each stops and reboots: lifecycle.md §4. */
const INITS = {
  'debian-12': { halt: 'signal', reboot: 'signal', kind: 'halt' },
  sysvinit: { halt: 'command', reboot: 'signal', kind: 'halt' },
  openrc: { halt: 'command', reboot: 'signal', kind: 'halt' },
  runit: { halt: 'signal', reboot: 'command', kind: 'halt' },
  finit: { halt: 'signal', reboot: 'signal', kind: 'halt' },
  s6: { halt: 'signal', reboot: 'signal', kind: 'exit' },
  // The template's.
  busybox: { halt: 'signal', reboot: 'signal', kind: 'halt' },
} as const;
type Init = keyof typeof INITS;
const NAMES = Object.keys(INITS) as Init[];

beforeAll(async () => {
  for (const name of NAMES) if (name !== 'busybox') trees.set(name, await image(name));
}, IMAGE_TIMEOUT_MS);

async function start(name: Init, signals: Spec['signals'] = {}): Promise<Container> {
  const path = trees.get(name);
  if (path !== undefined) return await rig.start({ rootfs: { path, overlay: 'ephemeral' }, signals });
  const container = await rig.supervisor.create({ name: 'busybox', template: 'busybox', signals });
  await container.start();
  return container;
}

const GREETINGS: Partial<Record<Init, RegExp>> = { busybox: /busybox:.*# / };

async function up(container: Container, name: Init, from = 0): Promise<void> {
  if (name === 'debian-12') await booted(container);
  else await waitForText(container, GREETINGS[name] ?? /login:/, { timeoutMs: slow(30_000), from });
}

describe.each(NAMES)('%s', name => {
  const { halt, reboot, kind } = INITS[name];

  test(`LIF-48: reboots by ${reboot} and stops by ${halt}, each clean and in its own time`, async () => {
    const container = await start(name);
    await up(container, name);
    const first = container.pid;
    const from = container.console.end;
    const begun = performance.now();
    await container.reboot({ timeout: LIMIT_MS });
    const rebooted = performance.now() - begun;
    expect(container.pid).not.toBe(first);
    expect(container.restartCount).toBe(1);
    await up(container, name, from);
    const stopping = performance.now();
    const end = await container.stop({ timeout: LIMIT_MS });
    const stopped = performance.now() - stopping;
    expect(end).toMatchObject({ state: 'stopped', forced: false, by: halt, exit: { kind } });
    console.log(`${name}: reboot by ${reboot} ${Math.round(rebooted)} ms, stop by ${halt} ${Math.round(stopped)} ms`);
    // Not by any waiting of ours: the command is tried at half of the time where the signal does not do it.
    expect(Math.max(rebooted, stopped)).toBeLessThan(LIMIT_MS / 2);
  }, 240_000);
});

describe('signals.fallback and signals.stop', () => {
  test('LIF-48: without the fallback an init that does nothing on its signal is ended by force', async () => {
    const container = await start('sysvinit', { fallback: 'none' });
    await up(container, 'sysvinit');
    expect(await container.stop({ timeout: 3_000 })).toMatchObject({ forced: true, by: 'force' });
  }, 60_000);

  test('LIF-49: a program that is no init is not asked by command: there is nothing to wait for', async () => {
    const container = await rig.start({ init: '/bin/sleep', args: ['1000'] });
    const begun = performance.now();
    expect(await container.stop({ timeout: 60_000 })).toMatchObject({ forced: true, by: 'force' });
    expect(performance.now() - begun).toBeLessThan(slow(3_000));
  });

  test('LIF-26: two calls of reboot() send systemd one SIGINT', async () => {
    const container = await start('debian-12');
    await up(container, 'debian-12');
    const [first, second] = await Promise.allSettled([container.reboot(), container.reboot()]);
    expect(first).toMatchObject({ status: 'fulfilled' });
    expect(second).toMatchObject({ status: 'rejected', reason: { code: 'BUSY' } });
    expect(container.restartCount).toBe(1);
  }, 120_000);

  test('force by a signal of the spec: PID 1 that handles it ends by itself, another one by SIGKILL', async () => {
    const script = 'trap "exit 7" USR1; trap "" PWR; echo up; while :; do sleep 0.1; done';
    const spec = { init: '/bin/sh', args: ['-c', script], signals: { stop: 'SIGUSR1' } };
    const container = await rig.start(spec);
    await waitForText(container, 'up');
    expect(await container.kill()).toMatchObject({ forced: true, by: 'force', exit: { kind: 'exit', status: 7 } });
    const deaf = await rig.start({ init: '/bin/sleep', args: ['1000'], signals: { stop: 'SIGUSR1' } });
    expect(await deaf.kill()).toMatchObject({ forced: true, exit: { kind: 'killed' } });
  }, 60_000);
});
