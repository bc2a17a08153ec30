/** A container actor with a port whose promises the test settles by hand, and a clock it moves by hand. */
import { expect } from 'vitest';
import { createActor, SimulatedClock } from 'xstate';
import {
  adoptedSnapshot,
  type CommandOutcome,
  type ContainerEvent,
  type ContainerPort,
  canAccept,
  containerMachine,
  type MovedEvent,
  type SignalOutcome,
  type SignalPurpose,
  type TeardownTarget,
  type TimeoutEvent,
} from '#src/machines/container.js';
import { decodeExit, type ExitFacts, type ExitStatus } from '#src/machines/exit.js';
import { isMove, PHASES, type Phase, type StateName } from '#src/machines/states.js';
import { CaissonError } from '#src/spec/errors.js';

export type CallName = 'runPhase' | 'signal' | 'command' | 'killAll' | 'teardown' | 'freeze' | 'thaw';

export interface Call {
  readonly name: CallName;
  readonly detail: string;
  /** Begun after a cancel: may only be refused. */
  readonly cancelled: boolean;
  readonly abort: AbortSignal;
  readonly resolve: (value: SignalOutcome | CommandOutcome | undefined) => void;
  readonly reject: (error: unknown) => void;
}

/** Records every call; finds by itself what must never overlap. */
export class FakePort implements ContainerPort {
  readonly log: string[] = [];
  readonly violations: string[] = [];
  pending: Call[] = [];
  cancelled = false;
  watching = false;
  isSpent: ContainerPort['isSpent'] = () => false;

  private call<T = undefined>(name: CallName, detail: string, abort: AbortSignal): Promise<T | undefined> {
    this.log.push(detail === '' ? name : `${name}:${detail}`);
    const busy = this.pending.filter(other => !other.abort.aborted);
    // Work on the container's resources is exclusive; a signal may be sent anew while the old one is being dropped.
    if (busy.length > 0) this.violations.push(`${name} while ${busy.map(other => other.name).join()}`);
    if (this.pending.some(other => !['signal', 'command', 'killAll'].includes(other.name) && other.abort.aborted)) {
      this.violations.push(`${name} while an abandoned call is still at work`);
    }
    return new Promise((resolve, reject) => {
      const drop = () => {
        this.pending = this.pending.filter(other => other !== call);
      };
      const call: Call = {
        name,
        detail,
        cancelled: this.cancelled,
        abort,
        resolve: value => {
          drop();
          resolve(value as T | undefined);
        },
        reject: error => {
          drop();
          if (name === 'runPhase') this.cancelled = false;
          reject(error);
        },
      };
      this.pending.push(call);
    });
  }

  async runPhase(phase: Phase, signal: AbortSignal): Promise<void> {
    if (this.watching) this.violations.push(`runPhase ${phase} while PID 1 lives`);
    await this.call('runPhase', phase, signal);
  }
  cancelStart(): void {
    this.log.push('cancelStart');
    this.cancelled = true;
  }
  watchPid1(): void {
    this.log.push('watchPid1');
    this.cancelled = false;
    if (this.watching) this.violations.push('watchPid1 twice');
    this.watching = true;
  }
  async signal(purpose: SignalPurpose, signal: AbortSignal): Promise<SignalOutcome> {
    const outcome = await this.call<SignalOutcome>('signal', purpose, signal);
    return outcome ?? { sent: true, signal: 'SIGPWR' };
  }
  async command(purpose: SignalPurpose, signal: AbortSignal): Promise<CommandOutcome> {
    return (await this.call<CommandOutcome>('command', purpose, signal)) ?? { ran: true };
  }
  async killAll(signal: AbortSignal): Promise<void> {
    await this.call('killAll', '', signal);
  }
  async teardown(exit: ExitStatus, target: TeardownTarget, signal: AbortSignal): Promise<void> {
    if (this.watching) this.violations.push('teardown while PID 1 lives');
    await this.call('teardown', `${exit.kind}:${target}`, signal);
  }
  async freeze(signal: AbortSignal): Promise<void> {
    await this.call('freeze', '', signal);
  }
  async thaw(signal: AbortSignal): Promise<void> {
    await this.call('thaw', '', signal);
  }
}

export function exitOf(facts: Partial<ExitFacts> = {}): ExitStatus {
  return decodeExit({
    code: 'exited',
    status: 0,
    oomKilled: false,
    killRequested: false,
    confidence: 'exact',
    ...facts,
  });
}
export const EXIT_0 = exitOf();
export const EXIT_3 = exitOf({ status: 3 });
export const EXIT_REBOOT = exitOf({ code: 'killed', status: 1 });
export const EXIT_HALT = exitOf({ code: 'killed', status: 2 });
export const EXIT_KILLED = exitOf({ code: 'killed', status: 9, killRequested: true });
export const EXIT_SEGV = exitOf({ code: 'dumped', status: 11 });

