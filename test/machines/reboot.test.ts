import { describe, expect, test } from 'vitest';
import { boom, EXIT_0, EXIT_3, EXIT_HALT, EXIT_KILLED, EXIT_REBOOT, EXIT_SEGV, type Rig, runningRig } from './rig.js';

const REBOOT = { type: 'REBOOT', timeoutMs: 1000 } as const;
const FORCED = { ...REBOOT, force: true } as const;
const STOP = { type: 'STOP', timeoutMs: 1000 } as const;

async function rebootSent(event: typeof REBOOT | typeof FORCED = REBOOT): Promise<Rig> {
  const rig = await runningRig();
  await rig.send(event);
  await rig.ok('signal');
  return rig;
}

describe('LIF-41: a guest reboot', () => {
  test('tears down and starts again through every stage', async () => {
    const rig = await runningRig();
    const started = rig.moves.length;
    await rig.exit(EXIT_REBOOT);
    expect(rig.port.log.at(-1)).toBe('teardown:reboot:reboot');
    await rig.ok('teardown');
    expect(rig.context).toMatchObject({ restartCount: 1, exit: undefined });
    for (let phase = 0; phase < 5; phase += 1) await rig.ok('runPhase');
    expect(rig.moves.slice(started).map(move => move.to)).toEqual([
      'rebooting',
      'creating',
      'mounting',
      'devices',
      'network',
      'running',
    ]);
    // The guest stays the cause of it all.
    expect(new Set(rig.moves.slice(started).map(move => move.initiator))).toEqual(new Set(['guest']));
    expect(rig.moves.slice(started, started + 2).map(move => move.reason)).toEqual(['reboot', 'reboot']);
    rig.check();
  });

  test('counts every time', async () => {
    const rig = await runningRig();
    for (let times = 1; times <= 3; times += 1) {
      await rig.exit(EXIT_REBOOT);
      await rig.ok('teardown');
      for (let phase = 0; phase < 5; phase += 1) await rig.ok('runPhase');
      expect(rig.context.restartCount).toBe(times);
    }
    rig.check();
  });

  test('that fails to start again is failed, and can be cancelled like any start', async () => {
    const rig = await runningRig();
    await rig.exit(EXIT_REBOOT);
    await rig.ok('teardown');
    await rig.send(STOP);
    expect(rig.port.log.at(-1)).toBe('cancelStart');
    await rig.fail('runPhase');
    expect(rig.last).toMatchObject({ from: 'creating', to: 'failed', reason: 'cancelled', initiator: 'api' });
    rig.check();
  });

  test.each([
    ['STOP', STOP, 'stop'],
    ['KILL', { type: 'KILL' }, 'kill'],
  ] as const)('%s during the teardown: stopped, and not started again', async (_, event, reason) => {
    const rig = await runningRig();
    await rig.exit(EXIT_REBOOT);
    await rig.send(event);
    await rig.ok('teardown');
    // What the first has kept for the next life is removed now.
    expect(rig.last).toMatchObject({ to: 'rebooting' });
    expect(rig.port.log.at(-1)).toBe('teardown:reboot:stop');
    await rig.ok('teardown');
    expect(rig.last).toMatchObject({ from: 'rebooting', to: 'stopped', reason, initiator: 'api' });
    expect(rig.context.restartCount).toBe(0);
    rig.check();
  });

  test('LIF-10: a failed teardown turns it into a stop, with the error on record', async () => {
    const rig = await runningRig();
    await rig.exit(EXIT_REBOOT);
    await rig.fail('teardown', boom('post-stop hook'));
    expect(rig.last).toMatchObject({
      from: 'rebooting',
      to: 'stopped',
      reason: 'cleanup-failed',
      initiator: 'guest',
      error: { code: 'CLEANUP_FAILED', cleanupErrors: [{ message: 'post-stop hook' }] },
    });
    expect(rig.context.error?.code).toBe('CLEANUP_FAILED');
    expect(rig.context.restartWanted).toBe(false);
    rig.check();
  });
});

