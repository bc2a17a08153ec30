/** Whether a container is up, and whether it still is: its probes, while it runs. */
import { type Actor, createActor } from 'xstate';
import {
  type Health,
  type ProbeResult,
  type ProbingInput,
  type ProbingMachine,
  type ProbingRules,
  probingMachine,
} from '../machines/probing.js';
import type { ContainerSpec } from '../spec/container.js';
import type { ProbeRules } from '../spec/schema/probe.js';
import type { EventBody } from './events.js';

export interface VitalsEffects {
  look(rules: ProbeRules): Promise<ProbeResult>;
  /** Its readiness probe has found it up. */
  ready(): void;
  /** It is to be ended, for `why`. */
  unhealthy(why: string): void;
  publish(body: EventBody): void;
}

export class Vitals {
  private probing: Actor<ProbingMachine>[] = [];
  private known: Health | undefined;
  private begun = false;

  constructor(
    private readonly spec: ContainerSpec,
    private readonly effects: VitalsEffects,
  ) {}

  /** Undefined: nobody looks. */
  get health(): Health | undefined {
    return this.spec.health === null ? undefined : this.known;
  }

  /** It has come to run; `fresh`: by a start, not by a thaw. */
  begin(fresh: boolean): void {
    this.end();
    const { ready, health } = this.spec;
    if (fresh) this.begun = false;
    if (typeof ready === 'object' && !this.begun) this.awaitReady(ready);
    if (health === null) return;
    if (fresh || this.known === undefined) this.known = 'starting';
    this.follow({ rules: health, known: this.known ?? 'starting' }, health, (state, why) => {
      this.known = state;
      this.effects.publish({ type: 'health', health: state, message: state === 'healthy' ? '' : why });
      if (state === 'unhealthy' && health.enforce) this.effects.unhealthy(`its health check failed: ${why}`);
    });
  }

  /** It does not run, or stands still. */
  end(): void {
    for (const actor of this.probing) actor.stop();
    this.probing = [];
  }

  private awaitReady(rules: ProbeRules): void {
    // It may take as long as it takes: whoever waits has a limit of his own.
    const patient: ProbingRules = { interval: rules.interval, retries: Number.MAX_SAFE_INTEGER, startPeriod: 0 };
    const actor = this.follow({ rules: patient }, rules, () => {
      this.begun = true;
      actor.stop();
      this.effects.ready();
    });
  }

  private follow(
    input: Omit<ProbingInput, 'port'>,
    probe: ProbeRules,
    changed: (health: Health, why: string) => void,
  ): Actor<ProbingMachine> {
    const port = { now: () => performance.now(), look: () => this.effects.look(probe) };
    const actor = createActor(probingMachine, { input: { ...input, port } });
    actor.on('health', ({ health, why }) => {
      // What was looked at before its end is no news after it.
      if (this.probing.includes(actor)) changed(health, why);
    });
    this.probing.push(actor);
    actor.start();
    return actor;
  }
}
