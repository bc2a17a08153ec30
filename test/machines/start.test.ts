import { describe, expect, test } from 'vitest';
import { CaissonError } from '#src/spec/errors.js';
import { boom, cancelledError, EXIT_0, EXIT_HALT, EXIT_KILLED, Rig, runningRig } from './rig.js';

const STOP = { type: 'STOP', timeoutMs: 1000 } as const;

describe('start', () => {
  test('runs the five phases in order, one at a time, and is running only when exec has succeeded (LIF-36)', async () => {
    const rig = new Rig();
    await rig.start(4);
    expect(rig.path).toBe('stopped>creating>mounting>devices>network');
    expect(rig.port.log).toEqual([
      'runPhase:creating',
      'runPhase:mounting',
      'runPhase:devices',
      'runPhase:network',
      'runPhase:running',
    ]);
    await rig.ok('runPhase');
    expect(rig.path).toBe('stopped>creating>mounting>devices>network>running');
    expect(rig.port.log.at(-1)).toBe('watchPid1');
    rig.check();
  });

  test('the actor emits nothing before anything moves', () => {
    expect(new Rig().moves).toEqual([]);
  });

  test('says who asked, on every move of the start', async () => {
    const rig = new Rig();
    await rig.send({ type: 'START', initiator: 'host' });
    for (let phase = 0; phase < 5; phase += 1) await rig.ok('runPhase');
    expect(rig.moves.map(move => [move.reason, move.initiator])).toEqual([
      ['start', 'host'],
      ['phase-done', 'host'],
      ['phase-done', 'host'],
      ['phase-done', 'host'],
      ['phase-done', 'host'],
    ]);
  });

  test.each([0, 1, 2, 3, 4])('an error after %i phases leads to failed, with the error on the move', async phases => {
    const rig = new Rig();
    await rig.start(phases);
    const error = boom('mount: ENOENT');
    await rig.fail('runPhase', error);
    expect(rig.last).toMatchObject({ to: 'failed', reason: 'phase-failed', initiator: 'api' });
    expect(rig.last.error).toBe(error);
    expect(rig.context.error).toBe(error);
    expect(rig.port.log).not.toContain('watchPid1');
    rig.check();
  });

  test('an error of no known kind is wrapped, not passed on', async () => {
    const rig = new Rig();
    await rig.start(1);
    await rig.fail('runPhase', new TypeError('oops'));
    expect(rig.last.error).toMatchObject({ code: 'INTERNAL', message: 'oops' });
  });

  test('a port that throws instead of rejecting fails the phase, not the machine', async () => {
    const rig = new Rig();
    rig.port.runPhase = () => {
      throw boom('at once');
    };
    await rig.send({ type: 'START' });
    expect(rig.last).toMatchObject({ to: 'failed', error: { message: 'at once' } });
    rig.check();
  });

  test('a failed container starts anew without a trace of the failure', async () => {
    const rig = new Rig();
    await rig.start(2);
    await rig.fail('runPhase');
    await rig.start();
    expect(rig.path).toBe('stopped>creating>mounting>devices>failed>creating>mounting>devices>network>running');
    expect(rig.moves.slice(4).every(move => move.error === undefined)).toBe(true);
    expect(rig.context).toMatchObject({ error: undefined, restartCount: 0 });
    rig.check();
  });
});

