/**
 * Fault injection (LIF-07): every step of the start plan fails with every errno of the list. The start ends in
 * `failed` and names the step, and the machine is as it was before.
 */
import type { CaissonError, Container, Plan, Supervisor } from 'caisson';
import { afterAll, describe, expect, test } from 'vitest';
import { ERRNO } from '#src/spec/errno.js';
import { MODES, type Mode, type Spec, useRig } from '../lib/rig.ts';
import { type Snapshot, settledDifference, snapshot } from '../lib/snapshot.ts';

const ERRNOS = ['EPERM', 'ENOMEM', 'EBUSY', 'ENOSPC', 'EINTR'] as const;
type Errno = (typeof ERRNOS)[number];

const rig = useRig();

/** What a test has tried, printed at the end. */
const counts = new Map<string, { failed: number; tolerated: number; steps: number }>();
/** Steps tried so far: variants of the plan try only what they add. */
const tried = new Set<string>();

interface Case {
  readonly faults: Record<string, number>;
  readonly container: Container;
  readonly before: Snapshot;
}

async function tryStep(setup: Case, step: Plan['steps'][number], errno: Errno): Promise<'failed' | 'tolerated'> {
  const { faults, container, before } = setup;
  const what = `${step.id} fails with ${errno}`;
  const tolerated = step.tolerate?.some(tolerance => tolerance.errno === errno) === true;
  faults[step.id] = ERRNO[errno];
  try {
    const outcome = await container.start().then(
      () => undefined,
      (error: CaissonError) => error,
    );
    if (tolerated) {
      expect(outcome, what).toBeUndefined();
      expect(
        container.timeline().find(({ id }) => id === step.id),
        what,
      ).toMatchObject({ outcome: 'tolerated', errno });
      delete faults[step.id];
      await container.kill();
    } else {
      expect(outcome, `${what}, but the start succeeded`).toBeDefined();
      expect(outcome?.step, `${what}: ${outcome?.message}`).toMatchObject({
        id: step.id,
        phase: step.phase,
        label: step.label,
      });
      expect(outcome?.errno, what).toBe(errno);
      expect(outcome?.code, what).toBe(step.id === 'running.exec' ? 'EXEC_FAILED' : 'STEP_FAILED');
      expect(outcome?.cleanupErrors, what).toBeUndefined();
      expect(container.state, what).toBe('failed');
      expect(container.pid, what).toBeUndefined();
    }
  } finally {
    delete faults[step.id];
  }
  expect(await settledDifference(before, { quick: true }), `left behind after ${what}`).toBe('');
  return tolerated ? 'tolerated' : 'failed';
}

async function tryEveryStep(
  name: string,
  supervisor: Supervisor,
  faults: Record<string, number>,
  spec: Spec & { mode?: Mode },
  only?: RegExp,
): Promise<void> {
  const container = await rig.create({ supervisor, init: '/bin/sleep', args: ['1000'], ...spec });
  // Once as it should be: what a start makes at its first time only is there before the first case.
  await container.start();
  await container.kill();
  const before = snapshot({ quick: true });
  // What a start has skipped, since it had no use for it, cannot fail.
  const skipped = container.timeline().filter(({ outcome }) => outcome === 'skipped');
  const steps = container
    .plan()
    .steps.filter(({ id }) => (only === undefined ? !tried.has(id) : only.test(id)))
    .filter(({ id }) => !skipped.some(step => step.id === id));
  const count = { failed: 0, tolerated: 0, steps: steps.length };
  counts.set(name, count);
  for (const step of steps) {
    tried.add(step.id);
    for (const errno of ERRNOS) count[await tryStep({ faults, container, before }, step, errno)]++;
  }
  // And it still works.
  await container.start();
  await container.kill();
}

async function withFaults(options: Parameters<typeof rig.open>[0] = {}): Promise<[Supervisor, Record<string, number>]> {
  const faults: Record<string, number> = {};
  return [await rig.open({ ...options, faults }), faults];
}

afterAll(() => {
  let total = 0;
  for (const [name, { failed, tolerated, steps }] of counts) {
    console.log(`fault cases, ${name}: ${steps} steps, ${failed} starts failed, ${tolerated} tolerated`);
    total += failed + tolerated;
  }
  console.log(`fault cases: ${total} in all`);
});

describe('LIF-07: every step of a start fails with every errno', () => {
  test('unprivileged', async () => {
    const [supervisor, faults] = await withFaults();
    await tryEveryStep('unprivileged', supervisor, faults, { rootfs: rig.rootfs });
    expect(counts.get('unprivileged')?.steps).toBeGreaterThan(60);
  });

  test('privileged, on an ephemeral layer', async () => {
    const [supervisor, faults] = await withFaults();
    tried.clear();
    await tryEveryStep('privileged', supervisor, faults, { mode: 'privileged' });
    expect(counts.get('privileged')?.steps).toBeGreaterThan(60);
  });

  test('steps that only other hosts and specs have', async () => {
    const { cgroups } = rig.supervisor.facts;
    const limits = { memory: 64 << 20, pids: 100 };
    {
      const [supervisor, faults] = await withFaults();
      await tryEveryStep('unprivileged, ephemeral layer, limits', supervisor, faults, { limits, oomScoreAdj: 100 });
      if (cgroups.v1.length > 0 && cgroups.v2 !== null) {
        await tryEveryStep('hybrid layout, privileged', supervisor, faults, {
          mode: 'privileged',
          cgroups: { layout: 'hybrid' },
        });
      }
    }
    {
      const [supervisor, faults] = await withFaults({ facts: { mknod: false } });
      await tryEveryStep('bound nodes', supervisor, faults, {});
    }
    if (cgroups.v2 !== null) {
      const faults: Record<string, number> = {};
      const v1 = cgroups.v1.filter(({ controllers }) => !controllers.includes('devices'));
      const supervisor = await rig.openWith({ v1 }, {}, { faults });
      await tryEveryStep('BPF policy', supervisor, faults, { mode: 'privileged' });
    }
  });
});

