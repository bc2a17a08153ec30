/**
 * npm run bench: measures Caisson against the floor and the peers and writes tables, JSON, plots and a page.
 * scripts/bench.sh builds everything and starts this in a mount and a pid namespace of its own.
 */
import { chownSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { parseArgs } from 'node:util';
import { compareCalls } from './compare.js';
import { type Contender, type Context, ID_FIRST, MODES, type Mode, type Session } from './contender.js';
import { caisson } from './contenders/caisson.js';
import { floor } from './contenders/floor.js';
import { bwrap } from './peers/bwrap.js';
import { crun } from './peers/crun.js';
import { lxc } from './peers/lxc.js';
import { nspawn } from './peers/nspawn.js';
import { runc } from './peers/runc.js';
import { unshare } from './peers/unshare.js';
import { consoleReport, writePage } from './report.js';
import type { BatchSamples, KeptSamples, Results, StartSamples } from './results.js';
import { makeRootfs, shiftOwners } from './rootfs.js';
import { shuffled } from './stats.js';
import {
  hostReport,
  hybridTree,
  kernelMemory,
  leftovers,
  ownCgroups,
  ownNamespaces,
  read,
  residentOf,
  snapshot,
} from './system.js';

const CONTENDERS: readonly Contender[] = [floor, caisson, crun, runc, lxc, nspawn, bwrap, unshare];

const { values: flags } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    runs: { type: 'string' },
    warmups: { type: 'string' },
    starts: { type: 'string' },
    repeat: { type: 'string' },
    kept: { type: 'string' },
    gap: { type: 'string' },
    only: { type: 'string' },
    mode: { type: 'string' },
    'report-only': { type: 'boolean', default: false },
    compare: { type: 'boolean', default: false },
    'no-page': { type: 'boolean', default: false },
  },
});

const { quick } = flags;
const number = (text: string | undefined, normal: number, short: number): number =>
  text === undefined ? (quick ? short : normal) : Number(text);
const options = {
  runs: number(flags.runs, 30, 5),
  warmups: number(flags.warmups, 3, 1),
  starts: number(flags.starts, 100, 10),
  repeat: number(flags.repeat, 3, 1),
  kept: number(flags.kept, 1000, 20),
  /** Milliseconds between starts: the kernel takes network namespaces apart in the background, for 30–60 ms. */
  gap: number(flags.gap, 100, 60),
};

/** Only a whole run may replace the published results and the page made from them. */
const whole = !quick && [flags.only, flags.mode, flags.starts, flags.kept].every(flag => flag === undefined);
const RESULTS = whole || flags['report-only'] ? 'bench/results/latest.json' : '.cache/bench/partial.json';

if (flags.mode !== undefined && !(MODES as readonly string[]).includes(flags.mode)) {
  throw new Error(`--mode is one of ${MODES.join(', ')}`);
}

const sleep = (ms: number): Promise<void> => new Promise(resolve => setTimeout(resolve, ms));
const say = (text: string): void => void process.stderr.write(`${text}\n`);

function environment(name: string): string {
  const value = process.env[name];
  if (value === undefined) throw new Error(`${name} is not set: run this by scripts/bench.sh`);
  return value;
}

/** Our directory in each hierarchy, below the cgroup we are in. */
function makeCgroups(id: string): string[] {
  return ownCgroups().map(({ path, mount }) => {
    const directory = join(path, id);
    mkdirSync(directory, { recursive: true });
    if (mount.options.includes('cpuset')) {
      // A new cpuset is empty, and nobody can join it.
      for (const file of ['cpuset.cpus', 'cpuset.mems'])
        writeFileSync(join(directory, file), readFileSync(join(path, file)));
      writeFileSync(join(directory, 'cgroup.clone_children'), '1');
    }
    return directory;
  });
}

function makeContext(): Context {
  const id = environment('CAISSON_BENCH_ID');
  const work = environment('CAISSON_BENCH_WORK');
  const bin = environment('CAISSON_BENCH_BIN');
  const context: Context = {
    id,
    work,
    bin,
    disk: environment('CAISSON_BENCH_DISK'),
    rootfs: join(work, 'rootfs'),
    shifted: join(work, 'rootfs-shifted'),
    cgroups: makeCgroups(id),
    hybrid: hybridTree(),
  };
  makeRootfs(context.rootfs, bin);
  makeRootfs(context.shifted, bin);
  shiftOwners(context.shifted, ID_FIRST);
  chownSync(context.shifted, ID_FIRST, ID_FIRST);
  return context;
}

