import { describe, expect, test } from 'vitest';
import { CaissonError } from '#src/spec/errors.js';
import { boom, EXIT_0, EXIT_3, EXIT_HALT, EXIT_KILLED, EXIT_REBOOT, EXIT_SEGV, type Rig, runningRig } from './rig.js';

const STOP = { type: 'STOP', timeoutMs: 1000 } as const;
const KILL = { type: 'KILL' } as const;

async function signalled(): Promise<Rig> {
  const rig = await runningRig();
  await rig.send(STOP);
  await rig.ok('signal');
  expect(rig.value).toBe('stopping.asking.waiting');
  return rig;
}

/** The calls after the start. */
const calls = (rig: Rig) => rig.port.log.slice(rig.port.log.indexOf('watchPid1') + 1);

describe('LIF-28: stop', () => {
  test('asks, waits, and cleans up when PID 1 has ended', async () => {
    const rig = await signalled();
    await rig.exit(EXIT_HALT);
    expect(rig.value).toBe('stopping.cleaning');
    await rig.ok('teardown');
    expect(calls(rig)).toEqual(['signal:halt', 'teardown:halt:stop']);
    expect(rig.moves.slice(-2)).toEqual([
      { type: 'moved', from: 'running', to: 'stopping', reason: 'stop', initiator: 'api' },
      {
        type: 'moved',
        from: 'stopping',
        to: 'stopped',
        reason: 'stop',
        initiator: 'api',
        exit: EXIT_HALT,
        stopAsked: true,
      },
    ]);
    expect(rig.context.forced).toBe(false);
    rig.check();
  });

  test('kills when the time is over, not before', async () => {
    const rig = await signalled();
    await rig.advance(999);
    expect(rig.value).toBe('stopping.asking.commanding');
    await rig.advance(1);
    expect(rig.value).toBe('stopping.killing.sending');
    await rig.ok('killAll');
    await rig.exit(EXIT_KILLED);
    await rig.ok('teardown');
    expect(rig.last).toMatchObject({ to: 'stopped', reason: 'stop', exit: EXIT_KILLED });
    expect(rig.context.forced).toBe(true);
    rig.check();
  });

  test('the time-out counts from the request: a signal that cannot be sent for now is not waited for beyond it', async () => {
    const rig = await runningRig();
    await rig.send(STOP);
    const [call] = rig.port.pending;
    await rig.advance(600);
    expect(rig.value).toBe('stopping.asking.signalling');
    await rig.advance(400);
    expect(rig.value).toBe('stopping.killing.sending');
    expect(call?.abort.aborted).toBe(true);
    // A late success of the abandoned call changes nothing.
    call?.resolve({ sent: true, signal: 'SIGPWR' });
    await rig.advance(0);
    expect(rig.value).toBe('stopping.killing.sending');
    rig.check();
  });

  test.each([
    ['timeoutMs 0', { type: 'STOP', timeoutMs: 0 }, 'stop'],
    ['a negative timeoutMs', { type: 'STOP', timeoutMs: -5 }, 'stop'],
    ['force', { type: 'STOP', timeoutMs: 60_000, force: true }, 'stop'],
    ['KILL', KILL, 'kill'],
  ] as const)('%s kills at once, without a signal', async (_, event, reason) => {
    const rig = await runningRig();
    await rig.send(event);
    expect(calls(rig)).toEqual(['killAll']);
    await rig.ok('killAll');
    await rig.exit(EXIT_KILLED);
    await rig.ok('teardown');
    expect(rig.last).toMatchObject({ to: 'stopped', reason });
    expect(rig.context.forced).toBe(true);
    rig.check();
  });

  test('a time-out longer than a timer of Node can be is long, not none', async () => {
    const rig = await runningRig();
    await rig.send({ type: 'STOP', timeoutMs: Number.POSITIVE_INFINITY });
    await rig.ok('signal');
    await rig.advance(60_000);
    await rig.ok('command');
    await rig.advance(2 ** 31 - 2 - 60_000);
    expect(rig.value).toBe('stopping.asking.patient');
    await rig.advance(1);
    expect(rig.value).toBe('stopping.killing.sending');
  });

  test('LIF-49: a futile signal is not waited for', async () => {
    const rig = await runningRig();
    await rig.send(STOP);
    await rig.ok('signal', { sent: false, signal: 'SIGPWR' });
    expect(rig.value).toBe('stopping.killing.sending');
    expect(rig.timeouts).toEqual([]);
    rig.check();
  });

  test('a signal that fails to be sent is not waited for either', async () => {
    const rig = await runningRig();
    await rig.send(STOP);
    await rig.fail('signal');
    expect(rig.value).toBe('stopping.killing.sending');
    rig.check();
  });

  test('LIF-48: where no signal does it, the command is run at once, and named as what ended it', async () => {
    const rig = await runningRig();
    await rig.send(STOP);
    await rig.ok('signal', { sent: false, signal: 'SIGPWR', command: true });
    expect(rig.value).toBe('stopping.asking.commanding');
    await rig.ok('command', { ran: true });
    expect(rig.value).toBe('stopping.asking.patient');
    await rig.exit(EXIT_HALT);
    await rig.ok('teardown');
    expect(calls(rig)).toEqual(['signal:halt', 'command:halt', 'teardown:halt:stop']);
    expect(rig.context).toMatchObject({ forced: false, asked: 'command' });
    rig.check();
  });

  test('LIF-48: PID 1 may end before the command does', async () => {
    const rig = await runningRig();
    await rig.send(STOP);
    await rig.ok('signal', { sent: false, signal: 'SIGPWR', command: true });
    const [call] = rig.port.pending;
    await rig.exit(EXIT_HALT);
    expect(call?.abort.aborted).toBe(true);
    await rig.ok('teardown');
    expect(rig.context).toMatchObject({ forced: false, asked: 'command' });
    rig.check();
  });

  test('LIF-48: a signal that is handled but does nothing: the command at half of the time, or after a minute', async () => {
    const rig = await signalled();
    await rig.advance(499);
    expect(rig.value).toBe('stopping.asking.waiting');
    await rig.advance(1);
    expect(rig.value).toBe('stopping.asking.commanding');
    const long = await runningRig();
    await long.send({ type: 'STOP', timeoutMs: 600_000 });
    await long.ok('signal');
    await long.advance(59_999);
    expect(long.value).toBe('stopping.asking.waiting');
    await long.advance(1);
    expect(long.value).toBe('stopping.asking.commanding');
    rig.check();
  });

  test('LIF-48: without a command a signal that was handled is waited for, and named', async () => {
    const rig = await signalled();
    await rig.advance(500);
    await rig.ok('command', { ran: false });
    expect(rig.value).toBe('stopping.asking.patient');
    await rig.exit(EXIT_HALT);
    await rig.ok('teardown');
    expect(rig.context).toMatchObject({ forced: false, asked: 'signal' });
    const failing = await signalled();
    await failing.advance(500);
    await failing.fail('command');
    expect(failing.value).toBe('stopping.asking.patient');
    rig.check();
  });

  test.each([['is none'], ['cannot be run']])(
    'LIF-48: force is next where PID 1 handles no signal and there %s',
    async why => {
      const rig = await runningRig();
      await rig.send(STOP);
      await rig.ok('signal', { sent: false, signal: 'SIGPWR', command: true });
      if (why === 'is none') await rig.ok('command', { ran: false });
      else await rig.fail('command');
      expect(rig.value).toBe('stopping.killing.sending');
      rig.check();
    },
  );

  test('LIF-48: the time-out covers the command', async () => {
    const rig = await runningRig();
    await rig.send(STOP);
    await rig.ok('signal', { sent: false, signal: 'SIGPWR', command: true });
    await rig.advance(1000);
    expect(rig.value).toBe('stopping.killing.sending');
    rig.check();
  });

  test('PID 1 may end before the signal has been sent', async () => {
    const rig = await runningRig();
    await rig.send(STOP);
    const [call] = rig.port.pending;
    await rig.exit(EXIT_0);
    expect(call?.abort.aborted).toBe(true);
    expect(rig.value).toBe('stopping.cleaning');
    await rig.ok('teardown');
    expect(rig.value).toBe('stopped');
    rig.check();
  });
});

