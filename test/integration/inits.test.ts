/** Each init asked by its own signals (LIF-24, LIF-25): the distributions' own programs. */
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { Container } from 'caisson';
import { describe, expect, test } from 'vitest';
import { useRig, waitForText } from '../lib/rig.ts';

const rig = useRig();

const images = fileURLToPath(new URL('../../.cache/images', import.meta.url));
const missing = (image: string): string | false =>
  existsSync(`${images}/${image}`) ? false : `no tree ${image}: run scripts/images.sh ${image}`;

async function boot(image: string, greeting: RegExp | null): Promise<Container> {
  const container = await rig.start({
    rootfs: { path: `${images}/${image}`, overlay: 'ephemeral' },
  });
  if (greeting !== null) await waitForText(container, greeting, { timeoutMs: 30_000 });
  return container;
}

const OWN = { forced: false, by: 'signal', state: 'stopped' };

describe.each([
  ['finit', 'halt'],
  ['s6', 'exit'],
] as const)('LIF-24: %s', (image, kind) => {
  const why = missing(image);
  test.skipIf(why)(
    `halts and reboots by its own signals${why ? ` (${why})` : ''}`,
    async () => {
      const container = await boot(image, /login:/);
      const first = container.pid;
      await container.reboot({ timeout: 20_000 });
      expect(container.pid).not.toBe(first);
      await waitForText(container, /login:[\s\S]*login:/, { timeoutMs: 30_000 });
      expect(await container.stop({ timeout: 20_000 })).toMatchObject({ ...OWN, exit: { kind } });
    },
    90_000,
  );
});

describe.each([['debian-12'], ['debian-13']])('LIF-25, HST-23: %s', image => {
  const why = missing(image);
  test.skipIf(why)(
    `a stop right after the start waits until systemd can hear it${why ? ` (${why})` : ''}`,
    async () => {
      const container = await boot(image, null);
      expect(await container.stop({ timeout: 30_000 })).toMatchObject({ ...OWN, exit: { kind: 'halt' } });
    },
    60_000,
  );
});
