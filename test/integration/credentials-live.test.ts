/** Credentials that change while the container runs (HST-19), and what container.update() refuses. */
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { Container, ContainerUpdate } from 'caisson';
import { describe, expect, test } from 'vitest';
import { IMAGE_TIMEOUT_MS, image } from '../lib/images.ts';
import { booted, inside } from '../lib/inside.ts';
import { MODES, useRig } from '../lib/rig.ts';
import { shellOf, startShell } from '../lib/shell.ts';

const rig = useRig();

const LIST = 'cd /run/host/credentials; stat -c "%n|%u:%g|%a" . *; cat *; cd /';

function recorded(container: Container): { text: string; spec: Record<string, unknown>; mode: number } {
  const path = join(rig.supervisor.stateDir, container.name, 'container.json');
  const text = readFileSync(path, 'utf8');
  return { text, spec: JSON.parse(text).spec, mode: statSync(path).mode & 0o777 };
}

describe.each(MODES)('%s', mode => {
  test('HST-19: files come, change and go while it runs, and stay over a restart', async () => {
    const { container, say } = await startShell(rig, mode, { credentials: { first: 'one\n', second: 'two\n' } });
    expect(await say(LIST)).toBe('.|0:0|500\nfirst|0:0|400\nsecond|0:0|400\none\ntwo');
    await container.update({ credentials: { second: '2\n', third: { base64: 'dGhyZWUK' } } });
    expect(await say(LIST)).toBe('.|0:0|500\nsecond|0:0|400\nthird|0:0|400\n2\nthree');
    // One mount, as read-only as the first, and nothing of that below it.
    expect(await say('grep -c credentials /proc/mounts; grep credentials /proc/mounts | cut -d" " -f3,4')).toMatch(
      /^1\nramfs ro,nosuid,nodev,noexec/,
    );
    expect(
      await say(
        'touch /run/host/credentials/x; mount -o remount,rw,bind /run/host/credentials; touch /run/host/credentials/x',
      ),
    ).toMatch(/Read-only file system(.|\n)*Read-only file system/);
    expect(await say('umount /run/host/credentials; ls -A /run/host/credentials')).toBe('');
    await container.update({ 'systemd.credential.fourth': '4\n', 'systemd.credential-binary.fifth': 'NQo=' });
    expect(await say(LIST)).toBe('.|0:0|500\nfifth|0:0|400\nfourth|0:0|400\n5\n4');
    expect(Object.keys(container.spec.credentials).sort()).toEqual(['fifth', 'fourth']);
    expect(JSON.stringify(container)).not.toContain('NQo=');
    const { spec, mode: permissions } = recorded(container);
    expect(spec['systemd.credential.fourth']).toBe('4\n');
    expect(spec.credentials).toBeUndefined();
    expect(permissions).toBe(0o600);
    // The report is that of the start, whatever the next one will do.
    expect(container.report().steps.done).toBeGreaterThan(20);
    expect(container.timeline().map(({ id }) => id)).toContain('mounting.credentials.mount');
    await container.update({ credentials: {} });
    expect(await say('ls -A /run/host/credentials; grep -c credentials /proc/mounts')).toBe('0');
    await container.kill();
    await container.update({ credentials: { last: 'z\n' } });
    const from = container.console.end;
    await container.start();
    const again = await shellOf(container, from);
    expect(await again.say(LIST)).toBe('.|0:0|500\nlast|0:0|400\nz');
  });

  test('HST-19: a container that had none is given some', async () => {
    const { container, say } = await startShell(rig, mode);
    await container.update({ credentials: { late: 'yes\n' } });
    expect(await say(LIST)).toBe('.|0:0|500\nlate|0:0|400\nyes');
    await container.freeze();
    await container.update({ credentials: { frozen: 'yes\n' } });
    await container.unfreeze();
    expect(await say(LIST)).toBe('.|0:0|500\nfrozen|0:0|400\nyes');
  });

  test('HST-19, HST-35: where the payload has put something else, nothing is done and the record stays', async () => {
    const { container, say } = await startShell(rig, mode, { credentials: { key: 'x' } });
    await say('mount -t tmpfs mine /run; mkdir /run/host; ln -s /etc /run/host/credentials');
    const before = recorded(container).text;
    await expect(container.update({ credentials: { other: 'y' } })).rejects.toMatchObject({
      code: 'MOUNT_TARGET_REFUSED',
    });
    expect(await say('ls -d /etc/other; ls -A /etc | grep -c other')).toMatch(/No such file/);
    expect(recorded(container).text).toBe(before);
    expect(Object.keys(container.spec.credentials)).toEqual(['key']);
  });
});

