/** Tables, plots and docs/benchmarks.md, all from the results alone. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { MODES, type Mode } from './contender.js';
import { type BarRow, barPlot, type RangeRow, rangePlot, type Series, seriesPlot } from './plot.js';
import { type KeptSamples, type Results, same } from './results.js';
import { summarize } from './stats.js';
import { kib, markdown, ms, plain, type Table, times } from './table.js';

const MODE_TITLES: Readonly<Record<Mode, string>> = {
  privileged: 'without user namespace',
  userns: 'with user namespace',
};

/** Colors of the plots; everything else is grey. */
const COLORS: Readonly<Record<string, number>> = { floor: 0, caisson: 1, crun: 2, lxc: 3, runc: 4 };

function color(id: string): number {
  return COLORS[id] ?? 5;
}

function title(results: Results, id: string): string {
  return results.entries.find(entry => entry.id === id)?.title ?? id;
}

function medianOf(results: Results, id: string, mode: Mode, what: 'first' | 'reaped' | 'gone'): number {
  return summarize(same(results.start, id, mode)?.[what] ?? []).median;
}

function startTable(results: Results, mode: Mode): Table {
  const rows = results.start
    .filter(record => record.mode === mode && record.first.length > 0)
    .map(record => ({ record, summary: summarize(record.first) }))
    .sort((a, b) => a.summary.median - b.summary.median)
    .map(({ record, summary }) => [
      title(results, record.id),
      ms(summary.median),
      ms(summary.p10),
      ms(summary.p90),
      times(summary.median / medianOf(results, 'floor', mode, 'first')),
      times(summary.median / medianOf(results, 'crun', mode, 'first')),
      String(summary.n),
    ]);
  return {
    title: `Start call to the first instruction of PID 1, ${MODE_TITLES[mode]} (ms)`,
    head: ['', 'median', 'p10', 'p90', '× floor', '× crun', 'runs'],
    rows,
  };
}

function endTable(results: Results, mode: Mode): Table {
  const rows = results.start
    .filter(record => record.mode === mode && record.gone.length > 0)
    .map(record => ({ record, reaped: summarize(record.reaped), gone: summarize(record.gone) }))
    .sort((a, b) => a.gone.median - b.gone.median)
    .map(({ record, reaped, gone }) => [
      title(results, record.id),
      ms(reaped.median),
      times(reaped.median / medianOf(results, 'floor', mode, 'reaped')),
      ms(gone.median),
      ms(gone.p10),
      ms(gone.p90),
      times(gone.median / medianOf(results, 'floor', mode, 'gone')),
      times(gone.median / medianOf(results, 'crun', mode, 'gone')),
    ]);
  return {
    title: `Start call to the end of a payload like /bin/true, ${MODE_TITLES[mode]} (ms)`,
    head: ['', 'PID 1 reaped', '× floor', 'all cleaned up', 'p10', 'p90', '× floor', '× crun'],
    rows,
    note: 'A peer reaps PID 1 itself and tells by its own end, when it has cleaned up.',
  };
}

/** Where the time of a start goes: `container.timeline()` of every run. */
function phaseTable(results: Results, mode: Mode): Table[] {
  const runs = same(results.start, 'caisson', mode)?.phases ?? [];
  const names = (runs[0] ?? []).map(({ name }) => name);
  const median = (name: string, what: 'wall' | 'host' | 'init'): number =>
    summarize(runs.flatMap(run => run.filter(phase => phase.name === name).map(phase => phase[what]))).median;
  const all = names.reduce((sum, name) => sum + median(name, 'wall'), 0);
  if (runs.length === 0) return [];
  return [
    {
      title: `Start call of Caisson by phase, ${MODE_TITLES[mode]} (ms, medians of ${runs.length})`,
      head: ['phase', 'takes', 'share', 'steps of the host', 'steps of the child'],
      rows: names.map(name => [
        name === 'after-exec' ? 'running, after exec' : name,
        ms(median(name, 'wall')),
        `${((100 * median(name, 'wall')) / all).toFixed(0)} %`,
        ms(median(name, 'host')),
        ms(median(name, 'init')),
      ]),
      note: '"takes": from the end of the phase before to its own. Host and child work side by side: their steps may add up to more. What comes after exec delays start(), but not the first instruction.',
    },
  ];
}

