/** What PID 1 tells by sd_notify, and when a container counts as up (LIF-36 to LIF-39, LIF-19, HST-25, HST-37). */
import type { CaissonEvent, Container } from 'caisson';
import { describe, expect, test } from 'vitest';
import { NOTIFIER } from '../lib/notifier.ts';
import { compileInto } from '../lib/programs.ts';
import { finish, MODES, type Spec, until, useRig, waitForText } from '../lib/rig.ts';

const rig = useRig({ prepare: rootfs => compileInto(rootfs, 'notifier', NOTIFIER) });

type NotifyEvent = Extract<CaissonEvent, { type: 'notify' }>;

const notifier = (...args: string[]): Spec => ({ init: '/bin/notifier', args, ready: 'notify' });

/** The fields of every message heard from now on. */
function follow(container: Container): NotifyEvent['fields'][] {
  const heard: NotifyEvent['fields'][] = [];
  container.on('notify', event => heard.push(event.fields));
  return heard;
}

test('a PID 1 that never stops telling does not push everything else out of the event log', async () => {
  const container = await rig.create(notifier('flood:3000', 'say:READY=1\\nSTATUS=last', 'hang'));
  const events: NotifyEvent[] = [];
  container.on('notify', event => events.push(event));
  const ready: string[] = [];
  container.on('ready', event => ready.push(event.type));
  await container.start({ waitReady: true });
  // All of it is heard, and the state is the last one; that it has come up at last is told whatever was before.
  expect(container.notify).toMatchObject({ ready: true, status: 'last' });
  expect(ready).toEqual(['ready']);
  const bytes = events.reduce((sum, event) => sum + JSON.stringify(event).length, 0);
  expect(events.length).toBeGreaterThan(10);
  expect(bytes).toBeLessThan(256 * 1024);
  await new Promise(resolve => setTimeout(resolve, 1500));
  await container.kill();
});

describe.each(MODES)('%s', mode => {
  test('HST-25, HST-37, LIF-36: READY=1 makes the container ready; running comes before', async () => {
    const container = await rig.create({ mode, ...notifier('ms:100', 'say:READY=1\\nSTATUS=Up and running', 'hang') });
    const events: CaissonEvent[] = [];
    container.on('event', event => events.push(event));
    await container.start();
    expect(container.ready).toBe(false);
    expect(container.toJSON()).toMatchObject({ ready: false, status: { name: 'Running', code: 103 } });
    await until(() => container.ready, 'ready');
    expect(container.toJSON()).toMatchObject({ ready: true, status: { name: 'Ready', code: 113 } });
    expect(container.notify).toEqual({
      ready: true,
      status: 'Up and running',
      fields: { READY: '1', STATUS: 'Up and running' },
    });
    expect(events.slice(-2)).toMatchObject([
      { type: 'notify', fields: { READY: '1', STATUS: 'Up and running' } },
      { type: 'ready', source: 'notify', action: 'instance-ready' },
    ]);
    expect(await waitForText(container, 'done')).toContain('socket /run/host/notify');
    await container.kill();
    expect(container.ready).toBe(false);
    expect(container.toJSON()).toMatchObject({ ready: false, status: { code: 102 } });
  });

  test('LIF-37: another process than PID 1 is not heard, nor is a message longer than 4096 bytes', async () => {
    const container = await rig.create({
      mode,
      ...notifier('child:READY=1', 'long:4097', 'long:20000', 'say:\\n\\n', 'say:STATUS=last', 'hang'),
    });
    const heard = follow(container);
    await container.start();
    await waitForText(container, 'done say:STATUS=last');
    await until(() => heard.length > 0, 'the last message');
    expect(heard).toEqual([{ STATUS: 'last' }]);
    expect(container.ready).toBe(false);
  });

  test('LIF-37: passed descriptors are closed at once, and what follows is heard', async () => {
    const container = await rig.create({
      mode,
      ...notifier('barrier:', 'barrier:', 'say:READY=1', 'long:4096', 'barrier:', 'hang'),
    });
    const heard = follow(container);
    await container.start();
    const text = await waitForText(container, /(barrier \w+[\s\S]*){3}/);
    expect(text.match(/barrier \w+/g)).toEqual(['barrier closed', 'barrier closed', 'barrier closed']);
    await until(() => container.ready, 'ready');
    expect(heard.map(fields => Object.keys(fields).join())).toEqual([
      'BARRIER',
      'BARRIER',
      'READY',
      'READY,STATUS',
      'BARRIER',
    ]);
  });
});

test('LIF-36, ENV-51: the socket is always there, but named only on request', async () => {
  const { lines } = await rig.run({ init: '/bin/notifier', args: ['say:READY=1'] });
  expect(lines).toEqual(['socket not named', 'done say:READY=1']);
});

test('LIF-37: the socket belongs to container root, and is on a read-only mount', async () => {
  const { lines } = await rig.run({
    script: 'stat -c "%F %a %u:%g" /run/host/notify; rm /run/host/notify 2>&1; echo x >/run/host/y',
  });
  expect(lines[0]).toBe('socket 600 0:0');
  expect(lines.slice(1).join()).toContain('Read-only file system');
});