describe('LIF-07: every step of making a root file system fails with every errno', () => {
  const ROOTFS = /rootfs|overlay|userns/;

  test.each(MODES)(
    '%s',
    async mode => {
      for (const overlay of ['persistent'] as const) {
        const [supervisor, faults] = await withFaults();
        const spec = { mode, rootfs: { path: rig.rootfs, overlay } };
        await tryEveryStep(`${overlay} layer, ${mode}`, supervisor, faults, spec, ROOTFS);
      }
    },
    120_000,
  );
});

describe('faults after the start', () => {
  test('LIF-07: a failed cleanup is told, and made good by the next start', async () => {
    const [supervisor, faults] = await withFaults();
    const container = await rig.create({ supervisor, init: '/bin/sleep', args: ['1000'] });
    await container.start();
    await container.kill();
    const before = snapshot({ quick: true });
    let cases = 0;
    for (const id of await teardownSteps(container, supervisor)) {
      await container.start();
      faults[id] = ERRNO.EPERM;
      const error: CaissonError = await container.kill().then(
        () => {
          throw new Error(`${id} fails, but the stop succeeded`);
        },
        reason => reason,
      );
      delete faults[id];
      expect(error, id).toMatchObject({ code: 'CLEANUP_FAILED' });
      expect(
        error.cleanupErrors?.map(({ step }) => step?.id),
        id,
      ).toContain(id);
      expect(container.state, id).toBe('failed');
      await container.start();
      await container.kill();
      expect(container.state, id).toBe('stopped');
      expect(await settledDifference(before, { quick: true }), `left behind after ${id}`).toBe('');
      cases++;
    }
    console.log(`fault cases, teardown: ${cases} steps`);
    expect(cases).toBeGreaterThan(4);
  });

  test("LIF-07: what a cleanup has left goes with the container's removal", async () => {
    const [supervisor, faults] = await withFaults();
    const container = await rig.start({ supervisor, init: '/bin/sleep', args: ['1000'] });
    const ids = (await teardownSteps(container, supervisor)).filter(id => id !== 'teardown.run');
    for (const id of ids) faults[id] = ERRNO.EPERM;
    await expect(container.kill()).rejects.toMatchObject({ code: 'CLEANUP_FAILED' });
    await expect(supervisor.remove(container.name)).rejects.toMatchObject({ code: 'CLEANUP_FAILED' });
    expect(supervisor.list()).toEqual([container]);
    for (const id of ids) delete faults[id];
    await supervisor.remove(container.name);
    await rig.close(supervisor);
    await rig.expectNothingLeft();
  });

  test('LIF-07: what a cleanup has left is cleared by the next supervisor, or else by the next start', async () => {
    const stateDir = rig.stateDir();
    const [first, faults] = await withFaults({ stateDir });
    const container = await rig.start({ supervisor: first, init: '/bin/sleep', args: ['1000'] });
    const { name } = container;
    const ids = (await teardownSteps(container, first)).filter(id => id !== 'teardown.run');
    for (const id of ids) faults[id] = ERRNO.EBUSY;
    await expect(container.kill()).rejects.toMatchObject({ code: 'CLEANUP_FAILED' });
    await rig.close(first);
    // The second cannot either: it opens all the same, and says so.
    const second = await rig.open({ stateDir, faults });
    const codes: string[] = [];
    for await (const event of second.events({ since: 0, signal: AbortSignal.timeout(50) })) {
      if (event.type === 'notice') codes.push(`${event.container} ${event.code}`);
    }
    expect(codes).toContain(`${name} cleanup-failed`);
    expect(second.get(name).state).toBe('stopped');
    for (const id of ids) delete faults[id];
    await second.get(name).start();
    for (const id of ids) faults[id] = ERRNO.EBUSY;
    await expect(second.get(name).kill()).rejects.toMatchObject({ code: 'CLEANUP_FAILED' });
    await rig.close(second);
    const third = await rig.open({ stateDir });
    await rig.close(third);
    await rig.expectNothingLeft();
  });

  test('LIF-33: a freeze that fails leaves it running, a thaw that fails leaves it frozen, and both can be killed', async () => {
    const [supervisor, faults] = await withFaults();
    const container = await rig.start({ supervisor, init: '/bin/sleep', args: ['1000'] });
    faults.freeze = ERRNO.EPERM;
    await expect(container.freeze()).rejects.toMatchObject({
      code: 'STEP_FAILED',
      errno: 'EPERM',
      step: { id: 'freeze' },
    });
    expect(container.state).toBe('running');
    delete faults.freeze;
    await container.freeze();
    faults.thaw = ERRNO.EBUSY;
    await expect(container.unfreeze()).rejects.toMatchObject({
      code: 'STEP_FAILED',
      errno: 'EBUSY',
      step: { id: 'thaw' },
    });
    expect(container.state).toBe('frozen');
    // Even then a kill ends it: SIGKILL reaches what cgroup v2 has frozen.
    expect(await container.kill()).toMatchObject({ state: 'stopped', exit: { kind: 'killed' } });
    delete faults.thaw;
  });
});

/** Ids of the teardown's steps, from one that is made to fail everywhere. */
async function teardownSteps(container: Container, supervisor: Supervisor): Promise<string[]> {
  const { compileTeardown } = await import('#src/plan/teardown.js');
  const runDir = container.runDir;
  return compileTeardown(container.spec, supervisor.facts, { runDir }).steps.map(({ id }) => id);
}
