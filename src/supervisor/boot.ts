/** The host's own start and end, for all that is kept here (LIF-44 to LIF-46, NET-37). */
import { availableParallelism } from 'node:os';
import {
  type AutostartOutcome,
  type BootItem,
  planAutostart,
  planShutdown,
  runAutostart,
  sideBySide,
  startsAtBoot,
} from '../machines/autostart.js';
import { asCaissonError, type CaissonError } from '../spec/errors.js';

/** What the host starts and stops as one: a container, or a group of them. */
export interface Bootable extends BootItem {
  isUp(): boolean;
  /** A start would start nothing. */
  isDone(): boolean;
  /** Before a start: resolves when the next supervisor would know of it. */
  beginStart(): Promise<void>;
  start(): Promise<void>;
  /** After it, however it went. */
  endStart(): void;
  /** True when force was needed. */
  stop(): Promise<boolean>;
  warn(message: string): void;
  /** From now on it cannot be started. */
  bar(): void;
}

export interface ShutdownOutcome {
  readonly name: string;
  /** SIGKILL was needed, for a group: by one of its containers. */
  readonly forced: boolean;
  readonly error: CaissonError | null;
}

/** A start that a caller has called off, or one that is refused, would be refused again. */
const FINAL: readonly string[] = ['CANCELLED', 'INVALID_TRANSITION', 'CLOSED', 'CONTAINER_NOT_FOUND'];

export class Boot {
  private starting: Promise<AutostartOutcome[]> | undefined;
  private stopping: Promise<ShutdownOutcome[]> | undefined;
  private over = false;
  private readonly sleepers = new Set<() => void>();

  constructor(
    private readonly bootId: string,
    /** What is neither part of a group. */
    private readonly items: () => readonly Bootable[],
  ) {}

  /** Starts what is to run and does not; a second call joins the first. */
  autostart(): Promise<AutostartOutcome[]> {
    this.starting ??= this.startAll().finally(() => {
      this.starting = undefined;
    });
    return this.starting;
  }

  /** Stops everything; what runs now will be started by the next autostart. */
  shutdown(): Promise<ShutdownOutcome[]> {
    this.stopping ??= this.stopAll();
    return this.stopping;
  }

  /** Nothing more is begun; resolves when what was has ended. */
  async close(): Promise<void> {
    this.over = true;
    for (const wake of [...this.sleepers]) wake();
    await this.starting?.catch(() => undefined);
  }

  private startAll(): Promise<AutostartOutcome[]> {
    const due = this.items().filter(item => !item.isDone() && startsAtBoot(item, this.bootId));
    const named = new Map(due.map(item => [item.name, item]));
    return runAutostart(planAutostart(due), {
      width: Math.max(1, Math.floor(availableParallelism() / 4)),
      start: name => this.startOne(named.get(name)!),
      failed: (name, error) => named.get(name)?.warn(`autostart: ${asCaissonError(error).message}`),
      sleep: ms => this.sleep(ms),
      isOver: () => this.over,
    });
  }

  private async startOne(item: Bootable): Promise<boolean> {
    if (item.isDone()) return true;
    await item.beginStart();
    try {
      await item.start();
      return true;
    } catch (error) {
      if (!FINAL.includes(asCaissonError(error).code)) throw error;
      return item.isDone();
    } finally {
      item.endStart();
    }
  }

  private async stopAll(): Promise<ShutdownOutcome[]> {
    for (const item of this.items()) item.bar();
    const closed = this.close();
    const items = this.items().filter(item => item.isUp());
    const named = new Map(items.map(item => [item.name, item]));
    const batches = planShutdown(items.map(({ name, boot }) => ({ name, stopPriority: boot.stopPriority })));
    const outcomes: ShutdownOutcome[] = [];
    for (const batch of batches) {
      outcomes.push(...(await sideBySide(batch, availableParallelism(), name => stopOne(named.get(name)!))));
    }
    await closed;
    return outcomes;
  }

  private sleep(ms: number): Promise<void> {
    return new Promise(resolve => {
      const wake = (): void => {
        clearTimeout(timer);
        this.sleepers.delete(wake);
        resolve();
      };
      const timer = setTimeout(wake, ms);
      this.sleepers.add(wake);
    });
  }
}

async function stopOne(item: Bootable): Promise<ShutdownOutcome> {
  const { name } = item;
  try {
    return { name, forced: await item.stop(), error: null };
  } catch (error) {
    // One that has just ended by itself needs no stop.
    return { name, forced: false, error: item.isUp() ? asCaissonError(error) : null };
  }
}
