/** The life of one container as its callers see it: what they ask goes to the machine, what it does answers them. */
import { type Actor, createActor } from 'xstate';
import {
  adoptedSnapshot,
  type ContainerEvent,
  type ContainerMachine,
  canAccept,
  containerMachine,
  type MovedEvent,
} from '../machines/container.js';
import type { ExitStatus } from '../machines/exit.js';
import type { Command } from '../machines/intent.js';
import type { ContainerPort } from '../machines/port.js';
import { hasEnded } from '../machines/states.js';
import { CaissonError } from '../spec/errors.js';
import { Operation } from './operation.js';
import {
  type EndOfLife,
  JUDGES,
  type RebootOptions,
  type RequestName,
  rebootRequest,
  type StopOptions,
  stopRequest,
} from './requests.js';

/** Who starts it, and whether that counts as a restart. */
export interface StartCommand extends Command {
  readonly again?: boolean;
}

export class Lifecycle {
  private actor: Actor<ContainerMachine>;
  private operation: Operation | undefined;
  private retired = false;
  private barred: CaissonError | undefined;
  private readonly waiters = new Set<(end: EndOfLife) => void>();

  /** @param announce is told each move, in order, before any caller is answered. */
  constructor(
    private readonly name: string,
    private readonly port: ContainerPort,
    private readonly announce: (move: MovedEvent) => void,
  ) {
    this.actor = this.follow(createActor(containerMachine, { input: { port } }));
  }

  /** What the machine knows of this life, and of the last one until the next begins. */
  get context() {
    return this.actor.getSnapshot().context;
  }

  /** PID 1 has been reaped. */
  exited(exit: ExitStatus): void {
    this.actor.send({ type: 'EXIT', exit });
  }

  /** A second call joins the first (LIF-02). */
  async start(command: StartCommand = {}): Promise<void> {
    if (this.operation?.name === 'start') await this.operation.promise;
    else await this.request('start', { type: 'START', ...command });
  }

  async stop(options: StopOptions, command: Command = {}): Promise<EndOfLife> {
    return await this.end({ ...stopRequest(options), ...command });
  }

  async kill(command: Command = {}): Promise<EndOfLife> {
    return await this.end({ type: 'KILL', ...command });
  }

  async reboot(options: RebootOptions): Promise<void> {
    await this.request('reboot', rebootRequest(options));
  }

  async restart(options: StopOptions): Promise<void> {
    if (!hasEnded(this.context.at)) await this.stop(options);
    await this.start();
  }

  async freeze(): Promise<void> {
    await this.request('freeze', { type: 'FREEZE' });
  }

  async unfreeze(): Promise<void> {
    await this.request('unfreeze', { type: 'UNFREEZE' });
  }

  wait(signal?: AbortSignal): Promise<EndOfLife> {
    if (hasEnded(this.context.at)) return Promise.resolve(this.endOfLife());
    const gaveUp = (): CaissonError => new CaissonError('CANCELLED', `nobody waits for ${this.name} any more`);
    if (signal?.aborted === true) return Promise.reject(gaveUp());
    return new Promise((resolve, reject) => {
      const waiter = (end: EndOfLife): void => {
        signal?.removeEventListener('abort', abort);
        resolve(end);
      };
      const abort = (): void => {
        this.waiters.delete(waiter);
        reject(gaveUp());
      };
      signal?.addEventListener('abort', abort, { once: true });
      this.waiters.add(waiter);
    });
  }

  /** Begins in the state a container was found in. */
  adopt(at: 'running' | 'frozen'): void {
    const input = { port: this.port };
    this.actor.stop();
    this.actor = this.follow(createActor(containerMachine, { input, snapshot: adoptedSnapshot(input, at) }));
  }

  /** From now on nothing can be asked of it; false takes that back. */
  retire(retired: boolean): void {
    this.retired = retired;
  }

  /** From now on it cannot be started: why. */
  bar(why: CaissonError): void {
    this.barred = why;
  }

  /** Settles when no operation is under way; its outcome is its caller's. */
  async settled(): Promise<void> {
    await this.operation?.promise.catch(() => undefined);
  }

  /** Forgets the container without touching it. */
  letGo(): void {
    this.actor.stop();
    this.operation?.fail(new CaissonError('CLOSED', 'the supervisor was closed'));
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
    return this.endOfLife(await this.request('stop', event));
  }

  private async request(name: RequestName, event: ContainerEvent): Promise<MovedEvent> {
    if (this.retired) throw new CaissonError('CONTAINER_NOT_FOUND', `container ${this.name} has been removed`);
    if (this.operation !== undefined) {
      throw new CaissonError('BUSY', `${this.name}: ${name} refused while ${this.operation.name} is under way`, {
        hint: 'wait for it, or stop the container',
      });
    }
    if (!canAccept(this.actor.getSnapshot(), event)) {
      throw new CaissonError('INVALID_TRANSITION', `${this.name}: ${name} is not possible while ${this.context.at}`, {
        field: 'state',
      });
    }
    if (event.type === 'START' && this.barred !== undefined) throw this.barred;
    const operation = new Operation(name, JUDGES[name](this.name));
    this.operation = operation;
    this.actor.send(event);
    return await operation.promise;
  }

  private moved(move: MovedEvent): void {
    this.announce(move);
    if (this.operation?.moved(move) === true) this.operation = undefined;
    if (!hasEnded(move.to)) return;
    // The event comes in the middle of the transition: what follows waits until the machine is where it says.
    queueMicrotask(() => {
      if (move.restartWanted === true) this.actor.send({ type: 'START' });
      const end = this.endOfLife(move);
      for (const waiter of this.waiters) waiter(end);
      this.waiters.clear();
    });
  }

  private endOfLife(move?: MovedEvent): EndOfLife {
    const { context } = this;
    const state = move?.to ?? context.at;
    const exit = move?.exit ?? context.exit ?? null;
    const asked = (move?.initiator ?? context.initiator) === 'guest' ? 'guest' : context.asked;
    return {
      state: state === 'failed' ? 'failed' : 'stopped',
      exit,
      forced: context.forced,
      by: exit === null ? null : context.forced ? 'force' : asked,
    };
  }
}
