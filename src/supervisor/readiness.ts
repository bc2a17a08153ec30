/** What PID 1 has told of itself, and whether it is up (LIF-36 to LIF-39). */
import { CaissonError } from '../spec/errors.js';
import { NOTHING_TOLD, type NotifyState, shutdownOf, signalsLevel, tell } from '../spec/notify.js';
import { Allowance } from './allowance.js';
import type { DatagramReader } from './datagrams.js';
import type { EventBody } from './events.js';
import { readNotify } from './notify.js';

/** Default wait of start({ waitReady: true }), in milliseconds. */
const DEFAULT_READY_TIMEOUT = 600_000;
/** Node fires a longer timer at once. */
const MAX_TIMER_MS = 2 ** 31 - 1;

export interface StartOptions {
  /** Resolve not before PID 1 has reported that it is up; needs `ready: 'notify'` in the spec. Default false. */
  readonly waitReady?: boolean;
  /** Milliseconds to wait for that. The container goes on all the same. Default 600 000. */
  readonly timeout?: number;
}

interface Waiter {
  readonly done: () => void;
  readonly fail: (error: CaissonError) => void;
}

export class Readiness {
  private reader: DatagramReader | undefined;
  private told: NotifyState = NOTHING_TOLD;
  private readonly waiters = new Set<Waiter>();
  private readonly allowance = new Allowance();
  /** An event of this life has told that it is up. */
  private upTold = false;

  constructor(private readonly publish: (body: EventBody) => void) {}

  /** All that has been told in the life under way, or in the last one. */
  get state(): NotifyState {
    return this.told;
  }

  /** Which signals systemd (256 and later) takes by now; 0 before it has said. */
  get signalsLevel(): number {
    return signalsLevel(this.told);
  }

  /** A new life: nothing has been told of it. */
  begin(): void {
    this.told = NOTHING_TOLD;
    this.upTold = false;
  }

  /** @param socket stays open until `close`. */
  listen(socket: number, pid: number): void {
    this.reader = readNotify(socket, pid, fields => {
      const before = this.told.ready;
      this.told = tell(this.told, fields);
      const text = Object.entries(fields).reduce((sum, field) => sum + Buffer.byteLength(field.join('=')), 0);
      const untold = this.allowance.spend(text, Date.now());
      if (untold !== undefined) this.publish({ type: 'notify', fields, untold });
      if (!this.told.ready || before) return;
      // It may take that back and say it again for ever.
      if (!this.upTold || untold !== undefined)
        this.publish({ type: 'ready', source: 'notify', action: 'instance-ready' });
      this.upTold = true;
      for (const waiter of [...this.waiters]) waiter.done();
    });
  }

  /** A probe has found it up. */
  found(): void {
    if (this.told.ready) return;
    this.told = { ...this.told, ready: true };
    this.publish({ type: 'ready', source: 'probe', action: 'instance-ready' });
    for (const waiter of [...this.waiters]) waiter.done();
  }

  /** PID 1 has ended: how it said it would (LIF-19). */
  lastWords(): string | undefined {
    this.reader?.drain();
    return shutdownOf(this.told);
  }

  close(): void {
    this.reader?.close();
    this.reader = undefined;
    this.told = { ...this.told, ready: false };
  }

  /** Resolves when PID 1 is up. @throws CaissonError TIMEOUT, or what `giveUp` is told. */
  wait(timeout = DEFAULT_READY_TIMEOUT): Promise<void> {
    if (this.told.ready) return Promise.resolve();
    return new Promise((resolve, reject) => {
      const settle = (): void => {
        clearTimeout(timer);
        this.waiters.delete(waiter);
      };
      const waiter: Waiter = {
        done: () => {
          settle();
          resolve();
        },
        fail: error => {
          settle();
          reject(error);
        },
      };
      const late = new CaissonError('TIMEOUT', `it was not up within ${timeout} ms`, {
        hint: 'the container goes on: follow its console and its notify events, or stop it',
      });
      const timer = setTimeout(() => waiter.fail(late), Math.min(timeout, MAX_TIMER_MS));
      this.waiters.add(waiter);
    });
  }

  /** Whoever waits need not wait any more. */
  giveUp(error: CaissonError): void {
    for (const waiter of [...this.waiters]) waiter.fail(error);
  }
}