describe('LIF-31: reboot()', () => {
  test('sends the reboot signal, and the SIGHUP end starts the container again', async () => {
    const rig = await rebootSent();
    await rig.exit(EXIT_REBOOT);
    await rig.ok('teardown');
    expect(rig.path).toBe('stopped>creating>mounting>devices>network>running>stopping>rebooting>creating');
    expect(rig.port.log).toContain('signal:reboot');
    expect(rig.moves.slice(-3).map(move => [move.reason, move.initiator])).toEqual([
      ['reboot', 'api'],
      ['reboot', 'api'],
      ['reboot', 'api'],
    ]);
    // The request is done with: the new start is nobody's to reboot or stop.
    expect(rig.context).toMatchObject({ intent: undefined, restartCount: 1 });
    rig.check();
  });

  test.each([
    ['exit 0, as s6-svscan does', EXIT_0],
    ['a code, as an init does that dies of SIGINT', EXIT_3],
    ['a halt', EXIT_HALT],
  ] as const)('an init that ends by %s instead is stopped, with a start wanted', async (_, exit) => {
    const rig = await rebootSent();
    await rig.exit(exit);
    expect(rig.port.log.at(-1)).toBe(`teardown:${exit.kind}:reboot`);
    await rig.ok('teardown');
    expect(rig.last).toMatchObject({ to: 'stopped', reason: 'reboot', restartWanted: true });
    expect(rig.context.restartWanted).toBe(true);
    await rig.send({ type: 'START' });
    expect(rig.context).toMatchObject({ restartWanted: false, restartCount: 1 });
    expect(rig.last.restartWanted).toBeUndefined();
    rig.check();
  });

  test('an init that crashes instead has failed, reboot or not', async () => {
    const rig = await rebootSent();
    await rig.exit(EXIT_SEGV);
    await rig.ok('teardown');
    expect(rig.last).toMatchObject({ to: 'failed', reason: 'exit' });
    expect(rig.context.restartWanted).toBe(false);
  });

  test('a cleanup that fails leaves nothing to start on', async () => {
    const rig = await rebootSent();
    await rig.exit(EXIT_0);
    await rig.fail('teardown');
    expect(rig.last).toMatchObject({ to: 'failed', reason: 'cleanup-failed' });
    expect(rig.context.restartWanted).toBe(false);
  });

  test('without force it times out: the caller is told once, the container is left alone', async () => {
    const rig = await rebootSent();
    await rig.advance(1000);
    expect(rig.timeouts).toMatchObject([{ type: 'timeout', operation: 'reboot', error: { code: 'TIMEOUT' } }]);
    expect(rig.timeouts[0]?.error.message).toContain('1000 ms');
    await rig.advance(1_000_000);
    expect(rig.timeouts).toHaveLength(1);
    expect(rig.value).toBe('stopping.expired');
    expect(rig.port.log).not.toContain('killAll');
    rig.check();
  });

  test('with no time and no force it still asks, and never kills', async () => {
    const rig = await runningRig();
    await rig.send({ type: 'REBOOT', timeoutMs: 0 });
    expect(rig.port.log.at(-1)).toBe('signal:reboot');
    await rig.advance(1);
    expect(rig.value).toBe('stopping.expired');
    rig.check();
  });

  test('a late SIGHUP end still reboots', async () => {
    const rig = await rebootSent();
    await rig.advance(1000);
    await rig.exit(EXIT_REBOOT);
    await rig.ok('teardown');
    expect(rig.last).toMatchObject({ from: 'rebooting', to: 'creating', initiator: 'api' });
    rig.check();
  });

  test.each([
    ['exit 0', EXIT_0, 'stopped'],
    ['exit 3', EXIT_3, 'failed'],
  ] as const)('a late %s is no longer an answer to the reboot: %s, and no start wanted', async (_, exit, state) => {
    const rig = await rebootSent();
    await rig.advance(1000);
    await rig.exit(exit);
    await rig.ok('teardown');
    expect(rig.last).toMatchObject({ to: state, reason: 'exit' });
    expect(rig.context.restartWanted).toBe(false);
  });

  test.each([
    ['STOP asks anew, to halt', STOP, 'stopping.asking.signalling', 'signal:halt'],
    ['KILL kills', { type: 'KILL' }, 'stopping.killing.sending', 'killAll'],
    ['another REBOOT asks anew', REBOOT, 'stopping.asking.signalling', 'signal:reboot'],
    ['a REBOOT by force kills', { type: 'REBOOT', timeoutMs: 0, force: true }, 'stopping.killing.sending', 'killAll'],
  ] as const)('after the time-out %s', async (_, event, value, call) => {
    const rig = await rebootSent();
    await rig.advance(1000);
    await rig.send(event);
    expect(rig.value).toBe(value);
    expect(rig.port.log.at(-1)).toBe(call);
    rig.check();
  });

  test.each([
    ['a futile signal', (rig: Rig) => rig.ok('signal', { sent: false, signal: 'SIGINT' }), 'SIGINT'],
    ['a signal that fails', (rig: Rig) => rig.fail('signal', boom('pidfd: EPERM')), 'EPERM'],
  ])('%s is a time-out at once, and what ends PID 1 then is its own doing', async (_, settle, text) => {
    const rig = await runningRig();
    await rig.send(REBOOT);
    await settle(rig);
    expect(rig.value).toBe('stopping.expired');
    expect(rig.timeouts).toMatchObject([{ error: { code: 'TIMEOUT' } }]);
    expect(rig.timeouts[0]?.error.message).toContain(text);
    await rig.advance(1000);
    expect(rig.timeouts).toHaveLength(1);
    await rig.exit(EXIT_REBOOT);
    expect(rig.last).toMatchObject({ to: 'rebooting', initiator: 'guest' });
    rig.check();
  });
});

