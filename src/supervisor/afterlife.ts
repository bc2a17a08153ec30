/** What the end of a life means for the container's record: whether it is to run again, or not to be any more. */
import type { MovedEvent } from '../machines/intent.js';
import { hasEnded } from '../machines/states.js';
import type { ContainerSpec } from '../spec/container.js';
import { asCaissonError, type CaissonError } from '../spec/errors.js';
import type { Power } from './power.js';

export interface AfterlifeEffects {
  /** Something is to start it again, or keeps it for that. */
  comesBack(): boolean;
  /** Removes the container, which has ended. */
  remove(): Promise<void>;
  failed(error: CaissonError): void;
}

export class Afterlife {
  private removing: Promise<void> = Promise.resolve();
  /** A restart() is between its stop and its start. */
  private restarting = 0;

  constructor(
    private readonly spec: ContainerSpec,
    private readonly power: Power,
    private readonly effects: AfterlifeEffects,
  ) {}

  moved(move: MovedEvent): void {
    if (move.to === 'running' && move.from === 'network') this.power.running(this.spec.ephemeral);
    if (!hasEnded(move.to) || move.restartWanted === true || this.restarting > 0 || this.effects.comesBack()) return;
    const { boot } = this.spec;
    // One that has never run, or not long enough to be written down, and is not to, needs no record.
    const explicit = boot.autostart === true || this.spec.restart.policy === 'always';
    const hasRun = this.power.record !== undefined && move.exit !== undefined;
    // What the host has stopped, it is to start again.
    const byHost = move.stopAsked === true && move.initiator === 'host';
    if (!byHost && (hasRun || (explicit && move.stopAsked === true))) this.power.stopped(move.stopAsked === true);
    if (this.spec.ephemeral && move.exit !== undefined && move.reason !== 'cleanup-failed') this.end();
  }

  /** A restart that was due has been called off: it stays as it is. */
  left(): void {
    if (this.power.record !== undefined) this.power.stopped(true);
    if (this.spec.ephemeral) this.end();
  }

  /** Runs a restart: its stop is not the end. */
  async around<T>(restart: () => Promise<T>): Promise<T> {
    this.restarting++;
    try {
      return await restart();
    } finally {
      this.restarting--;
    }
  }

  /** What the last end led to has been done. */
  async settled(): Promise<void> {
    // It begins in a microtask of its own.
    await Promise.resolve();
    await this.removing;
    await this.power.flush();
  }

  private end(): void {
    // The move comes in the middle of the transition: by then the container is where it says.
    this.removing = Promise.resolve()
      .then(() => this.effects.remove())
      .catch((error: unknown) => this.effects.failed(asCaissonError(error)));
  }
}
