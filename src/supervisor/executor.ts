/** The machine's port for one container: what it decides is done here, by the workers. */
import { lstat, readFile } from 'node:fs/promises';
import { type Confidence, decodeExit, type ExitStatus } from '../machines/exit.js';
import type { ContainerPort, SignalOutcome, SignalPurpose } from '../machines/port.js';
import type { Phase } from '../machines/states.js';
import { type PlanNotice, START_PHASES } from '../plan/step.js';
import { compileFreeze, compileTeardown, frozenSign, oomFiles, traces } from '../plan/teardown.js';
import type { ContainerSpec } from '../spec/container.js';
import { CaissonError } from '../spec/errors.js';
import { signalName, signalNumber } from '../spec/signals.js';
import { exitInfo, poll, type RawExit, reap, sendSignal, zombieExit } from '../syscalls/process.js';
import { type Watch, watch } from '../syscalls/watch.js';
import type { Registers } from '../workers/context.js';
import type { PackedRecords } from '../workers/packed.js';
import { Progress } from '../workers/progress.js';
import { now } from '../workers/record.js';
import type { StartResult } from '../workers/start.js';
import type { Console } from './console.js';
import type { Host } from './host.js';

const SIGKILL = 9;

export interface ExecutorEvents {
  phase(phase: Phase, start: number, end: number): void;
  notice(notice: PlanNotice): void;
  exit(exit: ExitStatus): void;
}

interface StartUnderWay {
  readonly progress: Progress;
  readonly begun: number;
  readonly result: Promise<StartResult>;
}

/** Only ENOENT says that nothing is there. */
function isPresentError(error: NodeJS.ErrnoException): boolean {
  return error.code !== 'ENOENT';
}

export class Executor implements ContainerPort {
  private starting: StartUnderWay | undefined;
  private registers: Registers = {};
  private watching: Watch | undefined;
  private killed = false;
  /** The start under way is to be given up, also while it still clears up after the last life. */
  private cancelled = false;
  /** Something of the last life may be left: it could not be killed, or not all of it could be removed. */
  private unclean = false;
  /** The steps of the last start as they ended; what a rollback undid follows. */
  records: PackedRecords = new Uint32Array(0);
  /** What the last start told. */
  notices: readonly PlanNotice[] = [];

  constructor(
    private readonly host: Host,
    private readonly spec: ContainerSpec,
    private readonly runDir: string,
    private readonly console: Console,
    private readonly events: ExecutorEvents,
  ) {}

  /** PID 1 on the host, while there is one. */
  get pid(): number | undefined {
    return this.registers.pid;
  }

  async runPhase(phase: Phase): Promise<void> {
    const index = START_PHASES.indexOf(phase);
    if (index === 0) {
      this.cancelled = false;
      if (this.unclean) await this.clearLastLife();
      this.starting = this.begin();
      if (this.cancelled) this.starting.progress.cancel();
    }
    const { starting } = this;
    if (starting === undefined) throw new CaissonError('INTERNAL', `phase ${phase} without a start`);
    const last = index === START_PHASES.length - 1;
    if (!last) await starting.progress.after(index);
    if (last || starting.progress.done <= index) await this.finish(starting);
    this.events.phase(
      phase,
      index === 0 ? starting.begun : starting.progress.endOf(index - 1),
      starting.progress.endOf(index),
    );
  }

  cancelStart(): void {
    this.cancelled = true;
    this.starting?.progress.cancel();
  }

  watchPid1(): void {
    const pidfd = this.registers['fd:pidfd'];
    if (pidfd === undefined) return;
    this.watching = watch(pidfd, () => this.reaped(pidfd), { ref: true });
  }

  /** Takes over a PID 1 that an earlier supervisor started; its console went with that one. */
  adopt(pid: number, pidfd: number): void {
    this.registers = { pid, 'fd:pidfd': pidfd };
    this.watchPid1();
  }

  async signal(purpose: SignalPurpose): Promise<SignalOutcome> {
    const { pid, 'fd:pidfd': pidfd } = this.registers;
    if (pid === undefined || pidfd === undefined) return { sent: false, signal: 'none' };
    const name = this.spec.signals[purpose];
    const configured = name === null ? null : (signalNumber(name) ?? null);
    const { sent, signal } = await this.host.pool.signal({ pid, pidfd, purpose, configured });
    return { sent, signal: signalName(signal) };
  }

  async killAll(): Promise<void> {
    const pidfd = this.registers['fd:pidfd'];
    this.killed = true;
    this.unclean = true;
    // The kernel ends every other process of the pid namespace with its PID 1.
    if (pidfd !== undefined) sendSignal(pidfd, SIGKILL);
  }

  async teardown(): Promise<void> {
    this.unclean = true;
    this.release();
    const plan = compileTeardown(this.spec, this.host.facts, { runDir: this.runDir });
    const { registers } = this;
    this.registers = {};
    const result = await this.host.pool.execute({
      steps: plan.steps,
      registers,
      launch: null,
      faults: this.host.faults,
      mode: 'best-effort',
    });
    if (!result.ok) {
      // What is still open is closed by the next attempt; there is no PID 1 any more.
      const { pid: _pid, ...left } = result.registers;
      this.registers = left;
      throw new CaissonError(
        'CLEANUP_FAILED',
        `${result.cleanupErrors.length} of ${plan.steps.length} cleanup steps failed: ${result.cleanupErrors[0]?.message}`,
        { cleanupErrors: result.cleanupErrors },
      );
    }
    this.unclean = false;
  }

