/**
 * npm run bench -- --compare: counts the system calls of one start and one teardown, of the worker thread and of the
 * child up to its exec, in Caisson and in the floor, by strace. What differs is either Caisson's own overhead or a
 * floor that no longer does what the plan does.
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Context, Mode } from './contender.js';
import { PAYLOADS } from './rootfs.js';
import { read } from './system.js';
import { plain } from './table.js';

interface Call {
  readonly pid: string;
  readonly text: string;
}

type Counts = Map<string, number>;

function trace(name: string, command: readonly string[], context: Context): Call[] {
  const output = join(context.work, `${name}.trace`);
  // Two to warm up; the third is counted.
  const input = `run ${PAYLOADS.stamp}\n`.repeat(3);
  const { status, stderr, error } = spawnSync('strace', ['-f', '-s', '300', '-o', output, ...command], {
    input,
    encoding: 'utf8',
  });
  if (error !== undefined) throw new Error(`strace: ${error.message} (apt-get install strace)`);
  if (status !== 0) throw new Error(`${name} under strace: ${stderr.trim()}`);
  return read(output)
    .split('\n')
    .flatMap(line => {
      const match = /^(\d+)\s+(.*)$/.exec(line);
      return match === null ? [] : [{ pid: match[1]!, text: match[2]! }];
    });
}

function count(calls: readonly Call[]): Counts {
  const counts: Counts = new Map();
  for (const { text } of calls) {
    // A call that strace had to interrupt is counted where it begins.
    const name = /^(\w+)\(/.exec(text)?.[1];
    if (name !== undefined) counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  return counts;
}

/** From opening the rootfs to removing the run directory, and the child up to its exec. */
function lastStart(calls: readonly Call[], rootfs: string): { readonly host: Counts; readonly init: Counts } {
  const first = calls.findLastIndex(
    ({ text }) => text.startsWith(`openat(AT_FDCWD, "${rootfs}", `) && text.includes('O_PATH'),
  );
  if (first < 0) throw new Error(`no start in the trace: nothing opens ${rootfs}`);
  const { pid } = calls[first]!;
  const host: Call[] = [];
  for (const call of calls.slice(first)) {
    if (call.pid !== pid) continue;
    host.push(call);
    if (/^unlinkat\(AT_FDCWD, "\/run\/[^"]+", AT_REMOVEDIR/.test(call.text)) break;
  }
  const clone = host.find(({ text }) => /^(clone3\(|<\.\.\. clone3 resumed).*\) += \d+$/.test(text));
  const child = /= (\d+)$/.exec(clone?.text ?? '')?.[1];
  const init = calls.slice(first).filter(call => call.pid === child);
  const exec = init.findIndex(({ text }) => text.startsWith('execve('));
  if (exec < 0) throw new Error('the last start did not reach exec');
  return { host: count(host), init: count(init.slice(0, exec + 1)) };
}

export function compareCalls(mode: Mode, context: Context): string {
  const state = join(context.work, `compare-${mode}`);
  mkdirSync(state);
  const serve = fileURLToPath(new URL('./contenders/caisson-serve.js', import.meta.url));
  const caisson = lastStart(
    trace('caisson', [process.execPath, serve, mode, context.rootfs, state], context),
    context.rootfs,
  );
  const options = [...(mode === 'userns' ? ['--userns'] : []), '--cgroup', `${context.id}-compare-${mode}`];
  const floor = lastStart(
    trace('floor', [join(context.bin, 'floor'), ...options, 'serve', context.rootfs], context),
    context.rootfs,
  );
  const rows = (['host', 'init'] as const).flatMap(who =>
    [...new Set([...caisson[who].keys(), ...floor[who].keys()])]
      .sort()
      .map(name => ({ name, mine: caisson[who].get(name) ?? 0, floor: floor[who].get(name) ?? 0 }))
      .filter(({ mine, floor: theirs }) => mine !== theirs)
      .map(({ name, mine, floor: theirs }) => [`${who}: ${name}`, String(mine), String(theirs)]),
  );
  const total = (counts: Counts): number => [...counts.values()].reduce((sum, value) => sum + value, 0);
  return plain({
    title: `System calls of one start and teardown that differ in number, ${mode}`,
    head: ['', 'Caisson', 'floor'],
    rows: [
      ...rows,
      ['all of host', String(total(caisson.host)), String(total(floor.host))],
      ['all of init', String(total(caisson.init)), String(total(floor.init))],
    ],
    note: 'Expected: clock_gettime (the times of the steps), writes to an eventfd (progress) and futex only in Caisson; its recvfrom between the steps instead of one ppoll for each answer; waitid and read of the console in the floor, where Caisson uses its event loop. The floor leaves out what only a supervisor needs: what is handed to the keeper.',
  });
}
