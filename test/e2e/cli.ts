/**
 * The built command line as its user runs it: a process of its own, with files, pipes or a terminal. The machine is
 * compared before and after each test, and whatever a failed test left is ended: only what was started here.
 */

import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, realpathSync, rmdirSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { Supervisor } from 'caisson';
import { afterAll, afterEach, beforeAll, beforeEach, expect } from 'vitest';
import { removeTree } from '../lib/rig.ts';
import { makeRootfs } from '../lib/rootfs.ts';
import { slow } from '../lib/slow.ts';
import { own, type Snapshot, settledDifference, snapshot } from '../lib/snapshot.ts';

export const MAIN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));
const TIMEOUT_MS = slow(20_000);
/** After each test; after the file, links are compared in full. */
const QUICK = { quick: true };

export interface Finished {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: Buffer;
  readonly stderr: string;
  /** Standard output with the console's CR LF turned back into LF. */
  readonly text: string;
  /** From the spawn to the end. */
  readonly ms: number;
}

export type Stdin = 'null' | 'pipe' | 'inherit' | number | string | Buffer;

export interface StartOptions {
  /** Default: /dev/null. */
  readonly stdin?: Stdin;
  /** Instead of being collected. */
  readonly stdout?: number;
  readonly env?: Readonly<Record<string, string>>;
}

/** What something prints, and waiting for it. */
export class Printed {
  private readonly chunks: Buffer[] = [];
  private watchers: (() => void)[] = [];
  private ended = false;

  add(data: Buffer): void {
    this.chunks.push(data);
    this.changed();
  }

  /** Nothing more will come. */
  end(): void {
    this.ended = true;
    this.changed();
  }

  get bytes(): Buffer {
    return Buffer.concat(this.chunks);
  }

  get length(): number {
    return this.chunks.reduce((sum, { length }) => sum + length, 0);
  }

  /** Resolves when `wanted` stands after offset `from`. */
  async shows(wanted: string | RegExp, from = 0): Promise<void> {
    const deadline = Date.now() + TIMEOUT_MS;
    for (;;) {
      const text = this.bytes.subarray(from).toString();
      if (typeof wanted === 'string' ? text.includes(wanted) : wanted.test(text)) return;
      if (this.ended || Date.now() > deadline) throw new Error(`${wanted} was not printed, but:\n${text.slice(-2000)}`);
      await new Promise<void>(resolve => {
        const timer = setTimeout(resolve, 200);
        this.watchers.push(() => {
          clearTimeout(timer);
          resolve();
        });
      });
    }
  }

  private changed(): void {
    for (const watcher of this.watchers.splice(0)) watcher();
  }
}

/** A process under way. */
export class Running {
  readonly finished: Promise<Finished>;
  readonly stdout = new Printed();
  private readonly stderr = new Printed();
  ended = false;

  constructor(readonly child: ChildProcess) {
    const begun = performance.now();
    const { stdout, stderr } = this;
    child.stdout?.on('data', (data: Buffer) => stdout.add(data));
    child.stderr?.on('data', (data: Buffer) => stderr.add(data));
    // Whoever ends without reading its input is not to end the tests.
    child.stdin?.on('error', () => undefined);
    this.finished = new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        reject(
          new Error(`pid ${child.pid} runs after ${TIMEOUT_MS} ms; it printed:\n${stdout.bytes}\n${stderr.bytes}`),
        );
      }, TIMEOUT_MS);
      child.on('error', reject);
      child.on('close', (code, signal) => {
        clearTimeout(timer);
        this.ended = true;
        stdout.end();
        const text = stdout.bytes.toString().replaceAll('\r\n', '\n');
        const ms = performance.now() - begun;
        resolve({ code, signal, stdout: stdout.bytes, stderr: stderr.bytes.toString(), text, ms });
      });
    });
    // Awaited by the test; one that fails before that has its own error to show.
    this.finished.catch(() => undefined);
  }

  /** What it has written to standard error so far. */
  get complained(): string {
    return this.stderr.bytes.toString();
  }

  kill(signal: NodeJS.Signals): void {
    this.child.kill(signal);
  }

  write(data: string | Buffer): void {
    this.child.stdin?.write(data);
  }

  /** Resolves when standard output holds `wanted`. */
  shows(wanted: string | RegExp): Promise<void> {
    return this.stdout.shows(wanted);
  }
}

