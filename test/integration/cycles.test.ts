/** Fifty lives of one container, and many supervisors: descriptors, memory and the machine stay as they were. */
import process from 'node:process';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { Supervisor } from 'caisson';
import { describe, expect, test } from 'vitest';
import { finish, MODES, useRig, waitForText } from '../lib/rig.ts';
import { settledDifference, snapshot } from '../lib/snapshot.ts';

const rig = useRig();

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

/** MiB in 50 cycles: 60 KiB a cycle. */
const LEAK = 3;

/** Resident memory in MiB, garbage collected. */
async function resident(): Promise<number> {
  for (let round = 0; round < 3; round++) {
    collectGarbage();
    await new Promise(resolve => setTimeout(resolve, 20));
  }
  return process.memoryUsage.rss() / 2 ** 20;
}

describe.each(MODES)('%s', mode => {
  test('50 starts and stops of one container leave nothing, descriptors and memory included', async () => {
    const container = await rig.create({ mode, init: '/bin/sh', args: ['-c', 'echo up; exec sleep 1000'] });
    const life = async (): Promise<void> => {
      const from = container.console.end;
      await container.start();
      await waitForText(container, 'up', { from });
      await container.kill();
      expect(container.console.since(from).data.toString()).toBe('up\r\n');
    };
    for (let cycle = 0; cycle < 25; cycle++) await life();
    const before = snapshot();
    // A leak grows in every round; the heaps of V8 and of the allocator take what they want once, now or later.
    const rounds: number[] = [];
    do {
      const memory = await resident();
      for (let cycle = 0; cycle < 50; cycle++) await life();
      rounds.push((await resident()) - memory);
    } while (Math.min(...rounds) >= LEAK && rounds.length < 5);
    console.log(
      `${mode}: resident memory over rounds of 50 cycles: ${rounds.map(mib => mib.toFixed(1)).join(', ')} MiB`,
    );
    expect(Math.min(...rounds), 'MiB of resident memory in 50 cycles').toBeLessThan(LEAK);
    expect(await settledDifference(before)).toBe('');
  });
});

test('20 containers that end by themselves, created, run and removed two at a time', async () => {
  const one = async (name: string): Promise<void> => {
    const container = await rig.start({ name, init: '/bin/true' });
    expect((await finish(container)).exit).toMatchObject({ kind: 'exit', status: 0 });
    await rig.supervisor.remove(name);
  };
  for (let pair = 0; pair < 10; pair++) await Promise.all([one(`a${pair}`), one(`b${pair}`)]);
  await rig.expectNothingLeft();
});

test('20 containers started at once', async () => {
  const names = Array.from({ length: 20 }, (_, index) => `many${index}`);
  const containers = await Promise.all(names.map(name => rig.start({ name, init: '/bin/sleep', args: ['1000'] })));
  expect(new Set(containers.map(({ pid }) => pid)).size).toBe(20);
  const ends = await Promise.all(containers.map(container => container.stop({ timeout: 0 })));
  for (const end of ends) expect(end).toMatchObject({ state: 'stopped', exit: { kind: 'killed' } });
  await Promise.all(names.map(name => rig.supervisor.remove(name)));
  await rig.expectNothingLeft();
});

test('10 supervisors opened and closed at once, threads still loading', async () => {
  const stateDir = rig.stateDir();
  const memory = await resident();
  for (let round = 0; round < 10; round++) await (await Supervisor.open({ stateDir })).close();
  // A supervisor that refuses to open ends its threads, too.
  const first = await Supervisor.open({ stateDir });
  for (let round = 0; round < 5; round++) {
    await expect(Supervisor.open({ stateDir })).rejects.toMatchObject({ code: 'STATE_LOCKED' });
  }
  await first.close();
  console.log(`10 supervisors: resident memory ${((await resident()) - memory).toFixed(1)} MiB more`);
  await rig.expectNothingLeft();
});
