/** One container: what callers hold. It asks the machine, and tells what the machine did. */
import type { Logger } from 'pino';
import type { MovedEvent } from '../machines/container.js';
import { describe, type ExitStatus } from '../machines/exit.js';
import type { Health } from '../machines/probing.js';
import { hasEnded, type StateName, statusOf } from '../machines/states.js';
import { type Assigned, compile } from '../plan/compile.js';
import { withoutValues } from '../plan/explain.js';
import type { Plan } from '../plan/step.js';
import type { ContainerSpec } from '../spec/container.js';
import { asCaissonError, CaissonError } from '../spec/errors.js';
import type { NotifyState } from '../spec/notify.js';
import type { ContainerStats } from '../spec/stats/types.js';
import { Announcer, type ContainerEvents } from './announcer.js';
import { Console, type ConsoleChunk } from './console.js';
import { type LogsOptions, readLogs } from './console-log/reader.js';
import { Recorder } from './console-log/recorder.js';
import { lastBytes, Segments } from './console-log/segments.js';
import { Custody } from './custody.js';
import type { EventLog } from './events.js';
import type { ExecProcess } from './exec.js';
import type { ExecOptions } from './exec-options.js';
import { Executor } from './executor.js';
import { inHindsight } from './hindsight.js';
import type { Host } from './host.js';
import { Keeping, type Warning } from './keeping.js';
import { type LastStart, LifeKeeper, type LifeRecord } from './life.js';
import { Lifecycle } from './lifecycle.js';
import { type MountOptions, planOfMount, planOfUnmount } from './mounts.js';
import { Readiness, type StartOptions } from './readiness.js';
import { reportOf, type StartReport } from './report.js';
import { type EndOfLife, endedEarly, type RebootOptions, type StopOptions } from './requests.js';
import type { PendingRestart } from './restarter.js';
import { collect, type StatsOptions } from './stats.js';
import { Syslog, type SyslogMessage } from './syslog.js';
import { type TimelineEntry, timelineOf } from './timeline.js';
import { type ContainerUpdate, Updates } from './update.js';

export interface ContainerParts {
  readonly host: Host;
  /** Replaced by an update. */
  spec: ContainerSpec;
  readonly assigned: Assigned;
  readonly log: EventLog;
  readonly logger: Logger | null;
  /** Removes the container. */
  readonly remove: () => Promise<void>;
}

export class Container {
  /** The console of PID 1: readable and writable, always drained, the last bytes kept over restarts. */
  readonly console: Console;
  /** Terminals for logins, as many as `ttys` in the spec says: `pts/1` and so on inside. Each is a console, too. */
  readonly ttys: readonly Console[];
  /** For the supervisor. */
  readonly custody: Custody;
  private readonly parts: ContainerParts;
  private readonly executor: Executor;
  private readonly lifecycle: Lifecycle;
  private readonly announcer: Announcer;
  private readonly readiness: Readiness;
  private readonly log: Syslog;
  private readonly life: LifeKeeper;
  private readonly updates: Updates;
  /** Of the last life as an earlier supervisor has written it down; until this one starts it. */
  private earlier: LifeRecord | undefined;
  /** When the last start of this supervisor began, ms since the epoch. */
  private started: number | undefined;
  private readonly keeping: Keeping;
  private readonly logFiles: Segments;

