/** One container: what callers hold. It asks the machine, and tells what the machine did. */
import { EventEmitter } from 'eventemitter3';
import type { Logger } from 'pino';
import { type Actor, createActor } from 'xstate';
import {
  adoptedSnapshot,
  type ContainerEvent,
  type ContainerMachine,
  canAccept,
  containerMachine,
  type MovedEvent,
} from '../machines/container.js';
import { describe, type ExitStatus } from '../machines/exit.js';
import { actionOf, type StateName, statusOf } from '../machines/states.js';
import { compile } from '../plan/compile.js';
import type { Plan } from '../plan/step.js';
import type { ContainerSpec } from '../spec/container.js';
import { asCaissonError, CaissonError } from '../spec/errors.js';
import { Console } from './console.js';
import type { CaissonEvent, EventBody, EventLog } from './events.js';
import { Executor } from './executor.js';
import type { Host } from './host.js';
import { Operation, type OperationName, type Verdict } from './operation.js';
import { reportOf, type StartReport } from './report.js';
import { type TimelineEntry, timelineOf } from './timeline.js';

/** Default wait of stop() and reboot() before force, as in Incus (LIF-28), in milliseconds. */
export const DEFAULT_STOP_TIMEOUT = 600_000;

export interface StopOptions {
  /** Milliseconds PID 1 is given to end by itself; 0 kills at once. Default 600 000. */
  readonly timeout?: number;
  /** Kill at once. */
  readonly force?: boolean;
}

export interface RebootOptions {
  /** Milliseconds to wait for the guest's own reboot. Default 600 000. */
  readonly timeout?: number;
  /** After the timeout: kill and start again. */
  readonly force?: boolean;
}

/** How a life ended. */
export interface EndOfLife {
  readonly state: 'stopped' | 'failed';
  readonly exit: ExitStatus | null;
  /** SIGKILL was needed. */
  readonly forced: boolean;
}

export interface ContainerEvents {
  event: (event: CaissonEvent) => void;
  state: (event: Extract<CaissonEvent, { type: 'state' }>) => void;
  phase: (event: Extract<CaissonEvent, { type: 'phase' }>) => void;
}

export interface ContainerParts {
  readonly host: Host;
  readonly spec: ContainerSpec;
  readonly log: EventLog;
  readonly logger: Logger | null;
}

const ENDED: readonly StateName[] = ['stopped', 'failed'];

export class Container {
  readonly spec: ContainerSpec;
  /** The console of PID 1: readable and writable, always drained, the last bytes kept over restarts. */
  readonly console: Console;
  private readonly parts: ContainerParts;
  private readonly executor: Executor;
  private actor: Actor<ContainerMachine>;
  private emitter: EventEmitter<ContainerEvents> | undefined;
  private operation: Operation | undefined;
  private retired = false;
  private readonly waiters = new Set<(end: EndOfLife) => void>();

  constructor(parts: ContainerParts) {
    this.parts = parts;
    this.spec = parts.spec;
    this.console = new Console(parts.spec.console.ring);
    this.executor = new Executor(parts.host, parts.spec, this.runDir, this.console, {
      phase: (phase, start, end) => this.publish({ type: 'phase', phase, start, end }),
      notice: ({ code, message }) => this.publish({ type: 'notice', code, message }),
      exit: exit => this.actor.send({ type: 'EXIT', exit }),
    });
    this.actor = this.follow(createActor(containerMachine, { input: { port: this.executor } }));
  }

  get name(): string {
    return this.spec.name;
  }

  get state(): StateName {
    return this.actor.getSnapshot().context.at;
  }

  /** PID 1 as the host sees it, while there is one. */
  get pid(): number | undefined {
    return this.executor.pid;
  }

  /** How the last life ended. */
  get exit(): ExitStatus | undefined {
    return this.actor.getSnapshot().context.exit;
  }

  /** Why the container is `failed`, or what went wrong in the last operation. */
  get error(): CaissonError | undefined {
    return this.actor.getSnapshot().context.error;
  }

  /** How often it has come back by a reboot. */
  get restartCount(): number {
    return this.actor.getSnapshot().context.restartCount;
  }

  /** Volatile directory on the host. */
  get runDir(): string {
    return `${this.parts.host.runDir}/${this.parts.spec.name}`;
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
    return compile(this.spec, this.parts.host.facts, { runDir: this.runDir });
  }

