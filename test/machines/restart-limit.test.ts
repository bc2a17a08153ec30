/** LIF-42, LIF-43: the end that would lead to one restart too many makes the container failed. */
import { expect, test } from 'vitest';
import { EXIT_0, EXIT_3, EXIT_REBOOT, runningRig } from './rig.js';

async function spentRig() {
  const rig = await runningRig();
  rig.port.isSpent = () => true;
  return rig;
}

test.each([
  ['a reboot of the guest', EXIT_REBOOT],
  ['a clean end', EXIT_0],
  ['a failure', EXIT_3],
])('%s: torn down for good, failed with the reason restart-limit', async (_, exit) => {
  const rig = await spentRig();
  await rig.exit(exit);
  expect(rig.port.log.at(-1)).toBe(`teardown:${exit.kind}:stop`);
  await rig.ok('teardown');
  expect(rig.last).toMatchObject({ from: 'stopping', to: 'failed', reason: 'restart-limit', initiator: 'guest', exit });
  expect(rig.last.error?.code).toBe('RESTART_LIMIT');
  rig.check();
  // It can be started again by hand, and that is no restart.
  rig.port.isSpent = () => false;
  await rig.start();
  expect(rig.context).toMatchObject({ at: 'running', restartCount: 0, limited: false });
});

test('an end that was asked for is what it was: the limit has no say', async () => {
  const rig = await spentRig();
  await rig.send({ type: 'STOP', timeoutMs: 1000 });
  await rig.ok('signal');
  await rig.exit(EXIT_0);
  await rig.ok('teardown');
  expect(rig.last).toMatchObject({ to: 'stopped', reason: 'stop', stopAsked: true });
  rig.check();
});

test('a reboot that was asked for does not count', async () => {
  const rig = await spentRig();
  await rig.send({ type: 'REBOOT', timeoutMs: 1000 });
  await rig.ok('signal');
  await rig.exit(EXIT_REBOOT);
  await rig.ok('teardown');
  expect(rig.last).toMatchObject({ from: 'rebooting', to: 'creating' });
  rig.check();
});

test('LIF-41: a start on account of a policy counts as a restart', async () => {
  const rig = await runningRig();
  await rig.exit(EXIT_3);
  await rig.ok('teardown');
  await rig.send({ type: 'START', initiator: 'host', again: true });
  expect(rig.context).toMatchObject({ at: 'creating', restartCount: 1, initiator: 'host' });
});
