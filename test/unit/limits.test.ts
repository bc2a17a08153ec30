/** Changing limits of a running container (NET-24): which files, on which host, and lowering memory on v2. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { compileLiveLimits } from '#src/plan/limits.js';
import { limitMemory } from '#src/workers/host/memory-limit.js';
import { HYBRID, PURE_V1, PURE_V2, SYSTEMD } from '../lib/facts.ts';
import { expectError, hostStepOf, unprivileged } from './kit.ts';

const limited = (limits: object) => unprivileged({ limits });

test.each([
  ['v2', PURE_V2, '/sys/fs/cgroup/caisson/web/memory.max', '/sys/fs/cgroup/caisson/web/pids.max'],
  [
    'hybrid',
    HYBRID,
    '/sys/fs/cgroup/memory/own/caisson/web/memory.limit_in_bytes',
    '/sys/fs/cgroup/pids/caisson/web/pids.max',
  ],
  [
    'v1',
    PURE_V1,
    '/sys/fs/cgroup/memory/system.slice/caisson.service/caisson/web/memory.limit_in_bytes',
    '/sys/fs/cgroup/pids/caisson/web/pids.max',
  ],
] as const)('%s: only what changes is written, and undone to what it was', (name, facts, memory, pids) => {
  const plan = compileLiveLimits(limited({ memory: 1e6 }), limited({ pids: 5 }), facts);
  const version = name === 'v2' ? 2 : 1;
  const group = memory.slice(0, memory.lastIndexOf('/'));
  expect(hostStepOf(plan, 'live.limit.memory')).toMatchObject({
    action: { op: 'memory.limit', path: memory, group, version, bytes: 1e6 },
    undo: { op: 'write', path: memory, text: version === 1 ? '-1' : 'max' },
  });
  expect(hostStepOf(plan, 'live.limit.pids')).toMatchObject({
    action: { op: 'write', path: pids, text: 'max' },
    undo: { op: 'write', path: pids, text: '5' },
  });
  expect(compileLiveLimits(limited({ pids: 5 }), limited({ pids: 5 }), facts).steps.map(({ id }) => id)).toEqual([
    'live.close',
  ]);
});

test('in a scope of systemd: on the group that is ours', () => {
  const { action } = hostStepOf(compileLiveLimits(limited({ pids: 3 }), limited({}), SYSTEMD), 'live.limit.pids');
  expect(action).toMatchObject({ path: expect.stringMatching(/\.scope\/container\/pids\.max$/) });
});

test('a limit that nothing enforces is refused by name', () => {
  const facts = {
    ...PURE_V2,
    cgroups: { ...PURE_V2.cgroups, v2: { base: '/sys/fs/cgroup', controllers: ['memory'] } },
  };
  expectError(() => compileLiveLimits(limited({ pids: 3 }), limited({}), facts), 'SPEC_INVALID', 'limits.pids');
});

test('v2: memory that cannot be reclaimed refuses a lower limit, before anything is killed', () => {
  const group = mkdtempSync(join(tmpdir(), 'caisson-limit-'));
  const file = (name: string): string => readFileSync(join(group, name), 'utf8');
  try {
    writeFileSync(join(group, 'memory.current'), '5000\n');
    writeFileSync(join(group, 'memory.high'), 'max\n');
    writeFileSync(join(group, 'memory.max'), '9999');
    const limit = (bytes: number): void => limitMemory({ group, path: join(group, 'memory.max'), version: 2, bytes });
    const error = expectError(() => limit(4000), 'SPEC_INVALID', 'limits.memory');
    expect(error.message).toContain('5000 are in use');
    expect([file('memory.max'), file('memory.high').slice(0, 3)]).toEqual(['9999', 'max']);
    limit(6000);
    expect(file('memory.max')).toBe('6000');
  } finally {
    rmSync(group, { recursive: true });
  }
});
