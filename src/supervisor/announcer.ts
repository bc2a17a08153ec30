/** Tells what happens to one container: to the event log of the supervisor, to its logger, and to its listeners. */
import { EventEmitter } from 'eventemitter3';
import type { Logger } from 'pino';
import type { MovedEvent } from '../machines/container.js';
import { actionOf } from '../machines/states.js';
import type { CaissonEvent, EventBody, EventLog } from './events.js';

export type EventOf<T extends CaissonEvent['type']> = Extract<CaissonEvent, { type: T }>;

export interface ContainerEvents {
  event: (event: CaissonEvent) => void;
  state: (event: EventOf<'state'>) => void;
  phase: (event: EventOf<'phase'>) => void;
  notify: (event: EventOf<'notify'>) => void;
  ready: (event: EventOf<'ready'>) => void;
  syslog: (event: EventOf<'syslog'>) => void;
}

export class Announcer {
  private emitter: EventEmitter<ContainerEvents> | undefined;

  constructor(
    private readonly container: string,
    private readonly log: EventLog,
    private readonly logger: Logger | null,
    private readonly noted: (notice: EventOf<'notice'>) => void,
  ) {}

  on<E extends keyof ContainerEvents>(event: E, listener: ContainerEvents[E]): () => void {
    this.emitter ??= new EventEmitter<ContainerEvents>();
    // biome-ignore lint/suspicious/noExplicitAny: eventemitter3 types a listener by a conditional type that a generic cannot satisfy
    const plain = listener as any;
    this.emitter.on(event, plain);
    return () => this.emitter?.off(event, plain);
  }

  publish(body: EventBody): void {
    const event = this.log.append(this.container, body);
    this.logger?.info({ container: this.container, ...body }, body.type);
    if (event.type === 'notice') this.noted(event);
    this.emitter?.emit('event', event);
    if (event.type === 'state') this.emitter?.emit('state', event);
    if (event.type === 'phase') this.emitter?.emit('phase', event);
    if (event.type === 'notify') this.emitter?.emit('notify', event);
    if (event.type === 'ready') this.emitter?.emit('ready', event);
    if (event.type === 'syslog') this.emitter?.emit('syslog', event);
  }

  moved(move: MovedEvent): void {
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
  }
}