  on<E extends keyof ContainerEvents>(event: E, listener: ContainerEvents[E]): () => void {
    this.emitter ??= new EventEmitter<ContainerEvents>();
    // biome-ignore lint/suspicious/noExplicitAny: eventemitter3 types a listener by a conditional type that a generic cannot satisfy
    const plain = listener as any;
    this.emitter.on(event, plain);
    return () => this.emitter?.off(event, plain);
  }

  /** Starts it. Resolves when PID 1 has been executed; a second call joins the first (LIF-02). */
  async start(): Promise<void> {
    if (this.operation?.name === 'start') {
      await this.operation.promise;
      return;
    }
    await this.request('start', { type: 'START' }, move => {
      if (move.to === 'running') return { done: move };
      return ENDED.includes(move.to) ? { error: this.failureOf(move) } : undefined;
    });
  }

  /** Asks PID 1 to halt, kills it after the timeout, and resolves when nothing of it is left. */
  async stop(options: StopOptions = {}): Promise<EndOfLife> {
    const { timeout = DEFAULT_STOP_TIMEOUT, force = false } = options;
    const event: ContainerEvent = { type: 'STOP', timeoutMs: timeout, force };
    return await this.end(event);
  }

  /** SIGKILL to PID 1, then cleanup. */
  async kill(): Promise<EndOfLife> {
    return await this.end({ type: 'KILL' });
  }

  /** Asks PID 1 to reboot; resolves when it runs again (LIF-31). @throws CaissonError TIMEOUT */
  async reboot(options: RebootOptions = {}): Promise<void> {
    const { timeout = DEFAULT_STOP_TIMEOUT, force = false } = options;
    await this.request('reboot', { type: 'REBOOT', timeoutMs: timeout, force }, move => {
      if (move.to === 'running' && move.from === 'network') return { done: move };
      if (move.to === 'failed' || (move.to === 'stopped' && move.restartWanted !== true))
        return { error: this.failureOf(move) };
      return undefined;
    });
  }

  /** Stop, then start. */
  async restart(options: StopOptions = {}): Promise<void> {
    if (!ENDED.includes(this.state)) await this.stop(options);
    await this.start();
  }

  async freeze(): Promise<void> {
    await this.request('freeze', { type: 'FREEZE' }, move => {
      if (move.to === 'frozen') return { done: move };
      return move.from === 'freezing' ? { error: this.failureOf(move) } : undefined;
    });
  }

  async unfreeze(): Promise<void> {
    await this.request('unfreeze', { type: 'UNFREEZE' }, move => {
      if (move.to === 'running') return { done: move };
      return move.from === 'thawing' ? { error: this.failureOf(move) } : undefined;
    });
  }