test('HST-19: a step that fails leaves what was there, and a record of that', async () => {
  const supervisor = await rig.open({ faults: { 'live.credentials.replace': 12 } });
  const container = await rig.start({ supervisor, init: '/bin/sleep', args: ['60'], credentials: { key: 'x' } });
  const error: Error = await container.update({ credentials: { key: 'other secret' } }).then(
    () => expect.unreachable('it was changed'),
    (thrown: Error) => thrown,
  );
  expect(error).toMatchObject({ code: 'STEP_FAILED', errno: 'ENOMEM' });
  expect(JSON.stringify(error)).not.toContain(Buffer.from('other secret').toString('base64'));
  const path = join(supervisor.stateDir, container.name, 'container.json');
  expect(JSON.parse(readFileSync(path, 'utf8')).spec.credentials).toEqual({ key: 'x' });
});

test('HST-19: what cannot change is refused by name, and nothing has happened', async () => {
  const container = await rig.create({ credentials: { key: 'x' } });
  const before = recorded(container).text;
  for (const [changes, field] of [
    [{ hostname: 'other' }, 'hostname'],
    [{ credentials: { good: 'x' }, rootfs: '/' }, 'rootfs'],
    [{ name: 'other' }, 'name'],
    [{ nonsense: 1 }, 'nonsense'],
    [{ credentials: { 'a/b': 'x' } }, 'credentials.a/b'],
    [{ 'systemd.credential.a/b': 'x' }, 'systemd.credential.a/b'],
    [{ 'systemd.credential-binary.a': 'no Base64' }, 'systemd.credential-binary.a'],
    [{ credentials: { a: 'x' }, 'systemd.credential.a': 'y' }, 'systemd.credential.a'],
  ] as const) {
    await expect(container.update(changes as unknown as ContainerUpdate), field).rejects.toMatchObject({
      code: 'SPEC_INVALID',
      field,
    });
  }
  expect(recorded(container).text).toBe(before);
});

test('HST-19: updates at once come one after the other, and the next supervisor has the last', async () => {
  const stateDir = rig.stateDir();
  const first = await rig.open({ stateDir });
  const container = await rig.start({ supervisor: first, init: '/bin/sleep', args: ['60'] });
  await Promise.all([1, 2, 3, 4, 5].map(n => container.update({ credentials: { [`n${n}`]: 'x' } })));
  expect((await inside(container, 'ls /run/host/credentials')).text).toBe('n5');
  const { name } = container;
  await rig.close(first);
  const second = await rig.open({ stateDir });
  const adopted = second.get(name);
  expect(Object.keys(adopted.spec.credentials)).toEqual(['n5']);
  await adopted.update({ credentials: { adopted: 'x' } });
  expect((await inside(adopted, 'ls /run/host/credentials; grep -c credentials /proc/mounts')).text).toBe('adopted\n1');
});

test(
  'HST-19: a service with a mount namespace of its own sees the change, too',
  async () => {
    const rootfs = { path: await image('debian-12'), overlay: 'ephemeral' as const };
    const container = await rig.start({ rootfs, credentials: { one: 'x' } });
    await booted(container);
    const unit =
      'systemd-run --quiet --unit=watch -p PrivateTmp=yes sleep 100; sleep 1; systemctl show -P MainPID watch';
    const pid = (await inside(container, unit)).text;
    const look = `nsenter -t ${pid} -m ls /run/host/credentials`;
    expect((await inside(container, look)).text).toBe('one');
    await container.update({ credentials: { two: 'x' } });
    expect((await inside(container, look)).text).toBe('two');
  },
  IMAGE_TIMEOUT_MS,
);