  freeze(): Promise<void> {
    return this.setFrozen(true);
  }

  thaw(): Promise<void> {
    return this.setFrozen(false);
  }

  /** Stops watching without touching the container; the descriptors stay open until `letGo`. */
  release(): void {
    this.watching?.close();
    this.watching = undefined;
    this.console.disconnect();
  }

  /** Closes every descriptor of a container that is to live on without this supervisor. */
  async letGo(): Promise<void> {
    this.release();
    const { registers } = this;
    this.registers = {};
    await this.host.pool.execute({
      steps: [
        {
          id: 'letgo',
          phase: 'teardown',
          executor: 'host',
          label: 'let go of the container',
          action: { op: 'close', registers: Object.keys(registers).filter(name => name !== 'pid') },
        },
      ],
      registers,
      launch: null,
      faults: {},
      mode: 'best-effort',
    });
  }

  /** True when an earlier supervisor, or a cleanup that failed, has left something of this container on the host. */
  async hasTraces(): Promise<boolean> {
    const paths = traces(this.spec, this.host.facts, { runDir: this.runDir });
    const found = await Promise.all(paths.map(path => lstat(path).then(() => true, isPresentError)));
    return found.includes(true);
  }

  /** True when an earlier supervisor left it frozen. */
  async isFrozen(): Promise<boolean> {
    const sign = frozenSign(this.spec, this.host.facts);
    if (sign === undefined) return false;
    const text = await readFile(sign.path, 'utf8').catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT') throw error;
      return '';
    });
    return text.includes(sign.text);
  }

  /** Tries again what the last cleanup could not do. */
  async tidy(): Promise<void> {
    if (this.unclean) await this.clearLastLife();
  }

  /** A new life needs the names of the last one. */
  private async clearLastLife(): Promise<void> {
    const pidfd = this.registers['fd:pidfd'];
    if (pidfd !== undefined && poll([pidfd], 0)[0] === 0) {
      throw new CaissonError('UNKILLABLE', `PID 1 of the last life (host pid ${this.pid}) is still alive`, {
        hint: 'it waits in the kernel for a device or a file server: see /proc/<pid>/stack',
      });
    }
    await this.teardown();
  }

  private begin(): StartUnderWay {
    const { host, spec, runDir } = this;
    const progress = new Progress();
    const arena = host.arenas.take(spec);
    this.killed = false;
    const begun = now();
    const result = host.pool
      .start(
        {
          spec,
          runDir,
          launch: { address: arena.address, size: arena.size },
          faults: host.faults,
          progress: progress.memory,
        },
        host.facts,
      )
      .then(outcome => {
        // A child that could not be killed may still run in this memory: then it is never used again.
        if (outcome.error?.cleanupErrors === undefined) host.arenas.give(arena);
        return outcome;
      })
      .finally(() => progress.finish());
    // Awaited in finish(); until then a rejection must not count as unhandled.
    result.catch(() => undefined);
    return { progress, begun, result };
  }

  /** The end of the whole start: takes over what it made, or throws why it failed. */
  private async finish(starting: StartUnderWay): Promise<void> {
    const { registers, records, notices, error } = await starting.result;
    for (const notice of notices) this.events.notice(notice);
    this.records = records;
    this.notices = notices;
    this.starting = undefined;
    if (error !== null) throw CaissonError.from(error);
    this.registers = registers;
    const master = registers['fd:console'];
    if (master !== undefined) this.console.connect(master);
  }

  private async setFrozen(frozen: boolean): Promise<void> {
    const plan = compileFreeze(this.spec, this.host.facts, frozen);
    const result = await this.host.pool.execute({
      steps: plan.steps,
      registers: {},
      launch: null,
      faults: this.host.faults,
      mode: 'all-or-nothing',
    });
    if (result.error !== null) throw CaissonError.from(result.error);
  }

  private reaped(pidfd: number): void {
    const raw = reap(pidfd);
    if (raw === undefined) return;
    this.watching?.close();
    this.watching = undefined;
    if (raw === 'not-a-child') this.endedElsewhere(pidfd);
    else this.ended(raw, 'exact');
  }

  /** An adopted PID 1 is reaped by the host's init: asked before that, it tells all; afterwards, not of a reboot. */
  private endedElsewhere(pidfd: number): void {
    const { pid } = this.registers;
    const zombie = pid === undefined ? undefined : zombieExit(pid, pidfd);
    if (zombie !== undefined) {
      this.ended(zombie, 'exact');
      return;
    }
    const told = exitInfo(pidfd);
    if (told === undefined) {
      this.events.exit({ kind: 'lost', confidence: 'inferred' });
      return;
    }
    const maybeReboot = told.code === 'killed' ? told.status === SIGKILL && !this.killed : told.status === 0;
    this.ended(told, maybeReboot ? 'inferred' : 'exact');
  }

  private ended(raw: RawExit, confidence: Confidence): void {
    const facts = { ...raw, killRequested: this.killed, confidence };
    if (raw.code !== 'killed' || raw.status !== SIGKILL || this.killed) {
      this.events.exit(decodeExit({ ...facts, oomKilled: false }));
      return;
    }
    this.host.pool.oomKills(oomFiles(this.spec, this.host.facts)).then(
      kills => this.events.exit(decodeExit({ ...facts, oomKilled: kills > 0 })),
      // Without the counter a SIGKILL of unknown origin is still what it is.
      () => this.events.exit(decodeExit({ ...facts, oomKilled: false })),
    );
  }
}
