/** Hosts that systemd runs: each container in a scope of its own (HST-11, HST-12, HST-27). */
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import type { Container } from 'caisson';
import { beforeEach, describe, expect, test } from 'vitest';
import { finish, MODES, useRig } from '../lib/rig.ts';

const rig = useRig();
const SLEEP = { init: '/bin/sleep', args: ['1000'] };
const MIB = 1024 * 1024;

const prefix = (): string => rig.supervisor.facts.cgroups.prefix;
const unitOf = (container: Container): string => `${prefix()}-${container.name}.scope`;

/** Properties as systemd tells them. */
function show(unit: string, ...names: string[]): Record<string, string> {
  const text = execFileSync('systemctl', ['show', unit, ...names.map(name => `--property=${name}`)], {
    encoding: 'utf8',
  });
  return Object.fromEntries(
    text
      .trim()
      .split('\n')
      .map(line => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]),
  );
}

function scopes(): string[] {
  const text = execFileSync('systemctl', ['list-units', '--all', '--plain', '--no-legend', 'caisson-*'], {
    encoding: 'utf8',
  });
  return text.split('\n').filter(line => line.includes(prefix()));
}

beforeEach(({ skip }) => {
  if (rig.supervisor.facts.systemd === null) skip('systemd does not run this host');
});

describe.each(MODES)('%s', mode => {
  test('HST-11, HST-12, HST-27: a delegated scope in machine.slice, the limits below it, nothing left after stop', async () => {
    const container = await rig.start({ ...SLEEP, mode, limits: { memory: 64 * MIB, pids: 40 } });
    const unit = unitOf(container);
    expect(show(unit, 'Delegate', 'Slice', 'KillMode', 'KillSignal', 'CollectMode', 'ActiveState', 'TasksMax')).toEqual(
      {
        Delegate: 'yes',
        Slice: 'machine.slice',
        KillMode: 'mixed',
        KillSignal: '37',
        CollectMode: 'inactive-or-failed',
        ActiveState: 'active',
        TasksMax: 'infinity',
      },
    );
    const group = `/machine.slice/${unit}`;
    expect(show(unit, 'ControlGroup')).toEqual({ ControlGroup: group });
    expect(readFileSync(`/proc/${container.pid}/cgroup`, 'utf8')).toBe(`0::${group}/container/payload\n`);
    const outer = `/sys/fs/cgroup${group}/container`;
    expect(readFileSync(`${outer}/memory.max`, 'utf8')).toBe(`${64 * MIB}\n`);
    expect(readFileSync(`${outer}/pids.max`, 'utf8')).toBe('40\n');
    await container.kill();
    expect(scopes()).toEqual([]);
    expect(existsSync(`/sys/fs/cgroup${group}`)).toBe(false);
  });

  test('a payload that ends by itself, and one that reboots, have a scope each time and leave none', async () => {
    const script = '[ -e /etc/again ] && exit 0; touch /etc/again; reboot -f';
    const container = await rig.create({
      mode,
      init: '/bin/sh',
      args: ['-c', script],
      rootfs: { path: rig.tree(), allowSharedSuperblock: true },
    });
    await container.start();
    await finish(container);
    expect(scopes()).toEqual([]);
  });
});

test('HST-11: nothing is made at the top of the tree, but for a container that wants no scope', async () => {
  const top = (): string[] => readdirSync('/sys/fs/cgroup').filter(name => name.startsWith('caisson-'));
  const before = top();
  const supervisor = await rig.open();
  const container = await rig.start({ ...SLEEP, supervisor });
  expect(top()).toEqual(before);
  const plain = await rig.start({ ...SLEEP, supervisor, cgroups: { scope: 'none' } });
  expect(top()).toEqual([...before, supervisor.facts.cgroups.prefix].sort());
  await Promise.all([container.kill(), plain.kill()]);
  await supervisor.remove(plain.name);
  await rig.close(supervisor);
  expect(top()).toEqual(before);
});

test('HST-11: scope none has a directory of the supervisor, slice another slice', async () => {
  // Its directory stays until its supervisor closes.
  const supervisor = await rig.open();
  const own = supervisor.facts.cgroups.prefix;
  const plain = await rig.start({ ...SLEEP, supervisor, cgroups: { scope: 'none' } });
  expect(scopes()).toEqual([]);
  expect(readFileSync(`/proc/${plain.pid}/cgroup`, 'utf8')).toContain(`/${own}/${plain.name}/payload`);
  const other = await rig.start({ ...SLEEP, cgroups: { slice: 'system-caissontest.slice' } });
  expect(readFileSync(`/proc/${other.pid}/cgroup`, 'utf8')).toContain(
    `0::/system.slice/system-caissontest.slice/${unitOf(other)}/`,
  );
  await other.kill();
  execFileSync('systemctl', ['stop', 'system-caissontest.slice']);
});

test('HST-12: a start that fails after the scope was made leaves none', async () => {
  for (const step of ['creating.scope', 'creating.scope.attach', 'creating.scope.enable.container', 'running.exec']) {
    const supervisor = await rig.open({ faults: { [step]: 12 } });
    const container = await rig.create({ ...SLEEP, supervisor });
    await expect(container.start(), step).rejects.toMatchObject({ step: { id: step } });
    await supervisor.remove(container.name);
    const text = execFileSync('systemctl', ['list-units', '--all', '--plain', '--no-legend', 'caisson-*'], {
      encoding: 'utf8',
    });
    expect(text, step).not.toContain(supervisor.facts.cgroups.prefix);
    await rig.close(supervisor);
  }
});

test('HST-12: a hundred rapid starts and stops leave no scope', async () => {
  const container = await rig.create(SLEEP);
  for (let round = 0; round < 100; round++) {
    await container.start();
    await container.kill();
  }
  expect(scopes()).toEqual([]);
});