export interface RunOptions extends StartOptions {
  readonly name?: string;
  readonly state?: string;
  /** Default: the busybox tree of this file, below a layer that is thrown away. */
  readonly rootfs?: string;
  /** Default true. */
  readonly rm?: boolean;
  /** More options, before the rootfs. */
  readonly options?: readonly string[];
}

export class Cli {
  dir = '';
  rootfs = '';
  private base!: Snapshot;
  private baseline!: Snapshot;
  private count = 0;
  private readonly running = new Set<Running>();
  private readonly states: string[] = [];

  constructor(private readonly prepare: (rootfs: string) => void = () => undefined) {}

  /** A path of this file that does not exist yet. */
  path(name: string): string {
    return join(this.dir, `${name}-${++this.count}`);
  }

  /** One more busybox tree, for a payload that writes to it. */
  tree(): string {
    return makeRootfs(this.path('tree'), 'all');
  }

  name(): string {
    return `e2e-${++this.count}`;
  }

  /** A state directory; what a supervisor of it leaves on the machine counts as ours. */
  state(path = this.path('state')): string {
    mkdirSync(path, { recursive: true, mode: 0o711 });
    own(path);
    if (!this.states.includes(path)) this.states.push(path);
    return path;
  }

  throwAwayPath(state: string, name: string): string {
    return join(state, `run.${name}`);
  }

  /** The state directory that `run --rm --name <name>` makes and removes: counts as ours from now on. */
  throwAway(state: string, name: string): string {
    const path = this.throwAwayPath(state, name);
    if (existsSync(path)) return path;
    this.state(path);
    rmdirSync(path);
    return path;
  }

  /** Where the host pid of a running container stands. */
  pidFile(stateDir: string, name: string): string {
    const id = createHash('sha256').update(realpathSync(stateDir)).digest('hex').slice(0, 8);
    return `/run/caisson/${id}/${name}/pid`;
  }

  pidOf(stateDir: string, name: string): number {
    return Number(readFileSync(this.pidFile(stateDir, name), 'utf8').split(' ')[0]);
  }

  async until(condition: () => boolean, what: string): Promise<void> {
    const deadline = Date.now() + TIMEOUT_MS;
    while (!condition()) {
      if (Date.now() > deadline) throw new Error(`${what}: not within ${TIMEOUT_MS} ms`);
      await new Promise(resolve => setTimeout(resolve, 2));
    }
  }

  /** Any program. */
  spawn(command: string, args: readonly string[], options: StartOptions = {}): Running {
    const { stdin = 'null', stdout = 'pipe', env } = options;
    const given = typeof stdin === 'string' && ['null', 'pipe', 'inherit'].includes(stdin);
    const stream = stdin === 'null' ? 'ignore' : given || typeof stdin === 'number' ? stdin : 'pipe';
    const child = spawn(command, args, {
      stdio: [stream as 'pipe', stdout, 'pipe'],
      env: { ...process.env, ...env },
    });
    if (!given && typeof stdin !== 'number' && child.stdin !== null) {
      Readable.from(typeof stdin === 'string' ? [Buffer.from(stdin)] : [stdin]).pipe(child.stdin);
    }
    return this.follow(child);
  }

  follow(child: ChildProcess): Running {
    const running = new Running(child);
    this.running.add(running);
    return running;
  }

  /** `caisson …` as it is. */
  start(args: readonly string[], options: StartOptions = {}): Running {
    return this.spawn(process.execPath, [MAIN, ...args], options);
  }

  /** The words of `caisson run` for one program as PID 1. */
  words(program: readonly string[], options: RunOptions = {}): string[] {
    const { name = this.name(), state = this.state(), rootfs = this.rootfs, rm = true } = options;
    if (rm) this.throwAway(state, name);
    return [
      'run',
      ...(rm ? ['--rm'] : []),
      ...['--state', state, '--name', name],
      ...(rootfs === this.rootfs ? ['--ephemeral'] : []),
      ...(options.options ?? []),
      rootfs,
      ...(program.length === 0 ? [] : ['--', ...program]),
    ];
  }