function batchTable(results: Results, mode: Mode): Table {
  const count = results.batches[0]?.count ?? 0;
  const ids = [...new Set(results.batches.filter(batch => batch.mode === mode).map(({ id }) => id))];
  const wall = (id: string, atOnce: number): number =>
    summarize(
      results.batches.find(batch => batch.id === id && batch.mode === mode && batch.atOnce === atOnce)?.wall ?? [],
    ).median;
  return {
    title: `${count} starts to the end and clean-up of each, ${MODE_TITLES[mode]} (ms for all, median of ${results.options.repeat})`,
    head: ['', 'one by one', 'per second', 'two at a time', 'per second', '× floor', '× crun'],
    rows: ids
      .map(id => ({ id, one: wall(id, 1), two: wall(id, 2) }))
      .sort((a, b) => a.one - b.one)
      .map(({ id, one, two }) => [
        title(results, id),
        ms(one),
        ms((1000 * count) / one),
        ms(two),
        ms((1000 * count) / two),
        times(one / wall('floor', 1)),
        times(one / wall('crun', 1)),
      ]),
    note: 'The two ratios are of "one by one".',
  };
}

/** Median of the first and of the last tenth, at most a hundred each. */
function edges({ starts }: KeptSamples): { readonly size: number; readonly first: number; readonly last: number } {
  const size = Math.max(1, Math.min(100, Math.floor(starts.length / 2)));
  return { size, first: summarize(starts.slice(0, size)).median, last: summarize(starts.slice(-size)).median };
}

function keptTable(results: Results): Table {
  const rows = results.kept.map(record => {
    const { size, first, last } = edges(record);
    const { before, during, after } = record.kernel;
    return [
      `${title(results, record.id)}, ${MODE_TITLES[record.mode]}`,
      String(record.count),
      ms(first),
      ms(last),
      times(last / first),
      String(size),
      kib((record.supervisor.during - record.supervisor.before) / record.count),
      String(record.supervisor.processes),
      kib((during.total - before.total) / record.count),
      kib((during.total - after.total) / record.count),
      ms(record.stopMs),
    ];
  });
  return {
    title: 'Containers kept running (start times: ms, memory: KiB per container, stop of all: ms)',
    head: [
      '',
      'kept',
      'first',
      'last',
      'last ÷ first',
      'of each',
      'supervisor',
      'processes',
      'kernel, taken',
      'kernel, given back',
      'stop of all',
    ],
    rows,
    note: [
      '"first" and "last": medians of the first and the last containers, as many as the column "of each" says.',
      'Peers are bounded at 100 containers. lxc-start -d is timed until it reports RUNNING, the others to the first instruction of PID 1.',
      ...results.kept.flatMap(({ id, mode, failure }) =>
        failure === null ? [] : [`${title(results, id)}, ${MODE_TITLES[mode]}: FAILED: ${failure}`],
      ),
    ].join(' '),
  };
}

/** What the probe payload found: how alike the containers are. */
function probeTable(results: Results): Table {
  return {
    title: 'What PID 1 found',
    head: ['', 'host namespaces', 'id map', 'mounts', '/dev', 'console', 'lo', 'sysfs', 'fds', 'owner of /'],
    rows: results.entries
      .filter(({ refused }) => refused === null)
      .map(({ title: name, mode, probe }) => {
        const shared = Object.entries(results.namespaces).filter(([kind, id]) => probe[`ns.${kind}`] === id);
        return [
          `${name}, ${MODE_TITLES[mode]}`,
          shared.map(([kind]) => kind).join(' ') || 'none',
          (probe.uid_map ?? '').replace(/\s+/g, ' ').trim().replace('0 0 4294967295', 'none'),
          probe.mounts ?? '–',
          probe.dev ?? '–',
          probe['stdout.tty'] === '1' ? 'pty' : 'pipe',
          probe['lo.up'] === '1' ? 'up' : 'down',
          probe.sysfs ?? '–',
          probe.fds ?? '–',
          probe['root.owner'] ?? '–',
        ];
      }),
    note: '"host namespaces": those PID 1 shares with the host. "mounts" and "/dev": how many entries it saw.',
  };
}

function refusals(results: Results): string[] {
  return results.entries
    .filter(({ refused }) => refused !== null)
    .map(({ title: name, mode, refused }) => `${name}, ${MODE_TITLES[mode]}: not run here: ${refused}`);
}

/** Combinations that ran only in another way than asked for. */
function otherwise(results: Results): string[] {
  return [...new Set(results.entries.flatMap(({ title: name, here }) => (here === null ? [] : [`${name}: ${here}`])))];
}

function failures(results: Results): string[] {
  const of = (records: readonly { id: string; mode: Mode; failures: readonly string[] }[], what: string): string[] =>
    records
      .filter(record => record.failures.length > 0)
      .map(
        record =>
          `${title(results, record.id)}, ${MODE_TITLES[record.mode]}: ${record.failures.length} ${what} failed: ${record.failures[0]}`,
      );
  return [...of(results.start, 'starts'), ...of(results.batches, 'batches')];
}

