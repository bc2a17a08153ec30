/**
 * A warm Caisson supervisor that takes the commands of floor/floor.c's serve() on standard input:
 *
 *     run INIT | probe INIT | batch COUNT AT_ONCE INIT | hold COUNT INIT | stop | settle      each answer ends with "ok"
 *
 * `run` lines carry CLOCK_MONOTONIC in ns, which is what process.hrtime.bigint() reads. This is the one file of the
 * benchmark that knows Caisson's API.
 */
import { createInterface } from 'node:readline';

interface TimelineEntry {
  readonly phase: string;
  readonly executor: 'host' | 'init';
  readonly start: number;
  readonly end: number;
}
interface Container {
  timeline(): readonly TimelineEntry[];
  start(): Promise<unknown>;
  wait(): Promise<unknown>;
  stop(options?: { timeout?: number }): Promise<unknown>;
  on(event: 'state', listener: (event: { readonly exit?: unknown }) => void): () => void;
  readonly console: {
    history(): Uint8Array;
    read(options?: { signal?: AbortSignal }): AsyncIterable<{ readonly data: Uint8Array }>;
  };
}
interface Supervisor {
  create(spec: Record<string, unknown>): Promise<Container>;
  remove(name: string): Promise<unknown>;
  close(): Promise<unknown>;
}
interface Caisson {
  readonly Supervisor: { open(options: { stateDir: string }): Promise<Supervisor> };
}

const [mode, rootfs, stateDir] = process.argv.slice(2) as [string, string, string];
/** Another build can be measured by the path of its index.js. */
const PACKAGE: string = process.env.CAISSON_BENCH_PACKAGE ?? 'caisson';
const { Supervisor } = (await import(PACKAGE)) as Caisson;
const supervisor = await Supervisor.open({ stateDir });

/** The rootfs is on a tmpfs that only the benchmark sees, so a shared superblock harms nobody. */
function spec(name: string, init: string): Record<string, unknown> {
  if (mode === 'userns') return { name, rootfs, init };
  return { name, rootfs: { path: rootfs, allowSharedSuperblock: true }, init, privileged: true };
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

function stampIn(text: string): bigint | undefined {
  const match = /STAMP (\d+)\r?\n/.exec(text);
  return match === null ? undefined : BigInt(match[1]!);
}

function printed(container: Container): string {
  return Buffer.from(container.console.history()).toString('latin1');
}

/** Follows the console until PID 1 has said when it began. */
async function stampOf(container: Container): Promise<bigint> {
  const enough = new AbortController();
  const timer = setTimeout(() => enough.abort(), 10_000);
  let text = '';
  try {
    for await (const { data } of container.console.read({ signal: enough.signal })) {
      text += Buffer.from(data).toString('latin1');
      const stamp = stampIn(text);
      if (stamp !== undefined) return stamp;
    }
  } finally {
    clearTimeout(timer);
    enough.abort();
  }
  throw new Error(`no stamp on the console: ${JSON.stringify(text)}`);
}

let next = 0;

async function run(init: string, after?: (container: Container) => void): Promise<void> {
  const number = next++;
  const container = await supervisor.create(spec(`bench-${number}`, init));
  let reaped = 0n;
  container.on('state', ({ exit }) => {
    if (exit !== undefined && reaped === 0n) reaped = process.hrtime.bigint();
  });
  const call = process.hrtime.bigint();
  await container.start();
  await container.wait();
  const gone = process.hrtime.bigint();
  print(`run ${number} ${call} ${stampIn(printed(container)) ?? 0} ${reaped} ${gone}`);
  after?.(container);
  await supervisor.remove(`bench-${number}`);
}

const PHASES = ['creating', 'mounting', 'devices', 'network', 'running', 'after-exec'];

/**
 * `phase NAME WALL HOST INIT` for each phase, ns: from the end of the phase before to its own, and the steps of each side
 * added up. What follows the exec delays start(), but not PID 1: a phase of its own.
 */
function printPhases(container: Container): void {
  const steps = container.timeline();
  const exec = Math.max(...steps.filter(({ executor }) => executor === 'init').map(({ end }) => end));
  const named = steps.map(step => ({ ...step, phase: step.start >= exec ? 'after-exec' : step.phase }));
  let begun = 0;
  // Records come in the order in which the steps ended.
  for (const phase of PHASES) {
    const own = named.filter(step => step.phase === phase);
    const sum = (executor: string): number =>
      own.filter(step => step.executor === executor).reduce((total, { start, end }) => total + end - start, 0);
    const ended = Math.max(begun, ...own.map(({ end }) => end));
    print(`phase ${phase} ${ended - begun} ${sum('host')} ${sum('init')}`);
    begun = ended;
  }
}

async function probe(init: string): Promise<void> {
  const name = `bench-${next++}`;
  const container = await supervisor.create(spec(name, init));
  await container.start();
  await container.wait();
  print(printed(container).trimEnd().replaceAll('\r', ''));
  await supervisor.remove(name);
}

async function batch(count: number, atOnce: number, init: string): Promise<void> {
  const before = process.hrtime.bigint();
  let left = count;
  const worker = async (): Promise<void> => {
    while (left-- > 0) await run(init);
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
  print(`all ${before} ${process.hrtime.bigint()}`);
}

interface Started {
  readonly name: string;
  readonly container: Container;
}

const held: Started[] = [];

async function hold(count: number, init: string): Promise<void> {
  for (let i = 0; i < count; i++) {
    const name = `bench-${next++}`;
    const container = await supervisor.create(spec(name, init));
    const call = process.hrtime.bigint();
    await container.start();
    held.push({ name, container });
    print(`run ${i} ${call} ${await stampOf(container)} 0 0`);
  }
}

async function stop(): Promise<void> {
  const before = process.hrtime.bigint();
  await Promise.all(
    held.splice(0).map(async ({ name, container }) => {
      await container.stop({ timeout: 10_000 });
      await supervisor.remove(name);
    }),
  );
  print(`all ${before} ${process.hrtime.bigint()}`);
}

const COMMANDS: Readonly<Record<string, (...args: string[]) => Promise<void>>> = {
  run: init => run(init!, printPhases),
  probe: init => probe(init!),
  batch: (count, atOnce, init) => batch(Number(count), Number(atOnce), init!),
  hold: (count, init) => hold(Number(count), init!),
  stop,
  settle: async () => {
    for (let i = 0; i < 3; i++) {
      globalThis.gc?.();
      await new Promise(resolve => setTimeout(resolve, 100));
    }
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const [command = '', ...args] = line.split(' ');
  try {
    await COMMANDS[command]!(...args);
  } catch (error) {
    print(`error ${(error instanceof Error ? error.message : String(error)).replaceAll('\n', ' ')}`);
  }
  print('ok');
}
await stop();
await supervisor.close();
