/** A supervisor that is killed before it has written down how a life went: the journal knows. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Supervisor } from 'caisson';
import { describe, expect, test } from 'vitest';
import { type Spec, until, useRig } from '../lib/rig.ts';
import { Victim } from '../lib/victim.ts';

const rig = useRig();

const name = 'x';
/** Ends with 3 the first time, with 4 from then on. */
const worse = (): Spec => ({
  rootfs: { path: rig.rootfs, overlay: 'persistent' },
  init: '/bin/sh',
  args: ['-c', '[ -e /lived ] && exit 4; : >/lived; exit 3'],
});

/** A state directory whose container has had one life, which is written down. */
async function lived(spec: Spec, run: (supervisor: Supervisor) => Promise<void>): Promise<string> {
  const stateDir = rig.stateDir();
  const supervisor = await rig.open({ stateDir });
  await rig.create({ supervisor, name, ...spec });
  await run(supervisor);
  await rig.close(supervisor);
  return stateDir;
}
const once = async (supervisor: Supervisor): Promise<void> => {
  await supervisor.get(name).start();
  await supervisor.get(name).wait();
};
const recordIn = (stateDir: string): { state: string; exit: unknown; start: unknown } =>
  JSON.parse(readFileSync(join(stateDir, name, 'state.json'), 'utf8'));
async function killedAt(stateDir: string, state: string): Promise<void> {
  await new Victim({ stateDir, specs: [], killAt: `${name} ${state}` }).dead;
}

describe('LIF-13: killed at the very event', () => {
  test('of an end: the next one knows that end, not the one before, and writes it down', async () => {
    const stateDir = await lived(worse(), once);
    expect(recordIn(stateDir)).toMatchObject({ state: 'failed', exit: { kind: 'exit', status: 3 } });
    await killedAt(stateDir, 'failed');
    expect(recordIn(stateDir).exit).toMatchObject({ status: 3 });
    const supervisor = await rig.open({ stateDir });
    expect(supervisor.get(name).exit).toMatchObject({ kind: 'exit', status: 4 });
    await rig.close(supervisor);
    expect(recordIn(stateDir)).toMatchObject({ state: 'failed', exit: { status: 4 } });
  });

  test('of the first end there is', async () => {
    const stateDir = await lived(worse(), () => Promise.resolve());
    await killedAt(stateDir, 'failed');
    expect(existsSync(join(stateDir, name, 'state.json'))).toBe(false);
    const supervisor = await rig.open({ stateDir });
    expect(supervisor.get(name).exit).toMatchObject({ kind: 'exit', status: 3 });
  });

  test('of a start: what runs has no exit yet, and its start is not taken for the one before', async () => {
    const sleep = { init: '/bin/sleep', args: ['1000'] };
    const stateDir = await lived(sleep, async supervisor => {
      await supervisor.get(name).start();
      await supervisor.get(name).kill();
    });
    await killedAt(stateDir, 'running');
    const supervisor = await rig.open({ stateDir });
    const container = supervisor.get(name);
    expect(container).toMatchObject({ state: 'running', exit: undefined });
    expect(container.timeline()).toEqual([]);
    await until(() => recordIn(stateDir).state === 'running', 'written down');
    expect(recordIn(stateDir)).toMatchObject({ exit: null, start: null });
    await container.kill();
    expect(container.exit).toMatchObject({ kind: 'killed' });
  });
});

test('a container is not taken for one of its name that is gone, nor a newer record for an older one', async () => {
  const stateDir = await lived(worse(), async supervisor => {
    await once(supervisor);
    await supervisor.remove(name);
    await rig.create({ supervisor, name, init: '/bin/true' });
  });
  let supervisor = await rig.open({ stateDir });
  expect(supervisor.get(name).exit).toBeUndefined();
  await rig.close(supervisor);
  // Without a journal the events have numbers of their own.
  supervisor = await rig.open({ stateDir, journal: false });
  await once(supervisor);
  await rig.close(supervisor);
  supervisor = await rig.open({ stateDir });
  expect(supervisor.get(name).exit).toMatchObject({ kind: 'exit', status: 0 });
  await rig.close(supervisor);
  // A damaged journal is no reason to know less than the record does.
  const journal = join(stateDir, '.journal/00000001.journal');
  writeFileSync(journal, readFileSync(journal).fill(0xff, 0, 4096));
  supervisor = await rig.open({ stateDir });
  expect(supervisor.get(name).exit).toMatchObject({ kind: 'exit', status: 0 });
});