  /** `caisson run …`, under way. */
  begin(program: readonly string[], options: RunOptions = {}): Running {
    return this.start(this.words(program, options), options);
  }

  /** `caisson run …`, to its end. */
  async run(program: readonly string[], options: RunOptions = {}): Promise<Finished> {
    return await this.begin(program, options).finished;
  }

  /** `caisson run … -- /bin/sh -c <script>`, to its end. */
  async sh(script: string, options: RunOptions = {}): Promise<Finished> {
    return await this.run(['/bin/sh', '-c', script], options);
  }

  async expectNothingLeft(): Promise<void> {
    expect(await settledDifference(this.baseline, QUICK), 'left behind on the machine').toBe('');
  }

  async setUp(): Promise<void> {
    this.dir = realpathSync(mkdtempSync('/var/tmp/caisson-e2e-'));
    this.rootfs = makeRootfs(join(this.dir, 'rootfs'), 'all');
    this.prepare(this.rootfs);
    await this.warmUp();
    this.base = snapshot();
  }

  begun(): void {
    this.baseline = snapshot(QUICK);
  }

  /** After each test: nothing runs on and nothing is left; what a failed test left is ended first, and told. */
  async reset(): Promise<void> {
    const left: string[] = [];
    for (const running of this.running) {
      if (running.ended) continue;
      left.push(`pid ${running.child.pid} still ran`);
      running.kill('SIGKILL');
      await running.finished.catch(() => undefined);
    }
    this.running.clear();
    const difference = await settledDifference(this.baseline, QUICK);
    for (const state of this.states.splice(0)) {
      if (difference !== '' && existsSync(state)) await sweep(state);
    }
    expect([...left, difference].join('\n'), 'left behind on the machine').toBe('');
  }

  async tearDown(): Promise<void> {
    try {
      if (this.base !== undefined) expect(await settledDifference(this.base), 'left behind by this file').toBe('');
    } finally {
      if (this.dir !== '') removeTree(this.dir);
    }
  }

  /** Descriptors that Node and koffi open once and keep belong to the snapshot before. */
  private async warmUp(): Promise<void> {
    await this.spawn('true', []).finished;
    const state = this.state();
    await sweep(state);
    this.states.length = 0;
    snapshot();
  }
}

/** Ends and removes every container of a state directory, also those whose supervisor has died. */
async function sweep(stateDir: string): Promise<void> {
  const supervisor = await Supervisor.open({ stateDir, threads: 1 });
  try {
    for (const container of supervisor.list()) {
      if (container.state !== 'stopped' && container.state !== 'failed') await container.kill();
      await supervisor.remove(container.name);
    }
  } finally {
    await supervisor.close();
  }
}

/** Not so for a zombie: whoever adopted it takes its time to reap it. */
export function isAlive(pid: number): boolean {
  if (!existsSync(`/proc/${pid}/stat`)) return false;
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  return stat.slice(stat.lastIndexOf(')') + 2)[0] !== 'Z';
}

/** Containers recorded in a state directory. */
export function recorded(stateDir: string): string[] {
  if (!existsSync(stateDir)) return [];
  return readdirSync(stateDir).filter(name => !name.startsWith('.') && !name.startsWith('run.'));
}

/** Two at a time: as many as the machine has processors to spare for. */
export async function inPairs<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  const queue = [...items];
  const worker = async (): Promise<void> => {
    for (let item = queue.shift(); item !== undefined; item = queue.shift()) await work(item);
  };
  await Promise.all([worker(), worker()]);
}

/** A rig for this test file: call it once, at the top. */
export function useCli(prepare?: (rootfs: string) => void): Cli {
  const cli = new Cli(prepare);
  beforeAll(() => cli.setUp());
  beforeEach(() => cli.begun());
  afterEach(() => cli.reset());
  afterAll(() => cli.tearDown());
  return cli;
}
