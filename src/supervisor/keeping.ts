/** What keeps one container as it is to be: its restart policy, its stored power state, its removal when it is ephemeral. */
import type { MovedEvent } from '../machines/intent.js';
import { CaissonError } from '../spec/errors.js';
import { Afterlife } from './afterlife.js';
import type { Announcer } from './announcer.js';
import type { ContainerParts } from './container.js';
import type { Lifecycle } from './lifecycle.js';
import { Power } from './power.js';
import type { EndOfLife } from './requests.js';
import { Restarter } from './restarter.js';

export interface Warning {
  readonly code: 'autostart-failed';
  readonly message: string;
  /** Milliseconds since the epoch. */
  readonly time: number;
}

export class Keeping {
  readonly restarter: Restarter;
  readonly power: Power;
  private readonly afterlife: Afterlife;

  constructor(
    private readonly parts: ContainerParts,
    private readonly announcer: Announcer,
    private readonly lifecycle: () => Lifecycle,
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
    return this.parts.spec.ephemeral && record !== undefined && record.warning === undefined;
  }

  moved(move: MovedEvent): void {
    this.restarter.moved(move);
    this.afterlife.moved(move);
  }

  /** A caller's wish that it end; a restart that is due is called off by it. */
  async end(ask: () => Promise<EndOfLife>): Promise<EndOfLife> {
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
      this.restarter.decides = true;
    }
  }

  /** The host, or a group, ends it: it remains what is to run. */
  async stopForHost(): Promise<EndOfLife> {
    this.restarter.cancel();
    const { hostShutdownTimeout, hostShutdownAction } = this.parts.spec.boot;
    const options = { timeout: hostShutdownTimeout, force: hostShutdownAction === 'force-stop' };
    const end = await this.lifecycle().stop(options, { initiator: 'host' });
    await this.afterlife.settled();
    return end;
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
}