describe('escalation', () => {
  test.each([
    ['KILL', KILL],
    ['STOP with force', { type: 'STOP', timeoutMs: 5000, force: true }],
    ['STOP with no time', { type: 'STOP', timeoutMs: 0 }],
  ] as const)('%s during a stop kills at once', async (_, event) => {
    const rig = await signalled();
    await rig.send(event);
    expect(rig.value).toBe('stopping.killing.sending');
    // The old deadline is gone with the state it belonged to.
    await rig.advance(1000);
    expect(calls(rig)).toEqual(['signal:halt', 'killAll']);
    rig.check();
  });

  test('a second plain stop has nothing to add, and moves no deadline', async () => {
    const rig = await signalled();
    await rig.advance(900);
    expect(rig.can({ type: 'STOP', timeoutMs: 10_000 })).toBe(false);
    rig.deliver({ type: 'STOP', timeoutMs: 10_000 });
    await rig.advance(100);
    expect(rig.value).toBe('stopping.killing.sending');
  });

  test('a reboot cannot overrule a stop', async () => {
    const rig = await signalled();
    expect(rig.can({ type: 'REBOOT', timeoutMs: 0, force: true })).toBe(false);
  });
});

describe('LIF-29: killing', () => {
  async function killed(): Promise<Rig> {
    const rig = await runningRig();
    await rig.send(KILL);
    return rig;
  }

  test('the teardown waits until killAll has settled, though PID 1 is gone', async () => {
    const rig = await killed();
    await rig.exit(EXIT_KILLED);
    expect(rig.value).toBe('stopping.killing.sending');
    await rig.ok('killAll');
    expect(rig.value).toBe('stopping.cleaning');
    rig.check();
  });

  test('PID 1 has 10 s to be reaped, then the container is failed and nothing is cleaned up under it', async () => {
    const rig = await killed();
    await rig.ok('killAll');
    await rig.advance(9_999);
    expect(rig.value).toBe('stopping.killing.reaping');
    await rig.advance(1);
    expect(rig.last).toMatchObject({ to: 'failed', reason: 'unkillable', error: { code: 'UNKILLABLE' } });
    expect(calls(rig)).toEqual(['killAll']);
    rig.check();
  });

  test('the 10 s are not the stop time-out', async () => {
    const rig = await signalled();
    await rig.advance(1000);
    await rig.ok('killAll');
    await rig.advance(5_000);
    await rig.exit(EXIT_KILLED);
    await rig.ok('teardown');
    expect(rig.value).toBe('stopped');
  });

  test('a killAll that has itself waited in vain is believed', async () => {
    const rig = await killed();
    const error = new CaissonError('UNKILLABLE', 'pids 7 and 8 do not end');
    await rig.fail('killAll', error);
    expect(rig.last).toMatchObject({ to: 'failed', reason: 'unkillable' });
    expect(rig.last.error).toBe(error);
  });

  test('unless PID 1 has ended meanwhile: then the teardown deals with the rest', async () => {
    const rig = await killed();
    await rig.exit(EXIT_KILLED);
    await rig.fail('killAll', new CaissonError('UNKILLABLE', 'pid 8 does not end'));
    expect(rig.value).toBe('stopping.cleaning');
    await rig.ok('teardown');
    expect(rig.last).toMatchObject({ to: 'stopped' });
    expect(rig.last.error).toBeUndefined();
  });

  test('any other failure of killAll leaves PID 1 its 10 s, and is the cause when they are over', async () => {
    const rig = await killed();
    const cause = boom('cgroup.kill: EIO');
    await rig.fail('killAll', cause);
    expect(rig.value).toBe('stopping.killing.reaping');
    await rig.advance(10_000);
    expect(rig.last).toMatchObject({ to: 'failed', error: { code: 'UNKILLABLE', cause } });
    rig.check();
  });
});

