/** The supervision tree of one supervisor: what is started and stopped with the host. */
import type { AutostartOutcome } from '../machines/autostart.js';
import { hasEnded } from '../machines/states.js';
import { Boot, type Bootable, type ShutdownOutcome } from './boot.js';
import type { Container } from './container.js';

export class Tree {
  private readonly boot: Boot;

  constructor(
    bootId: string,
    private readonly containers: () => readonly Container[],
  ) {
    this.boot = new Boot(bootId, () => this.containers().map(bootable));
  }

  autostart(): Promise<AutostartOutcome[]> {
    return this.boot.autostart();
  }

  shutdown(): Promise<ShutdownOutcome[]> {
    return this.boot.shutdown();
  }

  /** Nothing is begun by itself any more; resolves when what was has ended. */
  close(): Promise<void> {
    return this.boot.close();
  }
}

function bootable(container: Container): Bootable {
  const { keeping } = container.custody;
  const { name, boot, restart } = container.spec;
  return {
    name,
    boot,
    policy: restart.policy,
    power: keeping.power.record,
    isUp: () => !hasEnded(container.state),
    start: () => keeping.startForHost(false),
    stop: async () => (await keeping.stopForHost()).forced,
    warn: message => keeping.warn(message),
    bar: () => keeping.bar(),
  };
}
