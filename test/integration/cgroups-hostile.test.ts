/** Cgroups that a payload makes to be in the way of its end (ENV-41), and pids that are not what they seem. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { killCgroup } from '#src/workers/host/cgroup.js';
import { outerV2 } from '../lib/place.ts';
import { compileInto, GROUPS } from '../lib/programs.ts';
import { MODES, type Mode, useRig, waitForText } from '../lib/rig.ts';
import { slow } from '../lib/slow.ts';

const undo: (() => void)[] = [];
// Before the rig's: the last to be registered is the first to be called.
afterEach(() => {
  for (const step of undo.splice(0)) step();
});

const rig = useRig({ prepare: rootfs => void compileInto(rootfs, 'make-groups', GROUPS) });

/** What the rest of these tests could not even list. */
function removeAfterwards(group: string): void {
  undo.push(() => {
    if (existsSync(group))
      execFileSync('find', [group, '-mindepth', '1', '-depth', '-type', 'd', '-delete'], { stdio: 'ignore' });
  });
}

describe.each(MODES)('%s', (mode: Mode) => {
  test('ENV-41: groups with long paths, far down, with names that are not UTF-8, and threaded ones go with it', async () => {
    const { supervisor } = rig;
    if (supervisor.facts.cgroups.v2 === null) {
      console.log('not tried: this host has no cgroup v2 tree');
      return;
    }
    const container = await rig.create({ mode, init: '/bin/sh', args: ['-c', 'exec make-groups /sys/fs/cgroup'] });
    removeAfterwards(outerV2(supervisor.facts, container.name) ?? '');
    await container.start();
    expect(await waitForText(container, 'made\r\n', { timeoutMs: slow(20_000) })).toBe('made\r\n');
    const begun = performance.now();
    await container.freeze();
    await container.unfreeze();
    expect((await container.stats()).pid).toBe(container.pid);
    expect(await container.kill()).toMatchObject({ state: 'stopped', forced: true });
    console.log(`ended after ${(performance.now() - begun).toFixed(0)} ms`);
    await rig.expectNothingLeft();
  });

  test('ENV-41: the same on a host with cgroup v1 only', async () => {
    const named = rig.supervisor.facts.cgroups.v1.find(({ controllers }) => controllers.length === 0);
    if (named === undefined) {
      console.log('not tried: this host has no named cgroup v1 hierarchy');
      return;
    }
    const supervisor = await rig.openWith({ v2: null });
    const args = ['-c', `exec make-groups /sys/fs/cgroup/${named.name}`];
    const container = await rig.create({ supervisor, mode, init: '/bin/sh', args });
    removeAfterwards(join(named.base, supervisor.facts.cgroups.prefix, container.name));
    await container.start();
    expect(await waitForText(container, 'made\r\n', { timeoutMs: slow(20_000) })).toBe('made\r\n');
    expect(await container.kill()).toMatchObject({ state: 'stopped', forced: true });
  });
});

test('LIF-29: a pid that was cut off at the end of a long list is nobody', async () => {
  const group = rig.directory('group');
  const bystander: ChildProcess = spawn('sleep', ['1000'], { stdio: 'ignore' });
  try {
    const pid = String(bystander.pid);
    // 64 KiB are read: they end with the digits of the bystander's pid, and the number goes on after that.
    const nobody = '999999999\n';
    const room = 65_536 - pid.length;
    const list = nobody.repeat(Math.floor(room / nobody.length) - 1);
    const filling = '9'.repeat(room - list.length - 1);
    writeFileSync(join(group, 'cgroup.procs'), `${list}${filling}\n${pid}99\n`);
    mkdirSync(join(group, 'below'));
    writeFileSync(join(group, 'below/cgroup.procs'), '');
    expect(() => killCgroup({ paths: [group], v2: null, timeoutMs: 0 })).toThrow(/still alive/);
    // Long enough to be told of its death.
    await new Promise(resolve => setTimeout(resolve, 200));
    expect(bystander.signalCode).toBe(null);
  } finally {
    bystander.kill('SIGKILL');
  }
});
