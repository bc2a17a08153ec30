/** One container: what callers hold. It asks the machine, and tells what the machine did. */
import type { Logger } from 'pino';
import { describe, type ExitStatus } from '../machines/exit.js';
import { type StateName, statusOf } from '../machines/states.js';
import { type Assigned, compile } from '../plan/compile.js';
import type { Plan } from '../plan/step.js';
import type { ContainerSpec } from '../spec/container.js';
import { asCaissonError, type CaissonError } from '../spec/errors.js';
import { Announcer, type ContainerEvents } from './announcer.js';
import { Console } from './console.js';
import type { EventLog } from './events.js';
import { Executor } from './executor.js';
import type { Host } from './host.js';
import { Lifecycle } from './lifecycle.js';
import { type MountOptions, planOfMount, planOfUnmount } from './mounts.js';
import { hasTraces, isFrozen } from './remains.js';
import { reportOf, type StartReport } from './report.js';
import type { EndOfLife, RebootOptions, StopOptions } from './requests.js';
import { type TimelineEntry, timelineOf } from './timeline.js';

export interface ContainerParts {
  readonly host: Host;
  readonly spec: ContainerSpec;
  readonly assigned: Assigned;
  readonly log: EventLog;
  readonly logger: Logger | null;
}

export class Container {
  readonly spec: ContainerSpec;
  /** The console of PID 1: readable and writable, always drained, the last bytes kept over restarts. */
  readonly console: Console;
  private readonly parts: ContainerParts;
  private readonly executor: Executor;
  private readonly lifecycle: Lifecycle;
  private readonly announcer: Announcer;

  constructor(parts: ContainerParts) {
    this.parts = parts;
    this.spec = parts.spec;
    this.announcer = new Announcer(this.name, parts.log, parts.logger);
    this.console = new Console(parts.spec.console.ring);
    this.executor = new Executor(parts.host, parts.spec, parts.assigned, this.console, {
      phase: (phase, start, end) => this.announcer.publish({ type: 'phase', phase, start, end }),
      notice: ({ code, message }) => this.announcer.publish({ type: 'notice', code, message }),
      exit: exit => this.lifecycle.exited(exit),
    });
    this.lifecycle = new Lifecycle(this.name, this.executor, move => this.announcer.moved(move));
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

  /** How the last life ended. */
  get exit(): ExitStatus | undefined {
    return this.lifecycle.context.exit;
  }

  /** Why the container is `failed`, or what went wrong in the last operation. */
  get error(): CaissonError | undefined {
    return this.lifecycle.context.error;
  }

  /** How often it has come back by a reboot. */
  get restartCount(): number {
    return this.lifecycle.context.restartCount;
  }

  /** Volatile directory on the host. */
  get runDir(): string {
    return this.parts.assigned.runDir;
  }

  /** Each step of the last start with its times, in ns from the start call. */
  timeline(): TimelineEntry[] {
    return timelineOf(this.plan(), this.executor.records);
  }

  /** What the last start did without, or did otherwise than asked, and why. */
  report(): StartReport {
    return reportOf(this.plan(), this.executor.records, this.executor.notices);
  }

  /** What a start would do. @throws CaissonError when this host cannot run this spec. */
  plan(): Plan {
    return compile(this.spec, this.parts.host.facts, this.parts.assigned);
  }

  /** Calls `listener` for each event of that kind; returns what ends that. */
  on<E extends keyof ContainerEvents>(event: E, listener: ContainerEvents[E]): () => void {
    return this.announcer.on(event, listener);
  }

  /** Starts it. Resolves when PID 1 has been executed; a second call joins the first (LIF-02). */
  start(): Promise<void> {
    return this.lifecycle.start();
  }

  /** Asks PID 1 to halt, kills it after the timeout, and resolves when nothing of it is left. */
  stop(options: StopOptions = {}): Promise<EndOfLife> {
    return this.lifecycle.stop(options);
  }

  /** SIGKILL to PID 1, then cleanup. */
  kill(): Promise<EndOfLife> {
    return this.lifecycle.kill();
  }

  /** Asks PID 1 to reboot; resolves when it runs again (LIF-31). @throws CaissonError TIMEOUT */
  reboot(options: RebootOptions = {}): Promise<void> {
    return this.lifecycle.reboot(options);
  }

  /** Stop, then start. */
  restart(options: StopOptions = {}): Promise<void> {
    return this.lifecycle.restart(options);
  }

  freeze(): Promise<void> {
    return this.lifecycle.freeze();
  }

  unfreeze(): Promise<void> {
    return this.lifecycle.unfreeze();
  }

  /** Resolves with the end of the life under way; at once when there is none. */
  wait(): Promise<EndOfLife> {
    return this.lifecycle.wait();
  }

  /** What is, as plain data. */
  toJSON(): Record<string, unknown> {
    const { state, pid, exit, error, restartCount } = this;
    const { name, code } = statusOf(state);
    return {
      name: this.name,
      state,
      status: { name, code },
      pid: pid ?? null,
      restartCount,
      exit: exit === undefined ? null : { ...exit, text: describe(exit) },
      error: error?.toJSON() ?? null,
      spec: this.spec,
    };
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

  /** For the supervisor: takes over a PID 1 found alive. */
  async adopt(pid: number, pidfd: number): Promise<void> {
    this.lifecycle.adopt((await isFrozen(this.spec, this.parts.host.facts)) ? 'frozen' : 'running');
    this.executor.adopt(pid, pidfd);
    this.announcer.publish({
      type: 'notice',
      code: 'adopted',
      message: `PID 1 (host pid ${pid}) was found alive; its console output until now is lost`,
    });
  }

  /** For the supervisor: removes what an earlier one may have left; what it cannot is tried again by the next start. */
  async sweep(): Promise<void> {
    try {
      if (await hasTraces(this.spec, this.parts.host.facts, this.runDir)) await this.executor.teardown();
    } catch (error) {
      this.announcer.publish({ type: 'notice', code: 'cleanup-failed', message: asCaissonError(error).message });
    }
  }

  /** For the supervisor: from now on nothing can be done with it; false takes that back. */
  retire(retired: boolean): void {
    this.lifecycle.retire(retired);
  }

  /** For the supervisor: nothing of it may be left on the host. @throws CaissonError CLEANUP_FAILED, UNKILLABLE */
  async tidy(): Promise<void> {
    await this.executor.tidy();
  }

  /** Settles when no operation is under way; its outcome is its caller's. */
  settled(): Promise<void> {
    return this.lifecycle.settled();
  }

  /** For the supervisor: forgets this container without touching it. */
  async letGo(): Promise<void> {
    this.lifecycle.letGo();
    await this.executor.letGo();
  }
}
