/** Files of cgroup v2 that tell of a change by POLLPRI, as memory.events does; this host may have no v2 memory controller. */
import { spawn } from 'node:child_process';
import { mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { OomWatch } from '#src/supervisor/oom.js';
import { AT, O } from '#src/syscalls/abi/constants.js';
import { openat } from '#src/syscalls/fs.js';
import { until } from '../lib/rig.ts';

const mount = readFileSync('/proc/self/mountinfo', 'utf8')
  .split('\n')
  .find(line => line.includes(' - cgroup2 '))
  ?.split(' ')[4];

test('a change is told once, one while it pauses is told after it, and a group that goes ends it', async () => {
  if (mount === undefined) {
    console.log('not tried: this host has no cgroup v2');
    return;
  }
  const group = `${mount}/caisson-priority-${process.pid}`;
  mkdirSync(group);
  const child = spawn('/bin/sleep', ['60']);
  let looks = 0;
  const watching = new OomWatch(
    openat(AT.AT_FDCWD, `${group}/cgroup.events`, O.O_RDONLY),
    2,
    0,
    () => Promise.resolve(++looks),
    () => undefined,
  );
  try {
    // What nobody has read yet counts as a change; after that nothing does, although it is readable at all times.
    await new Promise(resolve => setTimeout(resolve, 600));
    expect(looks).toBe(1);
    writeFileSync(`${group}/cgroup.procs`, String(child.pid));
    await until(() => looks === 2, 'populated 1 is told');
    const gone = new Promise(resolve => child.once('exit', resolve));
    child.kill('SIGKILL');
    await gone;
    await until(() => looks === 3, 'populated 0 is told after the pause');
    await new Promise(resolve => setTimeout(resolve, 400));
    expect(looks).toBe(3);
  } finally {
    child.kill('SIGKILL');
    rmdirSync(group);
    await new Promise(resolve => setTimeout(resolve, 100));
    watching.close();
  }
  expect(looks).toBe(3);
});