interface Runner {
  readonly contender: Contender;
  readonly mode: Mode;
  readonly session: Session;
}

function parseProbe(text: string): Record<string, string> {
  const cgroups: string[] = [];
  const found: Record<string, string> = {};
  for (const line of text.split('\n')) {
    const match = /^(\S+)\s+(.*?)\s*$/.exec(line);
    if (match === null) continue;
    if (match[1] === 'cgroup') cgroups.push(match[2]!);
    else found[match[1]!.replace(/:$/, '')] = match[2]!;
  }
  if (cgroups.length > 0)
    found.cgroup = cgroups.every(line => line.endsWith(':/')) ? 'own root in every hierarchy' : cgroups.join(' ');
  return found;
}

/** Opens every contender in every mode; what is refused is recorded with its reason. */
async function openAll(context: Context, results: Results): Promise<Runner[]> {
  const wanted = flags.only?.split(',');
  const runners: Runner[] = [];
  for (const contender of CONTENDERS.filter(({ id }) => wanted === undefined || wanted.includes(id))) {
    const version = contender.version();
    for (const mode of MODES.filter(name => flags.mode === undefined || flags.mode === name)) {
      const entry = { id: contender.id, title: contender.title, mode, version, notes: [...contender.notes] };
      let session: Session | undefined;
      try {
        if (version === null) throw new Error('not installed');
        session = await contender.open(mode, context);
        const probe = parseProbe(await session.probe());
        if (probe.END !== '1') throw new Error(`the probe payload did not finish: ${probe.error ?? 'no output'}`);
        results.entries.push({
          ...entry,
          here: session.note ?? null,
          refused: null,
          probe,
        });
        runners.push({ contender, mode, session });
        say(`  ${contender.id}, ${mode}: ${version}`);
      } catch (error) {
        const refused = (error as Error).message;
        results.entries.push({ ...entry, here: null, refused, probe: {} });
        say(`  ${contender.id}, ${mode}: REFUSED: ${refused}`);
        await session?.close().catch(() => {});
      }
    }
  }
  return runners;
}

/** One start of each contender per round, in another order each time. */
async function measureStarts(runners: readonly Runner[], results: Results): Promise<void> {
  const records = new Map<Runner, StartSamples>(
    runners.map(runner => [
      runner,
      { id: runner.contender.id, mode: runner.mode, first: [], reaped: [], gone: [], failures: [] },
    ]),
  );
  for (let round = -options.warmups; round < options.runs; round++) {
    for (const runner of shuffled(runners, round + 1000)) {
      await sleep(options.gap);
      const record = records.get(runner)!;
      try {
        const { first, reaped, gone, phases = [] } = await runner.session.once();
        if (round < 0) continue;
        record.first.push(first);
        if (reaped !== null) record.reaped.push(reaped);
        record.gone.push(gone);
        if (phases.length > 0) record.phases = [...(record.phases ?? []), phases];
      } catch (error) {
        record.failures.push((error as Error).message);
      }
    }
    if ((round + 1) % 10 === 0) say(`  round ${round + 1} of ${options.runs}`);
  }
  results.start.push(...records.values());
}

async function measureBatches(runners: readonly Runner[], results: Results): Promise<void> {
  const records = new Map<string, BatchSamples>();
  for (let repetition = 0; repetition < options.repeat; repetition++) {
    for (const atOnce of [1, 2]) {
      for (const { contender, mode, session } of shuffled(runners, 100 * repetition + atOnce)) {
        const key = `${contender.id} ${mode} ${atOnce}`;
        const record = records.get(key) ?? {
          id: contender.id,
          mode,
          atOnce,
          count: options.starts,
          wall: [],
          first: [],
          failures: [],
        };
        records.set(key, record);
        await sleep(10 * options.gap);
        try {
          const { wall, samples } = await session.batch(options.starts, atOnce);
          record.wall.push(wall);
          record.first.push(...samples.map(({ first }) => first));
        } catch (error) {
          record.failures.push((error as Error).message);
        }
      }
    }
    say(`  repetition ${repetition + 1} of ${options.repeat}`);
  }
  results.batches.push(...records.values());
}

/** Resident memory of all of a contender's supervising processes, KiB. */
async function supervisorMemory(session: Session): Promise<{ processes: number; total: number }> {
  await session.settle?.();
  const pids = (await session.supervisors?.()) ?? [];
  return { processes: pids.length, total: pids.reduce((sum, pid) => sum + residentOf(pid).pss, 0) };
}