describe('LIF-02: stop during start', () => {
  test.each([
    [0, 'STOP'],
    [1, 'KILL'],
    [2, 'STOP'],
    [3, 'KILL'],
    [4, 'STOP'],
  ] as const)('after %i phases %s cancels, and waits for the rollback', async (phases, type) => {
    const rig = new Rig();
    await rig.start(phases);
    const before = rig.path;
    await rig.send(type === 'STOP' ? STOP : { type });
    expect(rig.port.log.at(-1)).toBe('cancelStart');
    expect(rig.path).toBe(before);

    const error = cancelledError();
    await rig.fail('runPhase', error);
    expect(rig.path).toBe(`${before}>failed`);
    expect(rig.last).toMatchObject({ reason: 'cancelled', initiator: 'api' });
    expect(rig.last.error).toBe(error);
    rig.check();
  });

  test('a second stop does not cancel twice, a kill after it neither', async () => {
    const rig = new Rig();
    await rig.start(1);
    await rig.send(STOP);
    expect(rig.can(STOP)).toBe(false);
    await rig.send({ type: 'KILL', initiator: 'host' });
    expect(rig.port.log.filter(call => call === 'cancelStart')).toHaveLength(1);
    await rig.fail('runPhase', cancelledError());
    expect(rig.last).toMatchObject({ to: 'failed', reason: 'cancelled', initiator: 'host' });
  });

  test('a failure that came first is still a cancelled start, and its cause is not lost', async () => {
    const rig = new Rig();
    await rig.start(1);
    await rig.send(STOP);
    const cause = new CaissonError('STEP_FAILED', 'mount /proc: EPERM', {
      errno: 'EPERM',
      cleanupErrors: [{ code: 'STEP_FAILED', message: 'umount: EBUSY' }],
    });
    await rig.fail('runPhase', cause);
    expect(rig.last.error).toMatchObject({
      code: 'CANCELLED',
      errno: 'EPERM',
      cause,
      cleanupErrors: [{ message: 'umount: EBUSY' }],
    });
    expect(rig.last.error?.message).toContain('mount /proc: EPERM');
  });

  test('a phase that ends well after the cancel goes on to one that refuses', async () => {
    const rig = new Rig();
    await rig.start(1);
    await rig.send(STOP);
    await rig.ok('runPhase');
    expect(rig.value).toBe('devices');
    await rig.fail('runPhase', cancelledError());
    expect(rig.path).toBe('stopped>creating>mounting>devices>failed');
    expect(rig.port.log.filter(call => call === 'cancelStart')).toHaveLength(1);
    rig.check();
  });

  test('an exec that succeeded before the cancel was noticed is stopped from running', async () => {
    const rig = new Rig();
    await rig.start(4);
    await rig.send({ ...STOP, initiator: 'host' });
    await rig.ok('runPhase');
    expect(rig.path).toBe('stopped>creating>mounting>devices>network>running>stopping');
    expect(rig.last).toMatchObject({ reason: 'stop', initiator: 'host' });
    expect(rig.port.log).toContain('watchPid1');
    // Its init has not yet had the time to install a handler.
    expect(rig.value).toBe('stopping.settling');
    await rig.advance(3000);
    await rig.ok('signal');
    await rig.exit(EXIT_HALT);
    await rig.ok('teardown');
    expect(rig.value).toBe('stopped');
    rig.check();
  });

  test('and killed at once when that was asked', async () => {
    const rig = new Rig();
    await rig.start(4);
    await rig.send({ type: 'KILL' });
    await rig.ok('runPhase');
    expect(rig.value).toBe('stopping.killing.sending');
    await rig.ok('killAll');
    await rig.exit(EXIT_KILLED);
    await rig.ok('teardown');
    expect(rig.last).toMatchObject({ to: 'stopped', reason: 'kill' });
    rig.check();
  });
});

describe('LIF-12: an adopted container', () => {
  test('is running without a move, a phase or a second watch', async () => {
    const rig = new Rig('running');
    expect(rig.value).toBe('running');
    expect(rig.moves).toEqual([]);
    expect(rig.port.log).toEqual([]);
    await rig.exit(EXIT_0);
    await rig.ok('teardown');
    expect(rig.path).toBe('running>stopping>stopped');
    rig.check();
  });

  test('is found frozen, and stops like any other', async () => {
    const rig = new Rig('frozen');
    await rig.send({ type: 'KILL' });
    await rig.ok('thaw');
    expect(rig.path).toBe('frozen>thawing>running>stopping');
    rig.check();
  });
});

test('an actor that is stopped tells the work under way that nobody waits for it', async () => {
  const rig = await runningRig();
  await rig.send(STOP);
  const [call] = rig.port.pending;
  expect(call?.abort.aborted).toBe(false);
  rig.actor.stop();
  expect(call?.abort.aborted).toBe(true);
});