describe('LIF-31: reboot({force})', () => {
  test('waits like any other, then kills, and wants a start', async () => {
    const rig = await rebootSent(FORCED);
    await rig.advance(999);
    expect(rig.value).toBe('stopping.asking.commanding');
    await rig.advance(1);
    await rig.ok('killAll');
    await rig.exit(EXIT_KILLED);
    await rig.ok('teardown');
    expect(rig.timeouts).toEqual([]);
    expect(rig.last).toMatchObject({ to: 'stopped', reason: 'reboot', restartWanted: true });
    expect(rig.context).toMatchObject({ forced: true, restartWanted: true });
    rig.check();
  });

  test.each([
    ['a futile signal', (rig: Rig) => rig.ok('signal', { sent: false, signal: 'SIGINT' })],
    ['a signal that fails', (rig: Rig) => rig.fail('signal')],
  ])('%s: kills at once', async (_, settle) => {
    const rig = await runningRig();
    await rig.send(FORCED);
    await settle(rig);
    expect(rig.value).toBe('stopping.killing.sending');
    expect(rig.timeouts).toEqual([]);
  });

  test('a guest that reboots just then needs no other start', async () => {
    const rig = await rebootSent(FORCED);
    await rig.advance(1000);
    await rig.ok('killAll');
    await rig.exit(EXIT_REBOOT);
    await rig.ok('teardown');
    expect(rig.last).toMatchObject({ from: 'rebooting', to: 'creating' });
    expect(rig.context).toMatchObject({ restartWanted: false, restartCount: 1, forced: false });
    rig.check();
  });

  test.each([
    ['while asking', async (_: Rig) => {}, 'signal:halt'],
    ['while killing', async (rig: Rig) => await rig.advance(1000), 'killAll'],
  ])('a stop %s prevents the start', async (_, goOn, call) => {
    const rig = await rebootSent(FORCED);
    await goOn(rig);
    await rig.send(STOP);
    expect(rig.port.log.at(-1)).toBe(call);
    if (call === 'killAll') await rig.ok('killAll');
    else await rig.ok('signal');
    await rig.exit(call === 'killAll' ? EXIT_KILLED : EXIT_HALT);
    await rig.ok('teardown');
    expect(rig.last).toMatchObject({ to: 'stopped', reason: 'stop' });
    expect(rig.last.restartWanted).toBeUndefined();
    rig.check();
  });

  test('a stop while cleaning up prevents it too', async () => {
    const rig = await rebootSent();
    await rig.exit(EXIT_0);
    await rig.send(STOP);
    await rig.ok('teardown');
    expect(rig.port.log.at(-1)).toBe('teardown:exit:stop');
    await rig.ok('teardown');
    expect(rig.last).toMatchObject({ to: 'stopped', reason: 'stop' });
    expect(rig.context.restartWanted).toBe(false);
    rig.check();
  });
});

describe('a stop during a reboot', () => {
  test('sends the halt signal and has its own time', async () => {
    const rig = await rebootSent();
    await rig.advance(900);
    await rig.send(STOP);
    expect(rig.value).toBe('stopping.asking.signalling');
    expect(rig.port.log.at(-1)).toBe('signal:halt');
    await rig.ok('signal');
    await rig.advance(999);
    expect(rig.value).toBe('stopping.asking.commanding');
    await rig.advance(1);
    expect(rig.value).toBe('stopping.killing.sending');
    expect(rig.timeouts).toEqual([]);
    rig.check();
  });

  test('drops a reboot signal still on its way', async () => {
    const rig = await runningRig();
    await rig.send(REBOOT);
    const [call] = rig.port.pending;
    await rig.send(STOP);
    expect(call?.abort.aborted).toBe(true);
    call?.resolve({ sent: false, signal: 'SIGINT' });
    await rig.advance(0);
    expect(rig.value).toBe('stopping.asking.signalling');
    expect(rig.timeouts).toEqual([]);
    rig.check();
  });
});
