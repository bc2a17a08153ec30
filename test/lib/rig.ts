/**
 * A supervisor with a root file system for one test file, and the proof that the file left nothing behind: the
 * machine is compared after each test with what it was before, and once more after the supervisor has closed.
 */

import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, realpathSync, rmdirSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import {
  type CaissonError,
  type Container,
  type CreateInput,
  type EndOfLife,
  type HostFacts,
  Supervisor,
  type SupervisorOptions,
} from 'caisson';
import { afterAll, afterEach, beforeAll, beforeEach, expect } from 'vitest';
import { makeRootfs } from './rootfs.ts';
import { slow } from './slow.ts';
import { difference, own, ownCgroups, ownVolatile, type Snapshot, settledDifference, snapshot } from './snapshot.ts';

export type SpecInput = Exclude<CreateInput, { template: unknown }>;
export type Spec = Partial<SpecInput>;

export interface Ran {
  /** What it printed, with the terminal's CR LF turned back into LF. */
  readonly text: string;
  readonly lines: string[];
  readonly end: EndOfLife;
  readonly container: Container;
}

export interface RigOptions extends Partial<SupervisorOptions> {
  /** Changes the busybox tree before the first test. */
  readonly prepare?: (rootfs: string) => void;
}

const PAYLOAD_TIMEOUT_MS = slow(20_000);

export const MODES = ['unprivileged', 'privileged'] as const;
export type Mode = (typeof MODES)[number];

export class Rig {
  dir = '';
  rootfs = '';
  supervisor!: Supervisor;
  private base!: Snapshot;
  private baseline!: Snapshot;
  private readonly extra = new Set<Supervisor>();
  private count = 0;

  constructor(private readonly options: RigOptions) {}

  /** An empty directory of this file, removed with it. */
  directory(name: string): string {
    const path = join(this.dir, `${name}-${++this.count}`);
    mkdirSync(path, { mode: 0o755 });
    return path;
  }

  /** A state directory whose supervisor counts as ours, also when another process opens it. */
  stateDir(): string {
    const path = this.directory('state');
    own(path);
    return path;
  }

  /** A fresh busybox tree with the commands most used. */
  tree(): string {
    return makeRootfs(join(this.dir, `rootfs-${++this.count}`), 'few');
  }

  /** One more supervisor, closed after the test. */
  async open(options: Partial<SupervisorOptions> = {}): Promise<Supervisor> {
    const supervisor = await Supervisor.open({ stateDir: options.stateDir ?? this.stateDir(), ...options });
    own(supervisor.stateDir);
    this.extra.add(supervisor);
    return supervisor;
  }

  /** A supervisor on a host with other cgroups than this one. */
  async openWith(
    cgroups: Partial<HostFacts['cgroups']>,
    facts: Partial<HostFacts> = {},
    options: Partial<SupervisorOptions> = {},
  ): Promise<Supervisor> {
    const stateDir = this.stateDir();
    const prefix = `caisson-${own(stateDir)}`;
    const found = this.supervisor.facts.cgroups;
    return await this.open({ ...options, stateDir, facts: { ...facts, cgroups: { ...found, prefix, ...cgroups } } });
  }

  /** Closes a supervisor before the end of the test. */
  async close(supervisor: Supervisor): Promise<void> {
    this.extra.delete(supervisor);
    await supervisor.close();
  }

  /** Where a payload may write: the shared tree is below a layer that is thrown away. */
  spec(mode: Mode, spec: Spec = {}): SpecInput {
    return {
      name: `c${++this.count}`,
      rootfs: { path: this.rootfs, overlay: 'ephemeral' },
      ...(mode === 'privileged' ? { privileged: true } : {}),
      ...spec,
    };
  }

  create(spec: Spec & { mode?: Mode; supervisor?: Supervisor } = {}): Promise<Container> {
    const { mode = 'unprivileged', supervisor = this.supervisor, ...rest } = spec;
    return supervisor.create(this.spec(mode, rest));
  }

