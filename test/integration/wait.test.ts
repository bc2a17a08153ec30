/** Waiting for the end of a container, and giving that up. */
import { expect, test } from 'vitest';
import { useRig } from '../lib/rig.ts';

const rig = useRig();

test('wait() is given up by its signal alone; who else waits is told of the end', async () => {
  const container = await rig.start({ init: '/bin/sleep', args: ['1000'] });
  const other = container.wait();
  await expect(container.wait({ signal: AbortSignal.timeout(50) })).rejects.toMatchObject({ code: 'CANCELLED' });
  await expect(container.wait({ signal: AbortSignal.abort() })).rejects.toMatchObject({ code: 'CANCELLED' });
  expect(container.state).toBe('running');
  const late = new AbortController();
  const third = container.wait({ signal: late.signal });
  await container.kill();
  expect(await third).toEqual(await other);
  late.abort();
  expect(await container.wait({ signal: AbortSignal.abort() }), 'there is nothing to wait for').toMatchObject({
    exit: { kind: 'killed' },
  });
});
