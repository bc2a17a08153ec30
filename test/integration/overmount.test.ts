/**
 * ENV-08: a root file system that was itself mounted over. No spec can ask for that, so the plan of a real start gets a
 * step more, as a hook would be one: it is executed by the same workers on the same kernel.
 */

import { describe, expect, test } from 'vitest';
import type { InitStep, Step } from '#src/plan/step.js';
import { Arena } from '#src/syscalls/arena.js';
import type { ExecuteResult } from '#src/workers/execute.js';
import { WorkerPool } from '#src/workers/pool.js';
import { MODES, type Mode, useRig } from '../lib/rig.ts';

const rig = useRig();

type Mounted = Extract<InitStep['action'], { op: 'mount' }>;

/** Executes the plan of a start, to its end, with a mount after all that the child mounts itself. */
async function startWith(
  mode: Mode,
  mount: Pick<Mounted, 'source' | 'target' | 'fstype' | 'flags'>,
): Promise<ExecuteResult> {
  const container = await rig.create({ mode, init: '/bin/true' });
  const extra: InitStep = {
    id: 'devices.extra',
    phase: 'devices',
    executor: 'init',
    label: 'as a hook would',
    action: { op: 'mount', ...mount },
  };
  // Ends what would start otherwise.
  const last: InitStep = {
    id: 'devices.end',
    phase: 'devices',
    executor: 'init',
    label: 'fails',
    action: { op: 'chdir', path: '/nothing/of/that/name' },
  };
  const steps = container.plan().steps.flatMap((step): Step[] => {
    if (step.id === 'devices.rootfs.seen') return [extra, step];
    return step.phase === 'network' || step.phase === 'running' ? [] : [step];
  });
  const arena = Arena.map(128 * 1024);
  const pool = new WorkerPool({ threads: 1 });
  try {
    return await pool.execute({
      steps: [...steps, last],
      registers: {},
      launch: { address: arena.address, size: arena.size },
      faults: {},
      mode: 'all-or-nothing',
    });
  } finally {
    await pool.close();
  }
}

describe.each(MODES)('ENV-08, %s', mode => {
  test.each([
    ['a tmpfs', { source: 'tmpfs', target: '/', fstype: 'tmpfs', flags: [] }],
    ['a bind of something else', { source: '/dev', target: '/', fstype: null, flags: ['MS_BIND'] }],
    ['the same tree once more', { source: '/', target: '/..', fstype: null, flags: ['MS_BIND', 'MS_REC'] }],
  ])('%s over the root file system is found, and all is undone', async (_, mount) => {
    const { ok, error, cleanupErrors } = await startWith(mode, mount);
    expect({ ok, cleanupErrors }).toEqual({ ok: false, cleanupErrors: [] });
    expect(error).toMatchObject({
      code: 'ROOTFS_OVERMOUNTED',
      errno: 'EXDEV',
      step: { id: 'devices.rootfs.seen', executor: 'init' },
      hint: expect.any(String),
    });
  });

  test('a mount anywhere else is no matter', async () => {
    const { error, records } = await startWith(mode, { source: 'tmpfs', target: '/tmp', fstype: 'tmpfs', flags: [] });
    expect(records.find(({ id }) => id === 'devices.rootfs.seen')).toMatchObject({ outcome: 'done' });
    expect(error).toMatchObject({ step: { id: 'devices.end' } });
  });
});
