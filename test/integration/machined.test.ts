/** Hosts with systemd-machined: each container is a machine of its list (HST-26), and what systemd itself ends (HST-27). */
import { execFile, execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { promisify } from 'node:util';
import { type Container, describeExit } from 'caisson';
import { beforeEach, describe, expect, test } from 'vitest';
import { finish, MODES, until, useRig } from '../lib/rig.ts';
import { slow } from '../lib/slow.ts';

const rig = useRig();
const SLEEP = { init: '/bin/sleep', args: ['1000'] };
const run = promisify(execFile);

function machinectl(...words: string[]): string {
  return execFileSync('machinectl', ['--no-pager', ...words], { encoding: 'utf8', timeout: slow(20_000) });
}

/** Names of all machines. */
function machines(): string[] {
  const lines = machinectl('list', '--no-legend').split('\n');
  return lines.map(line => line.trim().split(/\s+/)[0] ?? '').filter(Boolean);
}

/** Properties of a machine, as machined tells them. */
function show(name: string): Record<string, string> {
  const lines = machinectl('show', name).trim().split('\n');
  return Object.fromEntries(lines.map(line => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]));
}

const skipped = (container: Container): string[] =>
  container
    .report()
    .entries.filter(({ what }) => what.includes('systemd-machined'))
    .map(({ outcome, why }) => `${outcome} ${why}`);

beforeEach(({ skip }) => {
  if (rig.supervisor.facts.systemd === null) skip('systemd does not run this host');
  if (!existsSync('/usr/bin/machinectl')) skip('systemd-machined is not installed (Debian: systemd-container)');
});

describe.each(MODES)('%s', mode => {
  test('HST-26: it is a machine while it runs, with its leader, uuid and unit, and none afterwards', async () => {
    const container = await rig.start({ ...SLEEP, mode });
    const { name, pid } = container;
    expect(skipped(container)).toEqual([]);
    expect(machines()).toContain(name);
    const unit = `${rig.supervisor.facts.cgroups.prefix}-${name}.scope`;
    const uuid = readFileSync(`/proc/${pid}/root/run/host/container-uuid`, 'utf8').trim().replaceAll('-', '');
    expect(show(name)).toMatchObject({
      Class: 'container',
      Service: 'caisson',
      Leader: String(pid),
      Unit: unit,
      Id: uuid,
      RootDirectory: rig.rootfs,
      State: 'running',
    });
    expect(machinectl('status', name)).toContain(String(pid));
    await container.stop({ timeout: 0 });
    expect(machines()).not.toContain(name);
    // Each life anew.
    await container.start();
    expect(show(name).Leader).toBe(String(container.pid));
    await container.kill();
    expect(machines()).not.toContain(name);
  });
});

test('HST-26: machinectl terminate ends it, and its supervisor cleans up', async () => {
  const container = await rig.start(SLEEP);
  const { name } = container;
  const ended = finish(container, slow(20_000));
  const begun = performance.now();
  await run('machinectl', ['terminate', name], { timeout: slow(20_000) });
  const end = await ended;
  console.log(`terminate: ${end.exit && describeExit(end.exit)}, ${(performance.now() - begun).toFixed(0)} ms`);
  expect(end.exit).toMatchObject({ kind: 'signal', signal: 'SIGKILL' });
  expect(machines()).not.toContain(name);
  await rig.expectNothingLeft();
});

test('HST-27: a scope has no main process: when systemd stops it, all of it is killed at once', async () => {
  // SIGRTMIN+3 is what KillSignal= says; nobody gets it.
  const script = 'trap "exit 7" 37; echo ready; while :; do sleep 0.1; done';
  const container = await rig.start({ init: '/bin/sh', args: ['-c', script] });
  const ended = finish(container, slow(20_000));
  await run('systemctl', ['stop', `${rig.supervisor.facts.cgroups.prefix}-${container.name}.scope`], {
    timeout: slow(20_000),
  });
  expect((await ended).exit).toMatchObject({ kind: 'signal', signal: 'SIGKILL' });
});

test('HST-26: a name that is taken, and machined: none, are no errors', async () => {
  const first = await rig.start({ ...SLEEP, name: 'twin' });
  const supervisor = await rig.open();
  const second = await rig.start({ ...SLEEP, name: 'twin', supervisor });
  expect(skipped(second)).toEqual(['skipped EEXIST: another machine is registered by that name']);
  // The end of the second must not take the first one's registration along.
  await second.kill();
  expect(show('twin').Leader).toBe(String(first.pid));
  await first.kill();
  await until(() => !machines().includes('twin'), 'forgotten');
  const alone = await rig.start({ ...SLEEP, cgroups: { machined: 'none' } });
  expect(machines()).not.toContain(alone.name);
  expect(skipped(alone)).toEqual([]);
});

test('HST-26: a start that fails later leaves no machine', async () => {
  const supervisor = await rig.open({ faults: { 'running.exec': 12 } });
  const container = await rig.create({ ...SLEEP, supervisor });
  await expect(container.start()).rejects.toMatchObject({ step: { id: 'running.exec' } });
  expect(machines()).not.toContain(container.name);
});