async function measureKept({ contender, mode, session }: Runner): Promise<KeptSamples> {
  const count = Math.min(options.kept, contender.keepAtMost);
  const settle = (): Promise<void> => sleep(20 * options.gap);
  await settle();
  const supervisorBefore = await supervisorMemory(session);
  const before = kernelMemory();
  let starts: readonly number[] = [];
  let until: KeptSamples['until'] = 'first instruction';
  let stopMs = Number.NaN;
  let failure: string | null = null;
  let supervisorDuring = supervisorBefore;
  let during = before;
  try {
    ({ starts, until } = await session.keep!(count));
    await settle();
    supervisorDuring = await supervisorMemory(session);
    during = kernelMemory();
  } catch (error) {
    failure = (error as Error).message;
  }
  try {
    stopMs = await session.stopKept!();
  } catch (error) {
    failure ??= (error as Error).message;
  }
  await settle();
  return {
    id: contender.id,
    mode,
    count,
    starts,
    until,
    stopMs,
    supervisor: {
      processes: supervisorDuring.processes,
      before: supervisorBefore.total,
      during: supervisorDuring.total,
    },
    kernel: { before, during, after: kernelMemory() },
    failure,
  };
}

async function measure(): Promise<Results> {
  const id = environment('CAISSON_BENCH_ID');
  const before = snapshot(id);
  const context = makeContext();
  const load = (): string => read('/proc/loadavg').split(' ').slice(0, 3).join(' ');
  const results: Results = {
    generated: new Date().toISOString(),
    quick,
    host: hostReport(),
    load: { before: load(), after: '' },
    options,
    namespaces: ownNamespaces(),
    entries: [],
    start: [],
    batches: [],
    kept: [],
    leftovers: [],
  };
  say('contenders');
  const runners = await openAll(context, results);
  try {
    say(`single starts: ${options.runs} rounds after ${options.warmups} to warm up`);
    await measureStarts(runners, results);
    if (options.starts > 0) {
      say(`${options.starts} starts, one after the other and two at a time`);
      await measureBatches(runners, results);
    }
    const keepers =
      options.kept === 0
        ? []
        : runners.filter(({ contender, session }) => contender.keepAtMost > 0 && session.keep !== undefined);
    for (const runner of keepers) {
      say(`kept running: ${runner.contender.id}, ${runner.mode}`);
      results.kept.push(await measureKept(runner));
    }
  } finally {
    for (const { contender, session } of runners)
      await session.close().catch((error: Error) => say(`  closing ${contender.id}: ${error.message}`));
  }
  removeCgroups(context);
  await sleep(500);
  return { ...results, load: { ...results.load, after: load() }, leftovers: leftovers(before, snapshot(id)) };
}

/** Peers leave directories in our cgroups (lxc-start its lxc.pivot): all of ours go, leaves first. */
function removeCgroups(context: Context): void {
  for (const path of [...snapshot(context.id).cgroups].sort((a, b) => b.length - a.length)) {
    try {
      rmdirSync(path);
    } catch (error) {
      say(`  ${path}: ${(error as Error).message}`);
    }
  }
}

function publish(results: Results): void {
  if (!flags['report-only']) {
    mkdirSync(dirname(RESULTS), { recursive: true });
    writeFileSync(RESULTS, `${JSON.stringify(results, rounded, 1)}\n`);
  }
  process.stdout.write(consoleReport(results));
  if (!flags['no-page'] && (whole || flags['report-only'])) writePage(results, 'docs');
  if (results.leftovers.length > 0 || results.start.some(({ failures }) => failures.length > 0)) process.exitCode = 1;
}

/** Microseconds are more than enough; full doubles would treble the file. */
function rounded(_key: string, value: unknown): unknown {
  return typeof value === 'number' && !Number.isInteger(value) ? Math.round(value * 1000) / 1000 : value;
}

if (flags.compare) {
  const context = makeContext();
  for (const mode of MODES.filter(name => flags.mode === undefined || flags.mode === name)) {
    try {
      process.stdout.write(`${compareCalls(mode, context)}\n`);
    } catch (error) {
      process.stdout.write(`${mode}: cannot compare: ${(error as Error).message}\n`);
      process.exitCode = 1;
    }
  }
  removeCgroups(context);
} else if (flags['report-only']) publish(JSON.parse(readFileSync(RESULTS, 'utf8')) as Results);
else publish(await measure());
