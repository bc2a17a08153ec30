import { describe, expect, test } from 'vitest';
import { boom, EXIT_0, EXIT_KILLED, EXIT_REBOOT, type Rig, runningRig } from './rig.js';

const FREEZE = { type: 'FREEZE' } as const;
const UNFREEZE = { type: 'UNFREEZE' } as const;
const STOP = { type: 'STOP', timeoutMs: 1000 } as const;
const KILL = { type: 'KILL' } as const;
const REBOOT = { type: 'REBOOT', timeoutMs: 1000 } as const;

async function freezing(): Promise<Rig> {
  const rig = await runningRig();
  await rig.send(FREEZE);
  return rig;
}

async function frozen(): Promise<Rig> {
  const rig = await freezing();
  await rig.ok('freeze');
  expect(rig.value).toBe('frozen');
  return rig;
}

/** The moves after the start, with their reasons. */
const since = (rig: Rig) => rig.moves.slice(5).map(move => `${move.to}: ${move.reason}`);

describe('LIF-33: freeze and unfreeze', () => {
  test('go there and back, and PID 1 is watched all the while by one watch', async () => {
    const rig = await frozen();
    await rig.send({ ...UNFREEZE, initiator: 'host' });
    await rig.ok('thaw');
    expect(since(rig)).toEqual(['freezing: freeze', 'frozen: freeze', 'thawing: unfreeze', 'running: unfreeze']);
    expect(rig.moves.slice(5).map(move => move.initiator)).toEqual(['api', 'api', 'host', 'host']);
    expect(rig.port.log.filter(call => call === 'watchPid1')).toHaveLength(1);
    rig.check();
  });

  test('a failed freeze goes back to running', async () => {
    const rig = await freezing();
    const error = boom('frozen 0');
    await rig.fail('freeze', error);
    expect(rig.last).toMatchObject({ to: 'running', reason: 'freeze-failed' });
    expect(rig.last.error).toBe(error);
    expect(rig.context.error).toBe(error);
    // It can be tried again, and the old error is not told twice.
    await rig.send(FREEZE);
    expect(rig.last.error).toBeUndefined();
    rig.check();
  });

  test('a failed thaw goes back to frozen', async () => {
    const rig = await frozen();
    await rig.send(UNFREEZE);
    await rig.fail('thaw', boom('EIO'));
    expect(rig.last).toMatchObject({ to: 'frozen', reason: 'thaw-failed', error: { message: 'EIO' } });
    expect(rig.value).toBe('frozen');
    await rig.send(UNFREEZE);
    await rig.ok('thaw');
    expect(rig.last).toMatchObject({ to: 'running', reason: 'unfreeze' });
    expect(rig.last.error).toBeUndefined();
    rig.check();
  });
});