  /** Resolves with the end of the life under way; at once when there is none. */
  wait(): Promise<EndOfLife> {
    if (ENDED.includes(this.state)) return Promise.resolve(this.endOfLife());
    return new Promise(resolve => this.waiters.add(resolve));
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

  /** For the supervisor: takes over a PID 1 found alive. */
  async adopt(pid: number, pidfd: number): Promise<void> {
    const input = { port: this.executor };
    const at = (await this.executor.isFrozen()) ? 'frozen' : 'running';
    this.actor.stop();
    this.actor = this.follow(createActor(containerMachine, { input, snapshot: adoptedSnapshot(input, at) }));
    this.executor.adopt(pid, pidfd);
    this.publish({
      type: 'notice',
      code: 'adopted',
      message: `PID 1 (host pid ${pid}) was found alive; its console output until now is lost`,
    });
  }

  /** For the supervisor: removes what an earlier one may have left; what it cannot is tried again by the next start. */
  async sweep(): Promise<void> {
    try {
      if (await this.executor.hasTraces()) await this.executor.teardown();
    } catch (error) {
      this.publish({ type: 'notice', code: 'cleanup-failed', message: asCaissonError(error).message });
    }
  }

  /** For the supervisor: from now on nothing can be done with it; false takes that back. */
  retire(retired: boolean): void {
    this.retired = retired;
  }

  /** For the supervisor: nothing of it may be left on the host. @throws CaissonError CLEANUP_FAILED, UNKILLABLE */
  async tidy(): Promise<void> {
    await this.executor.tidy();
  }

  /** Settles when no operation is under way; its outcome is its caller's. */
  async settled(): Promise<void> {
    await this.operation?.promise.catch(() => undefined);
  }

  /** For the supervisor: forgets this container without touching it. */
  async letGo(): Promise<void> {
    this.actor.stop();
    this.operation?.fail(new CaissonError('CLOSED', 'the supervisor was closed'));
    await this.executor.letGo();
  }

  private follow(actor: Actor<ContainerMachine>): Actor<ContainerMachine> {
    actor.on('moved', move => this.moved(move));
    actor.on('timeout', event => {
      if (this.operation?.timedOut(event) === true) this.operation = undefined;
    });
    actor.start();
    return actor;
  }

  private async end(event: ContainerEvent): Promise<EndOfLife> {
    const { operation } = this;
    const snapshot = this.actor.getSnapshot();
    if (operation?.name === 'stop') {
      // The same request, or a stronger one: it escalates what is under way.
      if (canAccept(snapshot, event)) this.actor.send(event);
      await operation.promise;
      return this.endOfLife();
    }
    // A stop cancels a start, and outranks a reboot or a freeze: their callers learn it from the moves that follow.
    if (operation !== undefined && canAccept(snapshot, event)) {
      const ended = this.wait();
      this.actor.send(event);
      return await ended;
    }
    const move = await this.request('stop', event, move => {
      if (move.to === 'stopped') return { done: move };
      if (move.to !== 'failed') return undefined;
      // A crash while stopping is still an end; what is not is a cleanup that left something behind.
      return move.error !== undefined && move.error.code !== 'CANCELLED' ? { error: move.error } : { done: move };
    });
    return this.endOfLife(move);
  }

  private async request(
    name: OperationName,
    event: ContainerEvent,
    judge: (move: MovedEvent) => Verdict,
  ): Promise<MovedEvent> {
    if (this.retired) throw new CaissonError('CONTAINER_NOT_FOUND', `container ${this.name} has been removed`);
    if (this.operation !== undefined) {
      throw new CaissonError('BUSY', `${this.name}: ${name} refused while ${this.operation.name} is under way`, {
        hint: 'wait for it, or stop the container',
      });
    }
    if (!canAccept(this.actor.getSnapshot(), event)) {
      throw new CaissonError('INVALID_TRANSITION', `${this.name}: ${name} is not possible while ${this.state}`, {
        field: 'state',
      });
    }
    const operation = new Operation(name, judge);
    this.operation = operation;
    this.actor.send(event);
    return await operation.promise;
  }

  private moved(move: MovedEvent): void {
    const action = actionOf(move);
    this.publish({
      type: 'state',
      from: move.from,
      to: move.to,
      reason: move.reason,
      initiator: move.initiator,
      ...(action === undefined ? {} : { action }),
      ...(move.exit === undefined ? {} : { exit: move.exit }),
      ...(move.error === undefined ? {} : { error: move.error.toJSON() }),
    });
    if (this.operation?.moved(move) === true) this.operation = undefined;
    if (!ENDED.includes(move.to)) return;
    // The event comes in the middle of the transition: what follows waits until the machine is where it says.
    queueMicrotask(() => {
      if (move.restartWanted === true) this.actor.send({ type: 'START' });
      const end = this.endOfLife(move);
      for (const waiter of this.waiters) waiter(end);
      this.waiters.clear();
    });
  }

  private endOfLife(move?: MovedEvent): EndOfLife {
    const { context } = this.actor.getSnapshot();
    const state = move?.to ?? context.at;
    return {
      state: state === 'failed' ? 'failed' : 'stopped',
      exit: move?.exit ?? context.exit ?? null,
      forced: context.forced,
    };
  }

  private failureOf(move: MovedEvent): CaissonError {
    if (move.error !== undefined) return move.error;
    const overtaken = move.reason === 'kill' || move.reason === 'stop';
    if (move.exit !== undefined && !overtaken)
      return new CaissonError('PAYLOAD_FAILED', `${this.name}: PID 1 ${describe(move.exit)}`);
    return new CaissonError('CANCELLED', `${this.name} became ${move.to} (${move.reason})`);
  }

  private publish(body: EventBody): void {
    const event = this.parts.log.append(this.name, body);
    this.parts.logger?.info({ container: this.name, ...body }, body.type);
    this.emitter?.emit('event', event);
    if (event.type === 'state') this.emitter?.emit('state', event);
    if (event.type === 'phase') this.emitter?.emit('phase', event);
  }
}
