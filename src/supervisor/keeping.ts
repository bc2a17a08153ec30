/** What keeps one container as it is to be: its restart policy, its stored power state, its removal when it is ephemeral. */
import type { MovedEvent } from '../machines/intent.js';
import { hasEnded } from '../machines/states.js';
import { asCaissonError, CaissonError } from '../spec/errors.js';
import { Afterlife } from './afterlife.js';
import type { Announcer } from './announcer.js';
import type { ContainerParts } from './container.js';
import type { Lifecycle } from './lifecycle.js';
import type { Governor } from './member.js';
import { Power } from './power.js';
import type { EndOfLife } from './requests.js';
import { Restarter } from './restarter.js';
import { Vitals, type VitalsEffects } from './vitals.js';

export interface Warning {
  readonly code: 'autostart-failed';
  readonly message: string;
  /** Milliseconds since the epoch. */
  readonly time: number;
}

/** What is not healthy may not be able to end by itself. */
const UNHEALTHY_STOP_MS = 10_000;

export class Keeping {
  readonly restarter: Restarter;
  readonly power: Power;
  readonly vitals: Vitals;
  /** A caller has asked it to end, though somebody else may have before. */
  private callerAsked = false;
  private readonly afterlife: Afterlife;
  /** Its last end, when no group was there to be told. */
  missed: Parameters<Governor['ended']>[0] | undefined;
  private governing: Governor | undefined;

  constructor(
    private readonly parts: ContainerParts,
    private readonly announcer: Announcer,
    private readonly lifecycle: () => Lifecycle,
    life: Pick<VitalsEffects, 'look' | 'ready'>,
  ) {
    const { spec, assigned, host } = parts;
    this.restarter = new Restarter(spec.restart, {
      start: () => this.lifecycle().start({ initiator: 'host', again: true }),
      publish: body => announcer.publish(body),
    });
    this.power = new Power({
      directory: assigned.dir,
      bootId: host.bootId,
      failed: ({ message }) => announcer.publish({ type: 'notice', code: 'record-not-written', message }),
    });
    this.vitals = new Vitals(spec, {
      ...life,
      unhealthy: why => this.endUnhealthy(why),
      publish: body => announcer.publish(body),
    });
    this.afterlife = new Afterlife(spec, this.power, {
      comesBack: () => this.restarter.pending !== undefined,
      remove: parts.remove,
      failed: ({ message }) => announcer.publish({ type: 'notice', code: 'cleanup-failed', message }),
    });
  }

  get warnings(): Warning[] {
    const warning = this.power.record?.warning;
    return warning === undefined ? [] : [{ code: 'autostart-failed', ...warning }];
  }

  /** An ephemeral container that has run, and is found not to. */
  isLeftover(): boolean {
    const { record } = this.power;
    return (
      this.parts.spec.ephemeral &&
      record !== undefined &&
      record.warning === undefined &&
      record.unfinished === undefined
    );
  }

  /** The group that it is in: it decides what an end leads to. */
  get governor(): Governor | undefined {
    return this.governing;
  }

  govern(governor: Governor | undefined): void {
    this.governing = governor;
    this.restarter.decides = governor === undefined;
  }

  moved(move: MovedEvent): void {
    this.restarter.moved(move);
    this.afterlife.moved(move);
    if (move.to === 'running') this.vitals.begin(move.from === 'network');
    else this.vitals.end();
    if (move.to === 'creating') this.callerAsked = false;
    if (move.to === 'creating') this.missed = undefined;
    const ended = hasEnded(move.to) && move.restartWanted !== true;
    const end = ended ? this.endOf(move) : undefined;
    if (this.governing === undefined) {
      this.missed = end?.how === 'asked' ? undefined : end;
      return;
    }
    const began = move.to === 'running' && move.from === 'network';
    // The move comes in the middle of the transition: the group is told when the container is where it says.
    queueMicrotask(() => {
      if (began) this.governing?.started();
      if (end !== undefined) this.governing?.ended(end);
    });
  }

  /** A caller's wish that it end; a restart that is due is called off by it. */
  async end(ask: () => Promise<EndOfLife>): Promise<EndOfLife> {
    this.callerAsked = true;
    this.restarter.pardon();
    const calledOff = this.restarter.cancel();
    if (calledOff) this.afterlife.left();
    const end = await (calledOff ? this.lifecycle().wait() : ask());
    await this.afterlife.settled();
    return end;
  }

  /** Stop, then start: the stop is not the end. */
  restart(ask: () => Promise<void>): Promise<void> {
    return this.afterlife.around(ask);
  }

  /** A start on account of the host's own, or of a group; whoever asks tries again by itself. */
  async startForHost(again: boolean): Promise<void> {
    this.restarter.decides = false;
    try {
      await this.lifecycle().start({ initiator: 'host', again });
    } finally {
      this.restarter.decides = this.governing === undefined;
    }
  }

  /** The host, or a group, ends it: it remains what is to run. */
  async stopForHost(): Promise<EndOfLife> {
    this.restarter.cancel();
    const { hostShutdownTimeout, hostShutdownAction } = this.parts.spec.boot;
    const options = { timeout: hostShutdownTimeout, force: hostShutdownAction === 'force-stop' };
    const lifecycle = this.lifecycle();
    const end = await lifecycle.stop(options, { initiator: 'host' }).catch((error: unknown) => {
      // It has just ended by itself, and is being cleaned up after.
      if (asCaissonError(error).code !== 'INVALID_TRANSITION') throw error;
      return lifecycle.wait();
    });
    await this.afterlife.settled();
    return end;
  }

  /** Settles when no operation is under way. */
  settled(): Promise<void> {
    return this.lifecycle().settled();
  }

  /** It could not be started when the host came up (NET-37). */
  warn(message: string): void {
    this.power.warn(message);
    this.announcer.publish({ type: 'notice', code: 'autostart-failed', message });
  }

  /** The host goes down: nothing is started any more. */
  bar(): void {
    this.restarter.close();
    this.lifecycle().bar(new CaissonError('CLOSED', 'the host is being shut down'));
  }

  /** Where nobody would start it again it is left as it is, and told of. */
  private endUnhealthy(why: string): void {
    if (this.governing === undefined && this.parts.spec.restart.policy === 'no') return;
    this.restarter.condemn(why);
    // How it ends is told by its moves.
    this.lifecycle()
      .stop({ timeout: UNHEALTHY_STOP_MS }, { initiator: 'host' })
      .catch(() => undefined);
  }

  /** Undefined: what the group itself has stopped it knows. */
  private endOf(move: MovedEvent): Parameters<Governor['ended']>[0] | undefined {
    const { by, failed, text } = this.restarter.endOf(move);
    if (by === 'asked') return move.initiator === 'host' && !this.callerAsked ? undefined : { how: by, text };
    if (by === 'start-failed') return { how: by, text };
    const normal = by === 'itself' && !failed && move.exit?.kind !== 'lost';
    return { how: normal ? 'normal' : 'failed', text };
  }
}