describe('LIF-30: stopping a frozen container', () => {
  test.each([
    ['STOP', STOP, 'signal:halt'],
    ['REBOOT', REBOOT, 'signal:reboot'],
  ] as const)('%s thaws first and gives init a moment before the signal', async (_, event, call) => {
    const rig = await frozen();
    await rig.send(event);
    expect(rig.value).toBe('thawing');
    await rig.ok('thaw');
    expect(rig.value).toBe('stopping.settling');
    const reason = event.type.toLowerCase();
    expect(since(rig).slice(2)).toEqual([`thawing: ${reason}`, `running: ${reason}`, `stopping: ${reason}`]);
    await rig.advance(2_999);
    expect(rig.port.log.at(-1)).toBe('thaw');
    await rig.advance(1);
    expect(rig.port.log.at(-1)).toBe(call);
    // The stop's own time begins with the signal.
    await rig.ok('signal');
    await rig.advance(999);
    expect(rig.value).toBe('stopping.asking.commanding');
    rig.check();
  });

  test.each([
    ['KILL', KILL],
    ['STOP with force', { ...STOP, force: true }],
  ] as const)('%s thaws first and kills without a moment', async (_, event) => {
    const rig = await frozen();
    await rig.send(event);
    await rig.ok('thaw');
    expect(rig.value).toBe('stopping.killing.sending');
    rig.check();
  });

  test('a request during freezing waits until the freeze has ended', async () => {
    const rig = await freezing();
    await rig.send(STOP);
    expect(rig.value).toBe('freezing');
    await rig.ok('freeze');
    expect(rig.value).toBe('thawing');
    await rig.ok('thaw');
    expect(since(rig)).toEqual([
      'freezing: freeze',
      'frozen: freeze',
      'thawing: stop',
      'running: stop',
      'stopping: stop',
    ]);
    rig.check();
  });

  test('or failed', async () => {
    const rig = await freezing();
    await rig.send(KILL);
    await rig.fail('freeze');
    expect(since(rig)).toEqual(['freezing: freeze', 'running: freeze-failed', 'stopping: kill']);
    // The error belongs to the freeze alone.
    expect(rig.last.error).toBeUndefined();
    rig.check();
  });

  test('a stop while thawing takes over, a kill after it hurries', async () => {
    const rig = await frozen();
    await rig.send(UNFREEZE);
    await rig.send(STOP);
    await rig.send(KILL);
    await rig.ok('thaw');
    expect(rig.value).toBe('stopping.killing.sending');
    expect(rig.last).toMatchObject({ reason: 'kill' });
    rig.check();
  });

  test('in the moment after the thaw: a kill kills, a stop turns a reboot, an end ends it', async () => {
    const one = await frozen();
    await one.send(STOP);
    await one.ok('thaw');
    await one.send(KILL);
    expect(one.value).toBe('stopping.killing.sending');
    one.check();

    const two = await frozen();
    await two.send(REBOOT);
    await two.ok('thaw');
    await two.send(STOP);
    expect(two.value).toBe('stopping.settling');
    await two.advance(3000);
    expect(two.port.log.at(-1)).toBe('signal:halt');
    two.check();

    const three = await frozen();
    await three.send(STOP);
    await three.ok('thaw');
    await three.exit(EXIT_0);
    expect(three.value).toBe('stopping.cleaning');
    await three.advance(3000);
    expect(three.port.log.at(-1)).toBe('teardown:exit:stop');
    three.check();
  });

  test.each([
    ['STOP', STOP],
    ['REBOOT', REBOOT],
  ] as const)('%s: a failed thaw goes back to frozen, drops the request and says so', async (_, event) => {
    const rig = await frozen();
    await rig.send(event);
    await rig.fail('thaw');
    expect(rig.value).toBe('frozen');
    expect(rig.last).toMatchObject({ reason: 'thaw-failed', error: { message: 'boom' } });
    expect(rig.context.intent).toBeUndefined();
    // Nothing haunts the next thaw.
    await rig.send(UNFREEZE);
    await rig.ok('thaw');
    expect(rig.value).toBe('running');
    rig.check();
  });

  test('KILL works even where the thaw fails: SIGKILL reaches what is frozen', async () => {
    const rig = await frozen();
    await rig.send(KILL);
    await rig.fail('thaw');
    expect(since(rig).slice(2)).toEqual(['thawing: kill', 'running: thaw-failed', 'stopping: kill']);
    await rig.ok('killAll');
    await rig.exit(EXIT_KILLED);
    await rig.ok('teardown');
    expect(rig.value).toBe('stopped');
    rig.check();
  });
});

describe('PID 1 gone while frozen', () => {
  test.each([
    ['freezing, which ends well', 'freezing', ['frozen: freeze', 'thawing: exit', 'running: exit', 'stopping: exit']],
    ['frozen', 'frozen', ['frozen: freeze', 'thawing: exit', 'running: exit', 'stopping: exit']],
    ['thawing', 'thawing', ['frozen: freeze', 'thawing: unfreeze', 'running: exit', 'stopping: exit']],
  ] as const)('%s: cleaned up through running', async (_, when, moves) => {
    const rig = await freezing();
    if (when !== 'freezing') await rig.ok('freeze');
    if (when === 'thawing') await rig.send(UNFREEZE);
    await rig.exit(EXIT_KILLED);
    if (when === 'freezing') await rig.ok('freeze');
    await rig.ok('thaw');
    expect(since(rig).slice(1)).toEqual(moves);
    expect(rig.last.initiator).toBe('guest');
    await rig.ok('teardown');
    expect(rig.value).toBe('stopped');
    rig.check();
  });

  test('freezing, which fails', async () => {
    const rig = await freezing();
    await rig.exit(EXIT_0);
    await rig.fail('freeze');
    expect(since(rig)).toEqual(['freezing: freeze', 'running: freeze-failed', 'stopping: exit']);
    expect(rig.value).toBe('stopping.cleaning');
    rig.check();
  });

  test('a thaw that fails does not go round in circles', async () => {
    const rig = await frozen();
    await rig.exit(EXIT_0);
    await rig.fail('thaw');
    expect(since(rig).slice(2)).toEqual(['thawing: exit', 'running: thaw-failed', 'stopping: exit']);
    expect(rig.port.log.filter(call => call === 'thaw')).toHaveLength(1);
    rig.check();
  });

  test('by reboot: rebooted from running', async () => {
    const rig = await frozen();
    await rig.exit(EXIT_REBOOT);
    await rig.ok('thaw');
    expect(since(rig).slice(2)).toEqual(['thawing: exit', 'running: exit', 'rebooting: reboot']);
    await rig.ok('teardown');
    expect(rig.value).toBe('creating');
    expect(rig.last.initiator).toBe('guest');
    rig.check();
  });

  test('by reboot, with a stop on top: not started again', async () => {
    const rig = await frozen();
    await rig.exit(EXIT_REBOOT);
    await rig.send(STOP);
    await rig.ok('thaw');
    expect(rig.value).toBe('rebooting');
    await rig.ok('teardown');
    expect(rig.last).toMatchObject({ to: 'stopped', reason: 'stop' });
    rig.check();
  });
});
