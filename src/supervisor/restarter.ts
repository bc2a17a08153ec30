/** Brings one container back when its restart policy says so, and tells why or why not (LIF-42, LIF-43). */
import { type Actor, createActor } from 'xstate';
import { describe, type ExitStatus, isFailure } from '../machines/exit.js';
import type { MovedEvent } from '../machines/intent.js';
import { type RestartMachine, type RestartPort, restartMachine } from '../machines/restart.js';
import {
  asksForRestart,
  isSpent,
  type LifeEnd,
  NO_RESTARTS,
  type RestartDecision,
} from '../machines/restart-policy.js';
import { hasEnded } from '../machines/states.js';
import type { RestartRules } from '../spec/schema/restart.js';
import type { EventBody } from './events.js';

/** A restart that is due. */
export interface PendingRestart {
  /** 1 for the first since a healthy life. */
  readonly attempt: number;
  /** When, in milliseconds since the epoch. */
  readonly at: number;
}

export interface RestarterEffects {
  /** Starts the container; rejects when that fails, which its moves have told by then. */
  start(): Promise<void>;
  publish(body: EventBody): void;
}

export class Restarter implements RestartPort {
  private actor: Actor<RestartMachine> | undefined;
  private due: PendingRestart | undefined;
  /** Of a container found running: since when we know it. */
  private runningSince = performance.now();
  private starting = false;
  private condemned: string | undefined;
  private quiet = false;
  private closed = false;

  constructor(
    private readonly rules: RestartRules,
    private readonly effects: RestarterEffects,
  ) {}

  /** The restart that is waited for. */
  get pending(): PendingRestart | undefined {
    return this.due;
  }

  /** False: somebody else decides, a group or nobody, and only reboots are counted here. */
  set decides(decides: boolean) {
    this.quiet = !decides;
    if (this.quiet) this.cancel();
  }

  /** The life under way is to be ended for being no good: its end counts as a failure. */
  condemn(why: string): void {
    this.condemned = why;
  }

  /** A caller wants it to end now: then that is why. */
  pardon(): void {
    this.condemned = undefined;
  }

  /** This end would lead to one restart too many. */
  isSpent(exit: ExitStatus): boolean {
    const { rules } = this;
    const wanted = exit.kind === 'reboot' || (!this.quiet && asksForRestart(rules, isFailure(exit, false)));
    const memory = this.actor?.getSnapshot().context.memory ?? NO_RESTARTS;
    return wanted && isSpent(rules, memory, this.now());
  }

  moved(move: MovedEvent): void {
    if (this.closed) return;
    if (move.to === 'creating' && move.from !== 'rebooting') {
      this.due = undefined;
      this.condemned = undefined;
      this.actor?.send({ type: 'STARTED', fresh: !this.starting });
    } else if (move.to === 'rebooting' && move.initiator === 'guest') {
      this.follow().send({ type: 'REBOOTED' });
    } else if (move.to === 'running' && move.from === 'network') {
      this.runningSince = this.now();
    } else if (hasEnded(move.to) && move.restartWanted !== true) {
      const gaveUp = move.reason === 'restart-limit';
      if (!gaveUp && (this.quiet || this.rules.policy === 'no')) return;
      this.follow().send({ type: 'ENDED', end: this.endOf(move) });
    }
  }

  /** True when a restart was due, and now is not. */
  cancel(): boolean {
    if (this.due === undefined) return false;
    this.actor?.send({ type: 'CANCEL' });
    return true;
  }

  /** Nothing comes back any more. */
  close(): void {
    this.closed = true;
    this.due = undefined;
    this.actor?.stop();
  }

  now(): number {
    return performance.now();
  }

  chance(): number {
    return Math.random();
  }

  private decided(decision: RestartDecision): void {
    const { action, cause, text } = decision;
    const restart = decision.action === 'restart' ? decision : undefined;
    this.due = undefined;
    this.effects.publish({ type: 'restart-decided', decision: action, cause, message: text });
    if (restart === undefined) return;
    const { attempt, delayMs } = restart;
    this.due = { attempt, at: Date.now() + delayMs };
    this.effects.publish({ type: 'restart-scheduled', attempt, delay: delayMs });
  }

  private startAgain(): void {
    this.starting = true;
    // A start that fails is told by its moves, and decided upon there; one that is refused has been overtaken.
    this.effects.start().catch(() => undefined);
    this.starting = false;
  }

  private follow(): Actor<RestartMachine> {
    if (this.actor === undefined) {
      this.actor = createActor(restartMachine, { input: { rules: this.rules, port: this } }).start();
      this.actor.on('decided', ({ decision }) => this.decided(decision));
      this.actor.on('again', () => this.startAgain());
    }
    return this.actor;
  }

  /** What is over, by its last move. */
  endOf(move: MovedEvent): LifeEnd {
    const { condemned } = this;
    const exit = move.exit === undefined ? undefined : `PID 1 ${describe(move.exit)}`;
    const text = condemned ?? exit ?? move.error?.message ?? `it became ${move.to}`;
    return { by: this.byOf(move), failed: move.to === 'failed', text, ranMs: this.now() - this.runningSince };
  }

  private byOf(move: MovedEvent): LifeEnd['by'] {
    if (move.reason === 'restart-limit') return 'limit';
    if (this.condemned !== undefined) return 'unhealthy';
    if (move.stopAsked === true) return 'asked';
    return move.exit === undefined ? 'start-failed' : 'itself';
  }
}