function tables(results: Results): Table[] {
  const modes = MODES.filter(mode => results.start.some(record => record.mode === mode));
  return [
    ...modes.map(mode => startTable(results, mode)),
    ...modes.map(mode => endTable(results, mode)),
    ...modes.flatMap(mode => phaseTable(results, mode)),
    ...(results.batches.length === 0 ? [] : modes.map(mode => batchTable(results, mode))),
    ...(results.kept.length === 0 ? [] : [keptTable(results)]),
  ];
}

/** Said first where other work ran on the machine: such numbers are not for publication. */
function caution({ host, load }: Results): string[] {
  const highest = Math.max(...[load.before, load.after].map(text => Number(text.split(' ')[0])));
  if (highest < host.cores * 0.75) return [];
  return [
    `CAUTION: the load average reached ${highest} on ${host.cores} cores, so other work was measured too. Medians and ratios are unreliable; run again on an idle machine.`,
  ];
}

export function consoleReport(results: Results): string {
  const { host } = results;
  const left =
    results.leftovers.length === 0
      ? 'nothing (mounts, links, cgroups, processes compared with before)'
      : results.leftovers.join('\n  ');
  return `${[
    `${host.distribution}, Linux ${host.kernel}, ${host.cores} × ${host.cpu}, cgroups ${host.cgroups}, Node ${host.node}; load ${results.load.before} → ${results.load.after}`,
    ...caution(results),
    ...[
      ...tables(results),
      ...(verdicts(results).rows.length === 0 ? [] : [verdicts(results)]),
      probeTable(results),
    ].map(plain),
    ...otherwise(results),
    ...refusals(results),
    ...failures(results),
    `left behind: ${left}`,
  ].join('\n\n')}\n`;
}

function startRows(results: Results, mode: Mode): RangeRow[] {
  return results.start
    .filter(record => record.mode === mode && record.first.length > 0)
    .map(record => ({ record, summary: summarize(record.first) }))
    .sort((a, b) => a.summary.median - b.summary.median)
    .map(({ record, summary }) => ({
      label: title(results, record.id),
      color: color(record.id),
      low: summary.p10,
      middle: summary.median,
      high: summary.p90,
    }));
}

function batchRows(results: Results, mode: Mode): BarRow[] {
  const perSecond = (id: string, atOnce: number): number => {
    const batch = results.batches.find(one => one.id === id && one.mode === mode && one.atOnce === atOnce);
    return batch === undefined ? Number.NaN : (1000 * batch.count) / summarize(batch.wall).median;
  };
  return [...new Set(results.batches.filter(batch => batch.mode === mode).map(({ id }) => id))]
    .map(id => ({ label: title(results, id), color: color(id), values: [perSecond(id, 1), perSecond(id, 2)] as const }))
    .sort((a, b) => b.values[1] - a.values[1]);
}

function keptSeries(results: Results, mode: Mode): Series[] {
  return results.kept
    .filter(record => record.mode === mode && record.starts.length > 0)
    .map(({ id, starts }) => ({ label: title(results, id), color: color(id), values: starts }));
}

/** The goals of the project against what was measured, as rows. */
function verdicts(results: Results): Table {
  const rows: string[][] = [];
  const judge = (what: string, value: number, limit: number, unit = ''): void => {
    const verdict = Number.isFinite(value) ? (value <= limit ? 'met' : 'missed') : 'not measured';
    rows.push([what, `≤ ${limit}${unit}`, Number.isFinite(value) ? `${times(value)}${unit}` : '–', verdict]);
  };
  for (const mode of MODES.filter(name =>
    results.entries.some(({ id, mode: its }) => id === 'caisson' && its === name),
  )) {
    const mine = medianOf(results, 'caisson', mode, 'first');
    judge(`first instruction ÷ floor, ${MODE_TITLES[mode]}`, mine / medianOf(results, 'floor', mode, 'first'), 1.5);
    judge(`first instruction ÷ crun, ${MODE_TITLES[mode]}`, mine / medianOf(results, 'crun', mode, 'first'), 0.2);
    const growth = (id: string): number => {
      const kept = same(results.kept, id, mode);
      if (kept === undefined || kept.failure !== null) return Number.NaN;
      const { first, last } = edges(kept);
      return last / first;
    };
    const kept = same(results.kept, 'caisson', mode);
    const memory =
      kept === undefined || kept.failure !== null
        ? Number.NaN
        : (kept.supervisor.during - kept.supervisor.before) / kept.count;
    judge(
      `last ÷ first of ${results.options.kept} kept (the floor's own: ${times(growth('floor'))}), ${MODE_TITLES[mode]}`,
      growth('caisson'),
      1.3,
    );
    judge(`supervisor memory per kept container, ${MODE_TITLES[mode]}`, memory, 20, ' KiB');
  }
  return { title: 'Goals', head: ['goal', 'limit', 'measured', ''], rows };
}