export const boom = (message = 'boom') => new CaissonError('STEP_FAILED', message);
export const cancelledError = () => new CaissonError('CANCELLED', 'the start was cancelled');

/** Lets every promise that can settle settle, and the machine take what follows. */
export function flush(): Promise<void> {
  return new Promise(resolve => setImmediate(resolve));
}

export class Rig {
  readonly port = new FakePort();
  readonly clock = new SimulatedClock();
  readonly moves: MovedEvent[] = [];
  readonly timeouts: TimeoutEvent[] = [];
  readonly errors: unknown[] = [];
  readonly actor;

  constructor(at?: 'running' | 'frozen') {
    const input = { port: this.port };
    this.port.watching = at !== undefined;
    this.actor = createActor(containerMachine, {
      input,
      clock: this.clock,
      ...(at === undefined ? {} : { snapshot: adoptedSnapshot(input, at) }),
    });
    let state: StateName = at ?? 'stopped';
    this.actor.on('moved', move => {
      // Held in every test of this folder: LIF-01 and LIF-03.
      if (move.from !== state) this.port.violations.push(`chain broken: at ${state}, moved from ${move.from}`);
      if (!isMove(move.from, move.to)) this.port.violations.push(`no such move: ${move.from} to ${move.to}`);
      state = move.to;
      // A PID 1 given up as unkillable is nobody's any more; by the time of another start it has died.
      if (state === 'failed') this.port.watching = false;
      this.moves.push(move);
    });
    this.actor.on('timeout', timeout => this.timeouts.push(timeout));
    this.actor.subscribe({ error: error => this.errors.push(error) });
    this.actor.start();
  }

  get context() {
    return this.actor.getSnapshot().context;
  }

  /** `stopping.asking.waiting` */
  get value(): string {
    return flatten(this.actor.getSnapshot().value);
  }

  /** `stopped>creating>mounting` */
  get path(): string {
    return [this.moves[0]?.from, ...this.moves.map(move => move.to)].join('>');
  }

  get last(): MovedEvent {
    const move = this.moves.at(-1);
    if (move === undefined) throw new Error('nothing has moved yet');
    return move;
  }

  can(event: ContainerEvent): boolean {
    return canAccept(this.actor.getSnapshot(), event);
  }

  /** An event the machine must take; the effects of the port may follow. */
  async send(event: ContainerEvent): Promise<void> {
    expect(this.can(event), `${event.type} in ${this.value}`).toBe(true);
    this.deliver(event);
    await flush();
  }

  deliver(event: ContainerEvent): void {
    if (event.type === 'EXIT') this.port.watching = false;
    this.actor.send(event);
  }

  async exit(exit: ExitStatus): Promise<void> {
    await this.send({ type: 'EXIT', exit });
  }

  private take(name: CallName): Call {
    // Calls nobody waits for any more are not what a test means when it names one.
    const call = this.port.pending.find(other => other.name === name && !other.abort.aborted);
    if (call === undefined) throw new Error(`no ${name} is pending in ${this.value}: ${this.port.log.join(' ')}`);
    return call;
  }

  async ok(name: CallName, value?: SignalOutcome | CommandOutcome): Promise<void> {
    this.take(name).resolve(value);
    await flush();
  }

  async fail(name: CallName, error: unknown = boom()): Promise<void> {
    this.take(name).reject(error);
    await flush();
  }

  async advance(ms: number): Promise<void> {
    this.clock.increment(ms);
    await flush();
  }

  /** From `stopped` or `failed` through the given number of finished phases; all five end in `running`. */
  async start(phases: number = PHASES.length): Promise<void> {
    await this.send({ type: 'START' });
    for (let done = 0; done < phases; done += 1) await this.ok('runPhase');
  }

  check(): void {
    expect(this.port.violations).toEqual([]);
    expect(this.errors).toEqual([]);
    expect(this.context.at).toBe(this.value.split('.')[0]);
  }
}

export async function runningRig(): Promise<Rig> {
  const rig = new Rig();
  await rig.start();
  return rig;
}

export function flatten(value: unknown): string {
  if (typeof value === 'string') return value;
  return Object.entries(value as Record<string, unknown>)
    .map(([key, inner]) => `${key}.${flatten(inner)}`)
    .join();
}