  constructor(parts: ContainerParts) {
    this.parts = parts;
    this.announcer = new Announcer(this.name, parts.log, parts.logger, notice => this.life.noted(notice));
    this.life = new LifeKeeper({
      directory: parts.assigned.dir,
      record: () => this.record(),
      failed: ({ message }) => this.announcer.publish({ type: 'notice', code: 'record-not-written', message }),
    });
    this.logFiles = new Segments(parts.assigned.dir);
    const { log } = parts.spec.console;
    const recorder =
      log === false
        ? null
        : new Recorder(this.logFiles, log, {
            hold: registers => this.executor.hold(registers),
            notice: message => this.announcer.publish({ type: 'notice', code: 'console-log', message }),
          });
    this.console = new Console(parts.spec.console.ring, recorder);
    this.ttys = Array.from({ length: parts.spec.ttys }, () => new Console(parts.spec.console.ring));
    this.readiness = new Readiness(body => this.announcer.publish(body));
    this.log = new Syslog(({ time: _time, ...message }, untold) =>
      this.announcer.publish({ type: 'syslog', ...message, untold }),
    );
    this.executor = new Executor(
      parts.host,
      parts.spec,
      parts.assigned,
      this.console,
      this.ttys,
      this.readiness,
      this.log,
      {
        phase: (phase, start, end) => this.announcer.publish({ type: 'phase', phase, start, end }),
        notice: ({ code, message }) => this.announcer.publish({ type: 'notice', code, message }),
        oom: (killed, total) => this.announcer.publish({ type: 'oom', killed, total }),
        exit: exit => this.lifecycle.exited(exit),
        isSpent: exit => this.keeping.restarter.isSpent(exit),
      },
    );
    this.keeping = new Keeping(parts, this.announcer, () => this.lifecycle, {
      look: rules => this.executor.look(rules),
      ready: () => this.readiness.found(),
    });
    this.updates = new Updates({
      name: this.name,
      directory: parts.assigned.dir,
      facts: parts.host.facts,
      state: () => this.state,
      isGone: () => this.custody.retired,
      spec: () => this.spec,
      adopt: spec => {
        parts.spec = spec;
        this.executor.spec = spec;
      },
      change: plan => this.executor.change(plan),
    });
    this.lifecycle = new Lifecycle(this.name, this.executor, move => this.moved(move));
    this.custody = new Custody(
      parts,
      this.lifecycle,
      this.executor,
      this.readiness,
      this.keeping,
      this.announcer,
      () => this.recallConsole(),
      {
        keeper: this.life,
        remember: record => {
          const known = inHindsight(record, parts.log.before.get(this.name));
          this.earlier = known;
          this.life.resume(known?.notices ?? []);
          if (known !== record) this.life.changed();
        },
      },
    );
  }

  /** As it is now, with every default filled in. */
  get spec(): ContainerSpec {
    return this.parts.spec;
  }

  get name(): string {
    return this.spec.name;
  }

  get state(): StateName {
    return this.lifecycle.context.at;
  }

  /** PID 1 as the host sees it, while there is one. */
  get pid(): number | undefined {
    return this.executor.pid;
  }

  /** True from the moment PID 1 has reported that it is up until it says that it stops, or ends (LIF-36). */
  get ready(): boolean {
    return this.readiness.state.ready;
  }

  /** What PID 1 has told its manager in this life: the last value of each field, and the last STATUS. */
  get notify(): NotifyState {
    return this.readiness.state;
  }

  /**
   * The last messages that programs inside have sent to /dev/log, oldest first (syslog(3)); of this life, and of those
   * before it under this supervisor. None, while a syslogd or journald of the container takes them.
   */
  get syslog(): readonly SyslogMessage[] {
    return this.log.messages;
  }

  /** How the last life ended. */
  get exit(): ExitStatus | undefined {
    return this.lifecycle.context.exit ?? this.earlier?.exit ?? undefined;
  }

  /** Why the container is `failed`, or what went wrong in the last operation. */
  get error(): CaissonError | undefined {
    const { context } = this.lifecycle;
    return context.error ?? (this.earlier?.error ? CaissonError.from(this.earlier.error) : undefined);
  }

  /** The restart that is due, after an end that its restart policy answers with one. */
  get restarting(): PendingRestart | undefined {
    return this.keeping.restarter.pending;
  }

  /** What its health check says while it runs; undefined without one. */
  get health(): Health | undefined {
    return this.keeping.vitals.health;
  }

  /** What somebody should look after: kept until it runs again. */
  get warnings(): Warning[] {
    return this.keeping.warnings;
  }

  /** How often it has come back, by a reboot or by its restart policy. */
  get restartCount(): number {
    return this.lifecycle.context.restartCount;
  }

  /** Volatile directory on the host. */
  get runDir(): string {
    return this.parts.assigned.runDir;
  }

