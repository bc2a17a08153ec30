/** The container's uuid and the image's machine id (HST-14, HST-15, HST-40). */
import { rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { MODES, useRig } from '../lib/rig.ts';

const rig = useRig();

const ID = '0123456789abcdef0123456789abcdef';
const DASHED = '01234567-89ab-cdef-0123-456789abcdef';
const OWN = 'a0a1a2a3-b0b1-8c0c-9d0d-e0e1e2e3e4e5';
const SCRIPT = "cat /run/host/container-uuid; tr '\\0' '\\n' </proc/1/environ | grep uuid";

function treeWith(content: string | null): string {
  const tree = rig.tree();
  if (content !== null) writeFileSync(join(tree, 'etc/machine-id'), content);
  return tree;
}

describe.each(MODES)('%s', mode => {
  test.each([
    ['set', `${ID}\n`, DASHED],
    ['set, in upper case and without a newline', ID.toUpperCase(), DASHED],
    ['missing', null, OWN],
    ['empty', '', OWN],
    ['uninitialized', 'uninitialized\n', OWN],
    ['of zeroes', `${'0'.repeat(32)}\n`, OWN],
    ['nonsense', 'not a machine id\n', OWN],
  ])('HST-14, HST-15: a machine id that is %s', async (_, content, uuid) => {
    const rootfs = { path: treeWith(content), overlay: 'ephemeral' as const };
    const { lines } = await rig.run({ mode, rootfs, uuid: OWN, machineId: 'env', script: SCRIPT });
    expect(lines).toEqual([uuid, `container_uuid=${uuid}`]);
  });

  test('HST-15: a machine id that is a symlink to the host is not followed', async () => {
    const tree = treeWith(null);
    const outside = join(rig.directory('outside'), 'id');
    writeFileSync(outside, `${ID}\n`);
    symlinkSync(outside, join(tree, 'etc/machine-id'));
    const rootfs = { path: tree, overlay: 'ephemeral' as const };
    const { lines } = await rig.run({ mode, rootfs, uuid: OWN, script: SCRIPT });
    expect(lines).toEqual([OWN]);
    rmSync(outside);
  });
});

test('HST-14: without one given, the uuid is stable over restarts and no other container has it', async () => {
  const first = await rig.run({ script: SCRIPT });
  const second = await rig.run({ script: SCRIPT });
  expect(first.lines[0]).toMatch(/^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$/);
  expect(second.lines[0]).not.toBe(first.lines[0]);
  await first.container.start();
  await first.container.wait();
  const printed = first.container.console.history().toString().replaceAll('\r', '').split('\n').filter(Boolean);
  expect(printed).toEqual([first.lines[0], first.lines[0]]);
});
