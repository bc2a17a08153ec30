/** Layers on top of a root file system that is only read: kept with the container, or thrown away at its stop. */
import { execFileSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import type { Container } from 'caisson';
import { describe, expect, test } from 'vitest';
import { ERRNO } from '#src/spec/errno.js';
import { removeTree } from '#src/workers/host/remove-tree.js';
import { finish, MODES, useRig } from '../lib/rig.ts';
import { settledDifference, snapshot } from '../lib/snapshot.ts';
import { Victim } from '../lib/victim.ts';

const rig = useRig();

const layerOf = ({ name }: Container, stateDir = rig.supervisor.stateDir): string => join(stateDir, name, 'overlay');

/** Runs it once more; what it printed this time. */
async function again(container: Container): Promise<string[]> {
  const from = container.console.end;
  await container.start();
  await finish(container);
  return container.console.since(from).data.toString().split('\r\n').filter(Boolean);
}

const COUNT = 'cat /count 2>/dev/null; echo run >> /count';

describe.each(MODES)('%s', mode => {
  const persistent = () => ({ path: rig.rootfs, overlay: 'persistent' as const });

  test('a persistent layer keeps what was changed over stops, each container its own; the base is only read', async () => {
    const before = readdirSync(rig.rootfs);
    const script = `${COUNT}; rm -f /etc/group; ls /etc/group 2>&1 | grep -c 'No such file'; stat -c %u:%g:%a / /count`;
    const { container, lines } = await rig.run({ mode, rootfs: persistent(), script });
    expect(lines).toEqual(['1', '0:0:755', '0:0:644']);
    const other = await rig.run({ mode, rootfs: persistent(), script: `${COUNT}; ls /etc/group` });
    expect(other.lines).toEqual(['/etc/group']);
    expect(await again(container)).toEqual(['run', '1', '0:0:755', '0:0:644']);
    expect(readdirSync(rig.rootfs)).toEqual(before);
    // Nobody on the host gets at its set-uid programs.
    expect(statSync(layerOf(container)).mode & 0o777).toBe(0o700);
    const directory = join(rig.supervisor.stateDir, container.name);
    await rig.supervisor.remove(container.name);
    expect(existsSync(directory)).toBe(false);
  });

  test('LIF-41: a persistent layer outlasts a reboot and another supervisor', async () => {
    const stateDir = rig.stateDir();
    const supervisor = await rig.open({ stateDir });
    const script = `${COUNT}; [ "$(grep -c . /count)" -ge 2 ] || reboot -f`;
    const { container, lines } = await rig.run({ supervisor, mode, rootfs: persistent(), script });
    expect(container.restartCount).toBe(1);
    expect(lines).toEqual(['run']);
    await rig.close(supervisor);
    const next = await rig.open({ stateDir });
    expect((await again(next.get(container.name))).slice(0, 2)).toEqual(['run', 'run']);
  });

  test('LIF-47: an ephemeral layer is kept over a reboot, and thrown away at stop and restart', async () => {
    const script = `${COUNT}; [ "$(grep -c . /count)" = 2 ] || reboot -f`;
    const { container, lines } = await rig.run({ mode, script });
    expect(container.restartCount).toBe(1);
    expect(lines).toEqual(['run']);
    await rig.expectNothingLeft();
    expect(await again(container)).toEqual(['run']);
  });

  test('LIF-47: a reboot that is called off, or fails, leaves no ephemeral layer', async () => {
    const faults: Record<string, number> = {};
    const supervisor = await rig.open({ faults });
    const before = snapshot();
    const script = 'touch /mark; reboot -f';
    const container = await rig.create({ supervisor, mode, init: '/bin/sh', args: ['-c', script] });
    container.on('state', ({ to }) => {
      if (to === 'rebooting') faults['mounting.proc'] = ERRNO.ENOMEM;
    });
    await container.start();
    expect(await container.wait()).toMatchObject({ state: 'failed' });
    expect(container.error).toMatchObject({ code: 'STEP_FAILED', step: { id: 'mounting.proc' } });
    expect(await settledDifference(before)).toBe('');
    delete faults['mounting.proc'];
    const off = await rig.create({ supervisor, mode, init: '/bin/sh', args: ['-c', script] });
    const stopped = new Promise(resolve =>
      off.on('state', ({ to }) => {
        if (to === 'rebooting') resolve(off.stop());
      }),
    );
    await off.start();
    expect(await stopped).toMatchObject({ state: 'stopped' });
    expect(await settledDifference(before)).toBe('');
  });

  test('ENV-05: the checks look at what the layers make together', async () => {
    const tree = rig.tree();
    rmSync(join(tree, 'sbin/init'));
    const container = await rig.create({ mode, rootfs: { path: tree, overlay: 'persistent' } });
    await expect(container.start()).rejects.toMatchObject({
      code: 'ROOTFS_INIT_MISSING',
      step: { id: 'mounting.rootfs.check' },
    });
    await rig.expectNothingLeft();
    // As an installation that is finished later.
    mkdirSync(join(layerOf(container), 'upper/sbin'));
    writeFileSync(join(layerOf(container), 'upper/sbin/init'), '#!/bin/sh\necho installed\n', { mode: 0o755 });
    expect(await again(container)).toEqual(['installed']);
  });

  test('ENV-02: what a payload has put in place of /dev is refused, in a kept layer as well', async () => {
    const script = 'umount /dev/pts; rm -rf /new; mkdir /new; echo $?';
    const { container } = await rig.run({ mode, rootfs: persistent(), script });
    rmSync(join(layerOf(container), 'upper/dev'), { recursive: true, force: true });
    symlinkSync('/etc', join(layerOf(container), 'upper/dev'));
    await expect(container.start()).rejects.toMatchObject({ code: 'ROOTFS_DEV_NOT_DIR' });
    await rig.expectNothingLeft();
  });

  test('ENV-03: createMissing makes mount points in the layer, for the root of the container', async () => {
    const tree = rig.tree();
    for (const name of ['dev', 'proc', 'sys']) rmSync(join(tree, name), { recursive: true });
    const rootfs = { path: tree, overlay: 'persistent', createMissing: true } as const;
    const { container, lines } = await rig.run({ mode, rootfs, script: 'ls -1d /dev/null /proc/1 /sys/class' });
    expect(lines).toEqual(['/dev/null', '/proc/1', '/sys/class']);
    const owner = container.spec.idmap?.first ?? 0;
    for (const name of ['dev', 'proc', 'sys']) {
      expect(statSync(join(layerOf(container), 'upper', name)), name).toMatchObject({
        uid: owner,
        gid: owner,
        mode: 0o40755,
      });
      expect(existsSync(join(tree, name)), name).toBe(false);
    }
  });

  test('ENV-70: a container that remounts its root read-only does not touch the host', async () => {
    const script = 'mount -o remount,ro / && touch /x; echo tried';
    const { lines } = await rig.run({ mode, rootfs: persistent(), script });
    expect(lines.at(-1)).toBe('tried');
    writeFileSync(join(rig.dir, 'still-writable'), 'yes');
  });

  test('a tree deeper than a path may be long, and with names of any bytes, is removed', async () => {
    const script = `
      cd /; i=0; while [ $i -lt 300 ]; do mkdir d$i-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa; cd d$i-*; touch f; i=$((i+1)); done
      cd /; printf 'x' > "$(printf '/\\377\\376')"; ls / | wc -l; mkfifo /fifo; mkdir -p /.removed-1/.removed-2`;
    const kept = await rig.run({ mode, rootfs: persistent(), script });
    expect(kept.end).toMatchObject({ exit: { kind: 'exit', status: 0 } });
    expect(readdirSync(join(layerOf(kept.container), 'upper'))).toContain('fifo');
    await rig.supervisor.remove(kept.container.name);
    expect(readdirSync(rig.supervisor.stateDir)).not.toContain(kept.container.name);
    expect(readdirSync(rig.supervisor.stateDir).filter(name => name.startsWith('.unfinished'))).toEqual([]);
    const thrown = await rig.run({ mode, script });
    expect(thrown.end).toMatchObject({ state: 'stopped', exit: { kind: 'exit', status: 0 } });
    await rig.expectNothingLeft();
  });

  test('LIF-12: both kinds outlive kill -9 of the supervisor; the next one throws away what is to be thrown away', async () => {
    const stateDir = rig.stateDir();
    const script = 'echo mark > /mark; cat /mark; exec sleep 1000';
    const payload = { init: '/bin/sh', args: ['-c', script] };
    const specs = [
      rig.spec(mode, { name: 'e', ...payload }),
      rig.spec(mode, { name: 'p', rootfs: persistent(), ...payload }),
    ];
    const victim = new Victim({ stateDir, specs });
    await victim.ready;
    await victim.kill();
    const next = await rig.open({ stateDir });
    for (const name of ['e', 'p']) {
      const container = next.get(name);
      expect(container.state).toBe('running');
      expect(readFileSync(`/proc/${container.pid}/root/mark`, 'utf8')).toBe('mark\n');
      await container.kill();
    }
    expect(readFileSync(join(stateDir, 'p/overlay/upper/mark'), 'utf8')).toBe('mark\n');
    await next.remove('e');
    await next.remove('p');
    await rig.close(next);
    await rig.expectNothingLeft();
  });
});

test('NET-33: below Linux 6.15 a persistent layer works, too', async () => {
  const { facts } = rig.supervisor;
  const features = { ...facts.features, overlayOnDetached: false };
  const supervisor = await rig.openWith({}, { ...facts, features });
  const rootfs = { path: rig.rootfs, overlay: 'persistent' } as const;
  const { container, lines } = await rig.run({ supervisor, rootfs, script: `${COUNT}; stat -c %u:%g /bin/busybox` });
  expect(lines).toEqual(['0:0']);
  expect(await again(container)).toEqual(['run', '0:0']);
});

test('an immutable file of a privileged container does not keep it from being removed', async () => {
  const path = rig.directory('immutable');
  const { container } = await rig.run({
    mode: 'privileged',
    rootfs: { path: rig.rootfs, overlay: 'persistent' },
    script: 'mkdir -p /a/b; touch /a/b/f /a/g',
  });
  const upper = join(layerOf(container), 'upper/a');
  execFileSync('chattr', ['+i', join(upper, 'b/f'), join(upper, 'g')]);
  execFileSync('chattr', ['+a', upper]);
  await rig.supervisor.remove(container.name);
  expect(readdirSync(rig.supervisor.stateDir)).not.toContain(container.name);
  // And what a mount makes unreachable is not removed through it.
  expect(() => removeTree(join(path, 'nothing'))).toThrow(/ENOENT/);
});

test('LIF-07, LIF-47: a start after a reboot that fails before it comes to the kept layer throws that away, too', async () => {
  const faults: Record<string, number> = {};
  const supervisor = await rig.open({ faults });
  const rootfs = { path: rig.rootfs, overlay: 'ephemeral' as const };
  const container = await rig.start({ supervisor, rootfs, init: '/bin/sh', args: ['-c', 'read go; reboot -f'] });
  const layer = `${container.runDir}.overlay`;
  expect(existsSync(layer)).toBe(true);
  faults['creating.run'] = ERRNO.EPERM;
  await container.console.write('go\n');
  expect(await container.wait()).toMatchObject({ state: 'failed' });
  expect(container.error).toMatchObject({ errno: 'EPERM', step: { id: 'creating.run' } });
  expect(existsSync(layer)).toBe(false);
  await supervisor.remove(container.name);
  await rig.close(supervisor);
});