  /** Each step of the last start with its times, in ns from the start call. */
  timeline(): TimelineEntry[] {
    if (this.started === undefined) return [...(this.earlier?.start?.timeline ?? [])];
    return timelineOf(this.lastPlan(), this.executor.records);
  }

  /** What the last start did without, or did otherwise than asked, and why. */
  report(): StartReport {
    if (this.started === undefined && this.earlier?.start) return this.earlier.start.report;
    return reportOf(this.lastPlan(), this.executor.records, this.executor.notices);
  }

  /** What a start would do. @throws CaissonError when this host cannot run this spec. */
  plan(): Plan {
    const { facts, lxcfs } = this.parts.host;
    return compile(this.spec, { ...facts, lxcfs: lxcfs.facts }, this.parts.assigned);
  }

  /** Calls `listener` for each event of that kind; returns what ends that. */
  on<E extends keyof ContainerEvents>(event: E, listener: ContainerEvents[E]): () => void {
    return this.announcer.on(event, listener);
  }

  /**
   * Starts it. Resolves when PID 1 has been executed, or with `waitReady` when it is up; a second call joins the first
   * (LIF-02, LIF-39).
   */
  async start({ waitReady = false, timeout }: StartOptions = {}): Promise<void> {
    if (waitReady && this.spec.ready === 'none') {
      throw new CaissonError('SPEC_INVALID', `${this.name}: nothing will report that it is up`, {
        field: 'ready',
        hint: 'set ready in the spec: to notify for an init that knows sd_notify, or to a probe',
      });
    }
    const begun = performance.now();
    await this.lifecycle.start();
    const left = timeout === undefined ? undefined : Math.max(0, timeout - (performance.now() - begun));
    if (waitReady) await this.readiness.wait(left);
  }

  /** Asks PID 1 to halt, kills it after the timeout, and resolves when nothing of it is left. */
  stop(options: StopOptions = {}): Promise<EndOfLife> {
    return this.keeping.end(() => this.lifecycle.stop(options));
  }

  /** SIGKILL to PID 1, then cleanup. */
  kill(): Promise<EndOfLife> {
    return this.keeping.end(() => this.lifecycle.kill());
  }

  /** Asks PID 1 to reboot; resolves when it runs again (LIF-31). @throws CaissonError TIMEOUT */
  reboot(options: RebootOptions = {}): Promise<void> {
    return this.lifecycle.reboot(options);
  }

  /** Stop, then start. */
  restart(options: StopOptions = {}): Promise<void> {
    return this.keeping.restart(() => this.lifecycle.restart(options));
  }

  freeze(): Promise<void> {
    return this.lifecycle.freeze();
  }

  unfreeze(): Promise<void> {
    return this.lifecycle.unfreeze();
  }

  /**
   * Resolves with the end of the life under way; at once when there is none. The container does not notice `signal`.
   * @throws CaissonError CANCELLED when `signal` aborts
   */
  wait({ signal }: { signal?: AbortSignal } = {}): Promise<EndOfLife> {
    return this.lifecycle.wait(signal);
  }

  /**
   * What its console has printed, as far as it is kept on disk: over restarts and supervisors, by the same offsets as
   * `console`. Ends with the newest byte, unless `follow` is set.
   * @throws CaissonError SPEC_INVALID
   */
  logs(options: LogsOptions = {}): AsyncGenerator<ConsoleChunk, void, void> {
    return readLogs(this.logFiles, options, this.console);
  }

  private async recallConsole(): Promise<void> {
    const { log, ring } = this.spec.console;
    if (log === false) return;
    try {
      const { end, data } = await lastBytes(this.logFiles, ring);
      this.console.recall(end, data);
    } catch (error) {
      // A log that cannot be read must not keep anything from being supervised.
      const message = `what was recorded of the console cannot be read: ${asCaissonError(error).message}`;
      this.announcer.publish({ type: 'notice', code: 'console-log', message });
    }
  }

