/** What happened, in order: every event has a sequence number, and a reader can begin after any it has seen. */
import type { ExitStatus } from '../machines/exit.js';
import type { Initiator, LifecycleAction, Reason, StateName } from '../machines/states.js';
import type { PlanNotice, StartPhase } from '../plan/step.js';
import { CaissonError, type ErrorJSON } from '../spec/errors.js';
import type { NotifyFields } from '../spec/notify.js';
import type { LastMove } from './hindsight.js';
import type { SyslogMessage } from './syslog.js';
import type { TreeEventBody } from './tree-events.js';

interface EventBase {
  readonly seq: number;
  /** Milliseconds since the epoch. */
  readonly time: number;
  readonly container: string;
}

export type EventBody =
  /** LIF-03: one per move of the container's machine. */
  | {
      readonly type: 'state';
      readonly from: StateName;
      readonly to: StateName;
      readonly reason: Reason;
      readonly initiator: Initiator;
      /** Incus' name for what this move means, where it has one (LIF-05). */
      readonly action?: LifecycleAction;
      readonly exit?: ExitStatus;
      readonly error?: ErrorJSON;
    }
  /** A phase of a start is done; times are CLOCK_MONOTONIC in ns. */
  | { readonly type: 'phase'; readonly phase: StartPhase; readonly start: number; readonly end: number }
  | {
      readonly type: 'notice';
      readonly code:
        | PlanNotice['code']
        | 'adopted'
        | 'syslog-lost'
        | 'record-set-aside'
        | 'record-not-written'
        | 'cleanup-failed'
        | 'autostart-failed'
        | 'console-log'
        | 'archive-left-out'
        | 'journal-failed'
        | 'event-too-large';
      readonly message: string;
    }
  /** PID 1 has told its manager something (LIF-38): the fields of one message; `untold` as with `syslog`. */
  | { readonly type: 'notify'; readonly fields: NotifyFields; readonly untold: number }
  /** A program inside has sent a message to /dev/log; `untold`: so many since the last that were not told. */
  | ({ readonly type: 'syslog'; readonly untold: number } & Omit<SyslogMessage, 'time'>)
  /** The kernel has killed processes because the container's memory has run out: since the last event, and in this life. */
  | { readonly type: 'oom'; readonly killed: number; readonly total: number }
  /** The container is up (LIF-36). */
  | { readonly type: 'ready'; readonly source: 'notify' | 'probe'; readonly action: 'instance-ready' }
  | { readonly type: 'created'; readonly action: 'instance-created' }
  | { readonly type: 'removed'; readonly action: 'instance-deleted' }
  | TreeEventBody;

export type CaissonEvent = EventBase & EventBody;

/** A listener that throws is its owner's defect: it surfaces as an uncaught exception, and the others are told all the same. */
function tell(listener: (event: CaissonEvent) => void, event: CaissonEvent): void {
  try {
    listener(event);
  } catch (error) {
    queueMicrotask(() => {
      throw error;
    });
  }
}

/** Where events go to stay: what is no longer in memory is read from there. */
export interface Archive {
  /** Sequence number of the newest event; 0 when there is none. */
  readonly seq: number;
  append(event: CaissonEvent): void;
  /** Some events from `seq` on. @throws CaissonError when they are no longer kept. */
  read(seq: number): Promise<CaissonEvent[]>;
}

/** Events kept in memory for late readers; without an archive nothing else keeps them. */
const KEPT = 10_000;
const KEPT_BESIDE_ARCHIVE = 1000;

function hasAborted(signal: AbortSignal | undefined): boolean {
  return signal?.aborted === true;
}

export class EventLog {
  private readonly kept: CaissonEvent[] = [];
  private readonly listeners = new Set<(event: CaissonEvent) => void>();
  private readonly wakers = new Set<() => void>();
  private readonly most: number;
  private last: number;
  private closed = false;

  /** @param before the last moves of containers, as an earlier supervisor has told of them. */
  constructor(
    private readonly archive: Archive | null = null,
    readonly before: ReadonlyMap<string, LastMove> = new Map(),
  ) {
    this.last = archive?.seq ?? 0;
    this.most = archive === null ? KEPT : KEPT_BESIDE_ARCHIVE;
  }

  /** Sequence number of the newest event; 0 before the first. */
  get seq(): number {
    return this.last;
  }

  /** The same, where the number means something to the next supervisor as well. */
  get lastingSeq(): number | undefined {
    return this.archive === null ? undefined : this.last;
  }

  append(container: string, body: EventBody): CaissonEvent {
    const event: CaissonEvent = { seq: ++this.last, time: Date.now(), container, ...body };
    // Before anybody is told: a reader must find again whatever it has seen.
    this.archive?.append(event);
    this.kept.push(event);
    if (this.kept.length > this.most * 1.5) this.kept.splice(0, this.kept.length - this.most);
    for (const listener of [...this.listeners]) tell(listener, event);
    this.wake();
    return event;
  }

  /** Calls `listener` for each new event; returns what ends that. */
  subscribe(listener: (event: CaissonEvent) => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /**
   * Events after `since` (default: only new ones), then each as it comes, without gap or repeat, until the log is
   * closed or `signal` aborts.
   * @throws CaissonError CLOSED when the reader asks for events, or has fallen behind events, that are no longer kept;
   *   STATE_INVALID when the record of one is damaged.
   */
  read(options: { since?: number; signal?: AbortSignal } = {}): AsyncGenerator<CaissonEvent, void, void> {
    // Here, not in the generator: that would begin at its first next().
    return this.follow(options.since ?? this.last, options.signal);
  }

  private async *follow(since: number, signal: AbortSignal | undefined): AsyncGenerator<CaissonEvent, void, void> {
    let seen = since;
    while (!hasAborted(signal)) {
      const oldest = this.kept[0]?.seq ?? this.last + 1;
      if (seen + 1 < oldest && seen < this.last) {
        for (const event of await this.older(seen + 1, oldest)) {
          if (hasAborted(signal)) return;
          seen = event.seq;
          yield event;
        }
        continue;
      }
      const event = this.kept[seen + 1 - oldest];
      if (event !== undefined) {
        seen = event.seq;
        yield event;
        continue;
      }
      if (this.closed) return;
      await this.more(signal);
    }
  }

  /** Ends every reader once it has seen everything. */
  close(): void {
    this.closed = true;
    this.listeners.clear();
    this.wake();
  }

  private async older(from: number, oldest: number): Promise<CaissonEvent[]> {
    if (this.archive !== null) return await this.archive.read(from);
    throw new CaissonError('CLOSED', `events ${from} to ${oldest - 1} are no longer kept`, {
      hint: 'read faster, or begin again from the current state',
    });
  }

  private wake(): void {
    for (const waker of [...this.wakers]) waker();
  }

  private more(signal: AbortSignal | undefined): Promise<void> {
    return new Promise(resolve => {
      const done = (): void => {
        this.wakers.delete(done);
        signal?.removeEventListener('abort', done);
        resolve();
      };
      this.wakers.add(done);
      signal?.addEventListener('abort', done, { once: true });
    });
  }
}