export function writePage(results: Results, directory: string): void {
  mkdirSync(directory, { recursive: true });
  const modes = MODES.filter(mode => results.start.some(record => record.mode === mode));
  const panel = <T>(rows: (results: Results, mode: Mode) => T): { name: string; rows: T }[] =>
    modes.map(mode => ({ name: MODE_TITLES[mode], rows: rows(results, mode) }));
  writeFileSync(
    join(directory, 'bench-start.svg'),
    rangePlot('Start call to the first instruction of PID 1', 'milliseconds', panel(startRows)),
  );
  if (results.batches.length > 0) {
    writeFileSync(
      join(directory, 'bench-throughput.svg'),
      barPlot(
        'Containers started, ended and cleaned up per second',
        ['one after the other', 'two at a time'],
        panel(batchRows),
      ),
    );
  }
  const kept = modes
    .map(mode => ({ name: MODE_TITLES[mode], series: keptSeries(results, mode) }))
    .filter(({ series }) => series.length > 0);
  if (kept.length > 0)
    writeFileSync(
      join(directory, 'bench-kept.svg'),
      seriesPlot('Start time while containers are kept running', 'milliseconds', kept),
    );

  const { host } = results;
  const goals = verdicts(results);
  const all = tables(results);
  const section = (which: (table: Table) => boolean): string =>
    all
      .filter(which)
      .map(table => `**${table.title}**\n\n${markdown(table)}`)
      .join('\n');
  const notes = [...new Map(results.entries.map(entry => [entry.title, entry.notes])).entries()];
  writeFileSync(
    join(directory, 'benchmarks.md'),
    `# Benchmarks

Written by \`npm run bench\` from [bench/results/latest.json](../bench/results/latest.json); do not edit by hand.
Measured ${results.generated.slice(0, 10)} on ${host.distribution}, Linux ${host.kernel}, ${host.cores} × ${host.cpu},
${(host.memoryMiB / 1024).toFixed(0)} GiB, cgroups ${host.cgroups}, Node ${host.node}. Load average ${results.load.before} before, ${results.load.after} after.

${caution(results)
  .map(line => `> ${line}\n\n`)
  .join('')}${goals.rows.length === 0 ? 'Caisson itself was not part of this run.\n' : markdown(goals)}
## One start

![Start call to the first instruction of PID 1](bench-start.svg)

${section(table => table.title.startsWith('Start call'))}
## Many starts

${results.batches.length > 0 ? '![Containers per second](bench-throughput.svg)\n' : ''}
${section(table => table.head.includes('one by one'))}
## Many containers kept running

${kept.length > 0 ? '![Start time while containers are kept running](bench-kept.svg)\n' : ''}
${section(table => table.title.startsWith('Containers kept'))}
Memory of the supervisor is the proportional resident set (Pss) of its processes, after garbage collection, with the
containers minus before. Kernel memory is Slab + KernelStack + PageTables + SecPageTables + Percpu of /proc/meminfo:
"taken" is the growth over the value before, "given back" the fall after all were stopped. Slab that the kernel keeps
for reuse makes the two differ, and later contenders reuse what earlier ones left.

## How it is measured

- **The floor** ([bench/floor/floor.c](../bench/floor/floor.c)) is a C program that makes the system calls of a Caisson
  start in the same order, with nothing between them.
- **PID 1** ([bench/payload/stamp.c](../bench/payload/stamp.c)) reads CLOCK_MONOTONIC in its first instructions, prints
  the value and exits 0. Caller and payload read the same clock, so nothing in between is counted.
- **Peers** are started by [bench/floor/spawn.c](../bench/floor/spawn.c) with posix_spawn; the call is the moment before
  it, and Node's own fork costs them nothing. Caisson's call is \`container.start()\` in a warm supervisor.
- **Order**: every round starts each contender once, in a new random order, with ${results.options.gap} ms between starts so that
  nobody pays for the network namespace that the one before left to the kernel. ${results.options.warmups} rounds to warm up, ${results.options.runs} measured.
- **Place**: mount and pid namespaces of the benchmark's own; the root file system and /run are tmpfs there.
- **Ends**: "PID 1 reaped" is known of the floor and Caisson; "all cleaned up" is the end of the runtime's own process
  for peers, and the moment the cgroups are gone (\`container.wait()\`) for the floor and Caisson.
- No run is dropped: percentiles are of all of them.

## How alike the containers are

${markdown(probeTable(results))}
${notes.map(([name, list]) => `- **${name}**: ${list.join('; ')}.`).join('\n')}

## Refused here, or run otherwise

${[...otherwise(results), ...refusals(results), ...failures(results)].map(line => `- ${line}`).join('\n') || 'Nothing: every combination ran.'}

Left behind on the host afterwards: ${results.leftovers.length === 0 ? 'nothing' : results.leftovers.join(', ')} (mounts, links, cgroups and processes compared).
`,
  );
}