describe('how it ended decides', () => {
  test.each([
    ['exit 0', EXIT_0, 'stopped'],
    ['exit 3', EXIT_3, 'failed'],
    ['halt', EXIT_HALT, 'stopped'],
    ['SIGSEGV', EXIT_SEGV, 'failed'],
  ] as const)('LIF-32: %s by itself: %s, initiator guest', async (_, exit, state) => {
    const rig = await runningRig();
    await rig.exit(exit);
    expect(rig.last).toEqual({
      type: 'moved',
      from: 'running',
      to: 'stopping',
      reason: 'exit',
      initiator: 'guest',
      exit,
    });
    await rig.ok('teardown');
    expect(rig.last).toEqual({ type: 'moved', from: 'stopping', to: state, reason: 'exit', initiator: 'guest', exit });
    rig.check();
  });

  test.each([
    ['exit 3 is excused', EXIT_3, 'stopped', 'stop'],
    ['a crash is not', EXIT_SEGV, 'failed', 'exit'],
  ] as const)('after a stop request %s', async (_, exit, state, reason) => {
    const rig = await signalled();
    await rig.exit(exit);
    await rig.ok('teardown');
    expect(rig.last).toMatchObject({ to: state, reason, initiator: 'api' });
  });

  test('a stop that comes after the end does not make it its own', async () => {
    const rig = await runningRig();
    await rig.exit(EXIT_3);
    expect(rig.can(STOP)).toBe(false);
    expect(rig.can(KILL)).toBe(false);
    await rig.ok('teardown');
    expect(rig.last).toMatchObject({ to: 'failed', initiator: 'guest' });
  });

  test.each([
    ['lists the error it got', boom('rmdir: EBUSY'), [{ code: 'STEP_FAILED', message: 'rmdir: EBUSY' }]],
    [
      'lists the errors that one carries',
      new CaissonError('STEP_FAILED', 'two', { cleanupErrors: [{ code: 'INTERNAL', message: 'one' }] }),
      [{ code: 'INTERNAL', message: 'one' }],
    ],
  ])('a failed cleanup makes a clean end failed: CLEANUP_FAILED %s', async (_, error, cleanupErrors) => {
    const rig = await signalled();
    await rig.exit(EXIT_HALT);
    await rig.fail('teardown', error);
    expect(rig.last).toMatchObject({
      to: 'failed',
      reason: 'cleanup-failed',
      exit: EXIT_HALT,
      error: { code: 'CLEANUP_FAILED', cleanupErrors, cause: error },
    });
    rig.check();
  });

  test('a CLEANUP_FAILED is passed on as it is', async () => {
    const rig = await signalled();
    await rig.exit(EXIT_HALT);
    const error = new CaissonError('CLEANUP_FAILED', 'all of it');
    await rig.fail('teardown', error);
    expect(rig.last.error).toBe(error);
  });

  test('a reboot of the guest in the middle of a stop ends stopped', async () => {
    const rig = await signalled();
    await rig.exit(EXIT_REBOOT);
    expect(rig.last).toMatchObject({ from: 'stopping', to: 'rebooting', reason: 'reboot', initiator: 'api' });
    expect(calls(rig).at(-1)).toBe('teardown:reboot:stop');
    await rig.ok('teardown');
    expect(rig.last).toMatchObject({ from: 'rebooting', to: 'stopped', reason: 'stop' });
    expect(rig.last.restartWanted).toBeUndefined();
    rig.check();
  });

  test('and so it does when it is already being killed', async () => {
    const rig = await runningRig();
    await rig.send(KILL);
    await rig.exit(EXIT_REBOOT);
    await rig.ok('killAll');
    expect(rig.value).toBe('rebooting');
    await rig.ok('teardown');
    expect(rig.last).toMatchObject({ to: 'stopped', reason: 'kill' });
    rig.check();
  });

  test('no trace of a life is left in the next', async () => {
    const rig = await signalled();
    await rig.advance(1000);
    await rig.ok('killAll');
    await rig.exit(EXIT_KILLED);
    await rig.ok('teardown');
    await rig.start();
    expect(rig.context).toMatchObject({
      exit: undefined,
      error: undefined,
      intent: undefined,
      forced: false,
      force: false,
    });
    expect(rig.last.exit).toBeUndefined();
    await rig.exit(EXIT_HALT);
    expect(rig.last).toMatchObject({ initiator: 'guest', exit: EXIT_HALT });
  });
});