test('LIF-38: all fields are streamed and kept, known or not', async () => {
  const container = await rig.create(
    notifier(
      'say:X_SYSTEMD_HOSTNAME=web\\nX_SYSTEMD_MACHINE_ID=0123456789abcdef0123456789abcdef',
      'say:X_SYSTEMD_SIGNALS_LEVEL=2',
      'say:X_SYSTEMD_UNIT_ACTIVE=basic.target',
      'say:X_SYSTEMD_UNIT_ACTIVE=multi-user.target',
      'say:RELOADING=1\\nMONOTONIC_USEC=17\\nWATCHDOG=1\\nERRNO=5\\nEXIT_STATUS=6\\nMAINPID=1',
      'hang',
    ),
  );
  const heard = follow(container);
  await container.start();
  await until(() => heard.length === 5, 'all messages');
  expect(heard[3]).toEqual({ X_SYSTEMD_UNIT_ACTIVE: 'multi-user.target' });
  expect(container.notify.fields).toEqual({
    X_SYSTEMD_HOSTNAME: 'web',
    X_SYSTEMD_MACHINE_ID: '0123456789abcdef0123456789abcdef',
    X_SYSTEMD_SIGNALS_LEVEL: '2',
    X_SYSTEMD_UNIT_ACTIVE: 'multi-user.target',
    RELOADING: '1',
    MONOTONIC_USEC: '17',
    WATCHDOG: '1',
    ERRNO: '5',
    EXIT_STATUS: '6',
  });
});

test('LIF-36: ready is false again when PID 1 stops, and in the next life until it says so', async () => {
  const container = await rig.create(notifier('say:READY=1', 'ms:200', 'say:STOPPING=1', 'hang'));
  await container.start({ waitReady: true });
  expect(container.ready).toBe(true);
  await until(() => !container.ready, 'STOPPING');
  await container.stop();
  expect(container.notify.fields).toMatchObject({ STOPPING: '1' });
  const started = container.start();
  await started;
  await until(() => container.ready, 'ready again');
  expect(container.notify.fields).toEqual({ READY: '1' });
});

test('LIF-19: how systemd said it would end is told with the exit', async () => {
  const container = await rig.create({
    init: '/bin/sh',
    args: ['-c', 'exec /bin/notifier say:X_SYSTEMD_SHUTDOWN=poweroff say:STATUS=bye'],
    ready: 'notify',
  });
  await container.start();
  expect(await finish(container)).toMatchObject({ exit: { kind: 'exit', status: 0, shutdown: 'poweroff' } });
});

describe('LIF-39: start({ waitReady })', () => {
  test('resolves when PID 1 is up', async () => {
    const container = await rig.create(notifier('ms:200', 'say:READY=1', 'hang'));
    const begun = performance.now();
    await container.start({ waitReady: true, timeout: 10_000 });
    expect(performance.now() - begun).toBeGreaterThan(190);
    expect(container.ready).toBe(true);
    expect(container.state).toBe('running');
  });

  test('is rejected after the timeout, and the container goes on', async () => {
    const container = await rig.create(notifier('ms:1000', 'say:READY=1', 'hang'));
    await expect(container.start({ waitReady: true, timeout: 200 })).rejects.toMatchObject({ code: 'TIMEOUT' });
    expect(container.state).toBe('running');
    await until(() => container.ready, 'ready after all');
  });

  test('is rejected when PID 1 ends before', async () => {
    const container = await rig.create({ init: '/bin/sh', args: ['-c', 'sleep 0.2; exit 3'], ready: 'notify' });
    await expect(container.start({ waitReady: true })).rejects.toMatchObject({
      code: 'PAYLOAD_FAILED',
      message: expect.stringContaining('exited with status 3'),
    });
  });

  test('is rejected when the container is stopped meanwhile', async () => {
    const container = await rig.create(notifier('hang'));
    const started = container.start({ waitReady: true });
    const rejected = expect(started).rejects.toMatchObject({ code: 'CANCELLED' });
    await until(() => container.state === 'running', 'running');
    await container.kill();
    await rejected;
  });

  test('is refused where nothing would report', async () => {
    const container = await rig.create({ init: '/bin/sleep', args: ['1000'] });
    await expect(container.start({ waitReady: true })).rejects.toMatchObject({ code: 'SPEC_INVALID', field: 'ready' });
    expect(container.state).toBe('stopped');
  });

  test('is rejected when the supervisor closes', async () => {
    const supervisor = await rig.open();
    const container = await rig.create({ supervisor, ...notifier('hang') });
    const started = container.start({ waitReady: true });
    const rejected = expect(started).rejects.toMatchObject({ code: 'CLOSED' });
    await until(() => container.state === 'running', 'running');
    const { stateDir } = supervisor;
    await rig.close(supervisor);
    await rejected;
    await rig.open({ stateDir });
  });
});

test('a flood of messages neither stops the event loop nor grows what is kept', async () => {
  const flood = Array.from({ length: 400 }, (_, index) => `say:KEY_${index}=${'x'.repeat(200)}`);
  const container = await rig.create({
    init: '/bin/notifier',
    args: [...flood, 'say:READY=1', 'hang'],
    ready: 'notify',
  });
  await container.start({ waitReady: true, timeout: 20_000 });
  expect(Object.keys(container.notify.fields).length).toBeLessThanOrEqual(64 + 14);
  expect(container.notify.fields.READY).toBe('1');
});