  /** Creates and starts. */
  async start(spec: Spec & { mode?: Mode; supervisor?: Supervisor } = {}): Promise<Container> {
    const container = await this.create(spec);
    await container.start();
    return container;
  }

  /** A container whose PID 1 is a shell that runs `script` (or `init` itself), run to its end. */
  async run(spec: Spec & { mode?: Mode; supervisor?: Supervisor; script?: string }): Promise<Ran> {
    const { script, ...rest } = spec;
    const container = await this.create(
      script === undefined ? rest : { init: '/bin/sh', args: ['-c', script], ...rest },
    );
    const from = container.console.end;
    await container.start();
    const end = await finish(container);
    const text = container.console.since(from).data.toString().replaceAll('\r\n', '\n');
    return { text, lines: text.split('\n').filter(Boolean), end, container };
  }

  /** Fails when the machine differs from what it was when this test began. */
  async expectNothingLeft(): Promise<void> {
    expect(await settledDifference(this.baseline), 'left behind on the machine').toBe('');
  }

  async setUp(): Promise<void> {
    this.dir = realpathSync(mkdtempSync('/var/tmp/caisson-test-'));
    this.rootfs = makeRootfs(join(this.dir, 'rootfs'), 'all');
    this.options.prepare?.(this.rootfs);
    await this.warmUp();
    await quiet();
    this.base = snapshot();
    const { prepare: _prepare, ...options } = this.options;
    this.supervisor = await Supervisor.open({ stateDir: this.stateDir(), ...options });
    await this.runOnce(this.supervisor);
    await quiet();
  }

  begin(): void {
    this.baseline = snapshot();
  }

  /** After each test: nothing runs on, and nothing is left. */
  async reset(): Promise<void> {
    for (const supervisor of [...this.extra]) {
      await removeAll(supervisor);
      await this.close(supervisor);
    }
    await removeAll(this.supervisor);
    await this.expectNothingLeft();
  }

  async tearDown(): Promise<void> {
    try {
      await this.supervisor?.close();
      if (this.base !== undefined) expect(await settledDifference(this.base), 'left behind by this test file').toBe('');
    } finally {
      // Only after a failure is there anything.
      try {
        await sweep();
      } finally {
        if (this.dir !== '') removeTree(this.dir);
      }
    }
  }

  /**
   * What is opened once and kept belongs to the snapshot before: libuv's signal pipe, koffi's library handles.
   */
  private async warmUp(): Promise<void> {
    const supervisor = await Supervisor.open({ stateDir: this.stateDir() });
    await this.runOnce(supervisor);
    await supervisor.close();
    snapshot();
  }

  private async runOnce(supervisor: Supervisor): Promise<void> {
    const container = await supervisor.create(this.spec('unprivileged', { init: '/bin/true' }));
    await container.start();
    await finish(container);
    await supervisor.remove(container.name);
  }
}

/** Waits until the worker threads, which open an epoll each as they come up, are all there. */
async function quiet(): Promise<void> {
  for (let before = snapshot(); ; ) {
    await new Promise(resolve => setTimeout(resolve, 100));
    const after = snapshot();
    if (difference(before, after) === '') return;
    before = after;
  }
}

/** Waits for the end of a life that is to end by itself; kills it and fails when it does not. */
export async function finish(container: Container, timeoutMs = PAYLOAD_TIMEOUT_MS): Promise<EndOfLife> {
  const late = Symbol('late');
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise<typeof late>(resolve => {
    timer = setTimeout(() => resolve(late), timeoutMs);
  });
  const end = await Promise.race([container.wait(), timeout]);
  clearTimeout(timer);
  if (end !== late) return end;
  const printed = container.console.history().toString();
  await container.kill();
  throw new Error(`${container.name} did not end within ${timeoutMs} ms; it printed:\n${printed}`);
}

