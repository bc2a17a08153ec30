/** Restart policies with real containers (LIF-41 to LIF-43): what comes back, when, and what never does. */
import type { CaissonEvent, Container } from 'caisson';
import { describe, expect, test } from 'vitest';
import { finish, type Spec, until, useRig } from '../lib/rig.ts';
import { slow } from '../lib/slow.ts';

const rig = useRig();

const shell = (script: string): Spec => ({ init: '/bin/sh', args: ['-c', script] });
const SLEEP = { init: '/bin/sleep', args: ['1000'] };
const AT_ONCE = { initial: 0, jitter: 0 };

type EventOf<T extends CaissonEvent['type']> = Extract<CaissonEvent, { type: T }>;

function follow(container: Container): CaissonEvent[] {
  const seen: CaissonEvent[] = [];
  container.on('event', event => seen.push(event));
  return seen;
}
const ofType = <T extends CaissonEvent['type']>(events: readonly CaissonEvent[], type: T): EventOf<T>[] =>
  events.filter((event): event is EventOf<T> => event.type === type);
const decisions = (events: readonly CaissonEvent[]): string[] =>
  ofType(events, 'restart-decided').map(({ decision, cause }) => `${decision} ${cause}`);

async function decided(events: readonly CaissonEvent[], wanted: string, timeoutMs = slow(20_000)): Promise<void> {
  await until(() => decisions(events).at(-1) === wanted, `decision ${wanted}, not ${decisions(events)}`, timeoutMs);
}

describe('policies', () => {
  test('LIF-43: on-failure restarts a crash with growing delays, until an end without failure', async () => {
    let lives = 0;
    const container = await rig.create({
      ...shell('read -r word; case $word in ok) exit 0;; esac; exit 3'),
      restart: { policy: 'on-failure', backoff: { initial: 20, jitter: 0 } },
    });
    const events = follow(container);
    container.on('state', ({ to }) => {
      if (to === 'running') setImmediate(() => void container.console.write(++lives === 4 ? 'ok\n' : 'no\n'));
    });
    await container.start();
    await decided(events, 'stay policy');
    expect(decisions(events)).toEqual([...Array(3).fill('restart failed'), 'stay policy']);
    expect(ofType(events, 'restart-scheduled').map(({ attempt, delay }) => [attempt, delay])).toEqual([
      [1, 20],
      [2, 40],
      [3, 80],
    ]);
    expect(ofType(events, 'restart-decided')[0]?.message).toBe('PID 1 exited with status 3');
    const starts = ofType(events, 'state').filter(({ to }) => to === 'creating');
    expect(starts.map(({ initiator }) => initiator)).toEqual(['api', 'host', 'host', 'host']);
    expect(container).toMatchObject({ state: 'stopped', restartCount: 3, restarting: undefined });
  });

  test('LIF-43: no restarts nothing, and tells nothing', async () => {
    const container = await rig.create(shell('exit 3'));
    const events = follow(container);
    await container.start();
    await finish(container);
    await new Promise(resolve => setTimeout(resolve, 20));
    expect(decisions(events)).toEqual([]);
    expect(container.state).toBe('failed');
  });

  test.each(['always', 'unless-stopped'] as const)('LIF-43: %s restarts an end without failure', async policy => {
    const container = await rig.create({
      ...shell('exit 0'),
      restart: { policy, limit: { count: 2, period: 60_000 } },
    });
    const events = follow(container);
    await container.start();
    await decided(events, 'give-up limit');
    expect(decisions(events)).toEqual(['restart ended', 'restart ended', 'give-up limit']);
    expect(container).toMatchObject({ state: 'failed', error: { code: 'RESTART_LIMIT' } });
  });

  test('LIF-43: a deliberate stop is never undone: not of a running one, not while a restart is due', async () => {
    const container = await rig.create({ ...SLEEP, restart: { policy: 'always', backoff: { initial: 60_000 } } });
    const events = follow(container);
    await container.start();
    await container.kill();
    expect(decisions(events)).toEqual(['stay asked']);
    expect(container).toMatchObject({ state: 'stopped', restarting: undefined });

    const crashing = await rig.create({
      ...shell('exit 7'),
      restart: { policy: 'always', backoff: { initial: 60_000, jitter: 0 } },
    });
    const told = follow(crashing);
    await crashing.start();
    await finish(crashing);
    await until(() => crashing.restarting !== undefined, 'a restart is due');
    expect(crashing.toJSON()).toMatchObject({ state: 'failed', restarting: { attempt: 1, at: expect.any(Number) } });
    expect(await crashing.stop()).toMatchObject({ state: 'failed', exit: { kind: 'exit', status: 7 } });
    expect(crashing.restarting).toBeUndefined();
    expect(decisions(told)).toEqual(['restart failed', 'stay asked']);
  });

  test('LIF-43: a start that fails is tried again, too', async () => {
    const supervisor = await rig.open({ faults: { 'mounting.proc': 12 } });
    const container = await rig.create({
      supervisor,
      ...SLEEP,
      restart: { policy: 'on-failure', backoff: AT_ONCE, limit: { count: 3, period: 60_000 } },
    });
    const events = follow(container);
    await expect(container.start()).rejects.toMatchObject({ code: 'STEP_FAILED' });
    await decided(events, 'give-up limit');
    expect(decisions(events)).toEqual([...Array(3).fill('restart start-failed'), 'give-up limit']);
    // What is wrong stays told: the start's own error.
    expect(container.error?.code).toBe('STEP_FAILED');
  });

  test('a restart that is due keeps nobody from closing, or from removing', async () => {
    const supervisor = await rig.open();
    const due = async (): Promise<Container> => {
      const container = await rig.create({
        supervisor,
        ...shell('exit 1'),
        restart: { policy: 'always', backoff: { initial: 300, jitter: 0 } },
      });
      await container.start();
      await until(() => container.restarting !== undefined, 'a restart is due');
      return container;
    };
    await supervisor.remove((await due()).name);
    const left = await due();
    await supervisor.remove(left.name).then(() => rig.close(supervisor));
  });
});

describe('limits', () => {
  test('LIF-42: an init that exits at once: ten restarts, then failed with the reason restart-limit', async () => {
    const container = await rig.create({ ...shell('exit 0'), restart: { policy: 'always', backoff: AT_ONCE } });
    const events = follow(container);
    await container.start();
    await decided(events, 'give-up limit');
    const ends = ofType(events, 'state').filter(({ to }) => to === 'stopped' || to === 'failed');
    expect(ends.map(({ to }) => to)).toEqual([...Array(10).fill('stopped'), 'failed']);
    expect(ends.at(-1)).toMatchObject({ reason: 'restart-limit', exit: { kind: 'exit', status: 0 } });
    expect(container.restartCount).toBe(10);
    // By hand it can be started again, and the count begins anew.
    await container.start();
    await until(() => decisions(events).filter(text => text.startsWith('give-up')).length === 2, 'given up again');
    expect(container.restartCount).toBe(20);
  });

  test('LIF-43: a guest that reboots for ever is stopped, whatever the policy', async () => {
    const container = await rig.create({
      ...shell('reboot -f'),
      restart: { limit: { count: 3, period: 60_000 } },
    });
    const events = follow(container);
    await container.start();
    await until(() => container.state === 'failed', 'failed', slow(20_000));
    const states = ofType(events, 'state');
    expect(states.filter(({ to }) => to === 'rebooting')).toHaveLength(3);
    expect(states.at(-1)).toMatchObject({ reason: 'restart-limit', initiator: 'guest', exit: { kind: 'reboot' } });
    await decided(events, 'give-up limit');
  });
});