  /** What is, as plain data. */
  toJSON(): Record<string, unknown> {
    const { state, pid, exit, error, restartCount, restarting, ready, warnings } = this;
    const { name, code } = statusOf(state, { ready });
    return {
      name: this.name,
      state,
      status: { name, code },
      ready,
      notify: this.notify.fields,
      pid: pid ?? null,
      restartCount,
      restarting: restarting ?? null,
      warnings,
      health: this.health ?? null,
      exit: exit === undefined ? null : { ...exit, text: describe(exit) },
      error: error?.toJSON() ?? null,
      spec: { ...this.spec, credentials: withoutValues(this.spec.credentials) },
    };
  }

  /**
   * Runs a program in the running container, with all restrictions of PID 1. Resolves when it has been executed. A name
   * without a slash is looked up in PATH.
   * @throws CaissonError SPEC_INVALID, EXEC_FAILED, CANCELLED, TIMEOUT; INVALID_TRANSITION when it does not run or is
   * frozen (LIF-35).
   */
  async exec(argv: readonly string[], options: ExecOptions = {}): Promise<ExecProcess> {
    if (this.state !== 'running') {
      throw new CaissonError('INVALID_TRANSITION', `${this.name}: exec is not possible while ${this.state}`, {
        field: 'state',
      });
    }
    return await this.executor.exec(argv, options);
  }

  /**
   * Mounts a directory or file of the host in the running container.
   * @throws CaissonError MOUNT_TARGET_REFUSED, SPEC_INVALID, INVALID_TRANSITION when it does not run.
   */
  async addMount(options: MountOptions): Promise<void> {
    await this.executor.change(planOfMount(this.spec, options));
  }

  /** Takes such a mount away, even while it is in use: its users keep what they have open. */
  async removeMount(target: string): Promise<void> {
    await this.executor.change(planOfUnmount(this.spec, target));
  }

  /**
   * Changes what can be changed of its spec, for good and, where it runs, at once: `limits` and `credentials`, each of
   * which replaces all that it has of them. A value that is refused changes nothing.
   * @throws CaissonError SPEC_INVALID, MOUNT_TARGET_REFUSED, CONTAINER_NOT_FOUND, INVALID_TRANSITION between its states
   */
  update(changes: ContainerUpdate): Promise<void> {
    return this.updates.apply(changes);
  }

  /**
   * What it uses.
   * @throws CaissonError INVALID_TRANSITION when it does not run
   */
  async stats(options: StatsOptions = {}): Promise<ContainerStats> {
    const [stats] = await collect(this.parts.host, [this.custody.subject], options);
    if (stats !== undefined) return stats;
    throw new CaissonError('INVALID_TRANSITION', `${this.name} does not run`, { field: 'state' });
  }

  /** The plan of the last start: an update may have changed what the next one will do. */
  private lastPlan(): Plan {
    return compile(
      this.executor.started ?? this.spec,
      { ...this.parts.host.facts, lxcfs: this.executor.lxcfs },
      this.parts.assigned,
    );
  }

  private moved(move: MovedEvent): void {
    if (move.to === 'creating') {
      this.started = Date.now();
      this.earlier = undefined;
      this.life.begin();
    }
    // Of a life that was taken over, only its start: how it ends is known now.
    if (hasEnded(move.to) && this.earlier) this.earlier = { ...this.earlier, state: move.to, exit: null, error: null };
    this.announcer.moved(move);
    this.keeping.moved(move);
    if (hasEnded(move.to)) this.readiness.giveUp(endedEarly(this.name, move));
    if (hasEnded(move.to) || move.to === 'running') this.life.changed();
  }

  private record(): Omit<LifeRecord, 'version' | 'notices'> {
    const { state, exit, error, restartCount, started } = this;
    const start: LastStart | null =
      started === undefined
        ? (this.earlier?.start ?? null)
        : { time: started, report: this.report(), timeline: this.timeline() };
    const seq = this.parts.log.lastingSeq;
    return {
      // The machine begins with `stopped`, however the last life has ended.
      state: this.earlier !== undefined && hasEnded(state) ? this.earlier.state : state,
      exit: exit ?? null,
      error: error?.toJSON() ?? null,
      restartCount,
      start,
      ...(seq === undefined ? {} : { seq }),
    };
  }
}