/** Resolves with the console's text from `from` on (default: all that is kept) once it holds `wanted`. */
export async function waitForText(
  container: Container,
  wanted: string | RegExp,
  { timeoutMs = slow(10_000), from }: { timeoutMs?: number; from?: number } = {},
): Promise<string> {
  const signal = AbortSignal.timeout(timeoutMs);
  let text = '';
  for await (const { data } of container.console.read({ signal, ...(from === undefined ? {} : { from }) })) {
    text += data.toString();
    if (typeof wanted === 'string' ? text.includes(wanted) : wanted.test(text)) return text;
  }
  throw new Error(`the console of ${container.name} did not show ${wanted} within ${timeoutMs} ms, but:\n${text}`);
}

export async function until(condition: () => boolean, what: string, timeoutMs = slow(10_000)): Promise<void> {
  const deadline = Date.now() + timeoutMs;
  while (!condition()) {
    if (Date.now() > deadline) throw new Error(`${what}: not within ${timeoutMs} ms`);
    await new Promise(resolve => setTimeout(resolve, 5));
  }
}

async function removeAll(supervisor: Supervisor): Promise<void> {
  // A group would bring back what is killed; the youngest is the outermost.
  for (const group of supervisor.groups.toReversed()) {
    await group.stop().catch(() => undefined);
    await supervisor.removeGroup(group.name);
  }
  for (const container of supervisor.list()) {
    if (container.state !== 'stopped' && container.state !== 'failed') {
      // It may end by itself just now; whether it did is what follows.
      await container.kill().catch(() => undefined);
      await container.wait();
    }
    // A failed test may still be removing it.
    await supervisor.remove(container.name).catch((error: CaissonError) => {
      if (error.code !== 'CONTAINER_NOT_FOUND') throw error;
    });
  }
}

/** Ends and removes what failed tests have left in cgroups and volatile directories of these tests, by their ids. */
async function sweep(): Promise<void> {
  for (let attempt = 0; attempt < 100 && ownCgroups().length > 0; attempt++) {
    for (const path of ownCgroups().reverse()) {
      try {
        for (const pid of readFileSync(join(path, 'cgroup.procs'), 'utf8').split('\n').filter(Boolean)) {
          process.kill(Number(pid), 'SIGKILL');
        }
        rmdirSync(path);
      } catch (error) {
        // Ended or removed meanwhile, or still busy: the next attempt sees.
        if (!['ENOENT', 'ESRCH', 'EBUSY', 'ENODEV'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
      }
    }
    await new Promise(resolve => setTimeout(resolve, 20));
  }
  for (const path of ownVolatile()) {
    endKeepers(path);
    unmountSelf(path);
    removeTree(path);
  }
}

/** A supervisor that died before another could take over has left its keeper: by pid and start time, as it is recorded. */
export function endKeepers(volatile: string): void {
  const file = join(volatile, '.keeper');
  if (!existsSync(file)) return;
  for (const line of readFileSync(file, 'utf8').split('\n').filter(Boolean)) {
    const [pid = '', startTime] = line.split(' ');
    const stat = existsSync(`/proc/${pid}/stat`) ? readFileSync(`/proc/${pid}/stat`, 'utf8') : '';
    if (stat.includes(' (caisson-keeper) ') && stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] === startTime)
      process.kill(Number(pid), 'SIGKILL');
  }
}

/** A supervisor makes its volatile directory a mount of itself, so that it can be shared; nothing else of it is ours. */
function unmountSelf(path: string): void {
  const mounted = readFileSync('/proc/self/mountinfo', 'utf8').split('\n');
  if (mounted.some(line => line.split(' ')[4] === path)) execFileSync('umount', [path]);
}

/** Refuses to remove anything below which something is mounted. */
export function removeTree(path: string): void {
  const mounted = readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .filter(line => line.split(' ')[4]?.startsWith(path));
  if (mounted.length > 0)
    throw new Error(`${path} is not removed, since something is mounted there:\n${mounted.join('\n')}`);
  execFileSync('rm', ['-rf', '--one-file-system', path]);
}

/** A rig for this test file: call it once, at the top. */
export function useRig(options: RigOptions = {}): Rig {
  const rig = new Rig(options);
  beforeAll(() => rig.setUp());
  beforeEach(() => rig.begin());
  afterEach(() => rig.reset());
  afterAll(() => rig.tearDown());
  return rig;
}
