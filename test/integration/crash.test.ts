/**
 * The supervisor is killed (SIGKILL) during each phase of a start and at random moments (LIF-08, LIF-12). No
 * half-made container lives on; what runs is adopted by the next supervisor and can be stopped; nothing is left.
 */

import { readdirSync } from 'node:fs';
import type { Supervisor } from 'caisson';
import { afterAll, describe, expect, test } from 'vitest';
import { type SpecInput, until, useRig } from '../lib/rig.ts';
import { slow } from '../lib/slow.ts';
import { own } from '../lib/snapshot.ts';
import { halfMade, Victim } from '../lib/victim.ts';

const rig = useRig();
/** Where the containers were when their supervisor died, as far as it could say, and what became of them. */
const outcomes = new Map<string, number>();
const count = (what: string): unknown => outcomes.set(what, (outcomes.get(what) ?? 0) + 1);

function note(victim: Victim): void {
  for (const name of ['u', 'o', 'p'])
    count(`at ${victim.states.findLast(state => state.startsWith(`${name} `))?.slice(2) ?? 'first start'}`);
}

afterAll(() => {
  const list = [...outcomes].sort().map(([what, times]) => `${what} ${times}`);
  console.log(`kill -9 of the supervisor: ${list.join(', ')}`);
});

function specs(): SpecInput[] {
  return [
    rig.spec('unprivileged', { name: 'u', rootfs: rig.rootfs, init: '/bin/sleep', args: ['1000'] }),
    rig.spec('unprivileged', { name: 'o', init: '/bin/sleep', args: ['1000'] }),
    rig.spec('privileged', { name: 'p', init: '/bin/sleep', args: ['1000'] }),
  ];
}

/** The journal: whatever the dead supervisor told is found again under its number, and no number is missing. */
async function expectRemembered(supervisor: Supervisor, victim: Victim): Promise<void> {
  const last = supervisor.seq;
  expect(last).toBeGreaterThanOrEqual(Math.max(0, ...victim.told.keys()));
  const states = new Map<number, string>();
  let expected = 1;
  for await (const event of supervisor.events({ since: 0 })) {
    expect(event.seq).toBe(expected++);
    if (event.type === 'state') states.set(event.seq, `${event.container} ${event.to}`);
    if (event.seq === last) break;
  }
  for (const [seq, state] of victim.told) expect(states.get(seq), `event ${seq}`).toBe(state);
}

/** After the death: nothing half-made; then a new supervisor, whose containers run or are stopped, and go. */
async function recover(stateDir: string, victim: Victim): Promise<void> {
  const prefix = `caisson-${own(stateDir)}`;
  await until(() => halfMade(prefix).length === 0, 'unfinished starts end with their supervisor', slow(5000));
  const supervisor: Supervisor = await rig.open({ stateDir });
  await expectRemembered(supervisor, victim);
  const containers = supervisor.list();
  expect(containers.map(({ name }) => name).sort()).toEqual(['o', 'p', 'u']);
  for (const container of containers) {
    const { state } = container;
    count(`then ${state}`);
    expect(['running', 'stopped'], container.name).toContain(state);
    if (state === 'running') {
      expect(readdirSync(`/proc/${container.pid}/ns`), container.name).toContain('pid');
      expect(await container.kill(), container.name).toMatchObject({ forced: true });
    }
    // It works again.
    await container.start();
    await container.kill();
    await supervisor.remove(container.name);
  }
  await rig.close(supervisor);
  await rig.expectNothingLeft();
}

describe('LIF-08: kill -9 exactly at the event of', () => {
  test.each(['creating', 'mounting', 'devices', 'network', 'running', 'stopping', 'stopped'])('%s', async killAt => {
    const stateDir = rig.stateDir();
    const victim = new Victim({ stateDir, specs: specs(), killAt, loop: true });
    expect(await victim.dead).toBe('SIGKILL');
    note(victim);
    expect(victim.states.filter(state => state.endsWith(` ${killAt}`))).toEqual([]);
    await recover(stateDir, victim);
  });
});

describe('LIF-08: kill -9 at a random moment of a loop of starts and stops', () => {
  test.each(Array.from({ length: 12 }, (_, round) => round))('round %i', async () => {
    const stateDir = rig.stateDir();
    const victim = new Victim({ stateDir, specs: specs(), loop: true });
    await victim.ready;
    await new Promise(resolve => setTimeout(resolve, Math.random() * 40));
    await victim.kill();
    note(victim);
    await recover(stateDir, victim);
  });
});

test('LIF-08: killed again and again over the same state', async () => {
  const stateDir = rig.stateDir();
  let victim: Victim | undefined;
  for (let round = 0; round < 4; round++) {
    victim = new Victim({ stateDir, specs: specs(), loop: true });
    await victim.ready;
    await new Promise(resolve => setTimeout(resolve, Math.random() * 30));
    await victim.kill();
  }
  if (victim !== undefined) await recover(stateDir, victim);
});
