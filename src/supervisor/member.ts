/** What a group can have as a child: a container, or another group. */
import type { PowerRecord } from '../machines/autostart.js';
import type { ChildEnd } from '../machines/group-policy.js';
import { hasEnded } from '../machines/states.js';
import type { ChildSpec } from '../spec/schema/group.js';
import type { Container } from './container.js';

/** What a member tells the group it is in. */
export interface Governor {
  /** The group's name. */
  readonly name: string;
  ended(end: Omit<ChildEnd, 'child'>): void;
  started(): void;
}

export interface Member {
  readonly name: string;
  /** The group it is in. */
  readonly governor: Governor | undefined;
  /** From now on this one decides what its end leads to; undefined: it itself. */
  govern(governor: Governor | undefined): void;
  isUp(): boolean;
  /** Whether it is to run, as last known. */
  power(): PowerRecord | undefined;
  /** Its end since this supervisor has it, of which no group was told. */
  missed(): Omit<ChildEnd, 'child'> | undefined;
  /** Resolves when it is ready; `again`: it is restarted. */
  start(again: boolean, spec: ChildSpec): Promise<void>;
  stop(): Promise<void>;
  /** It cannot be started any more. */
  bar(): void;
}

export function memberOf(container: Container): Member {
  const { custody } = container;
  const { keeping } = custody;
  const stop = async (): Promise<void> => {
    if (!hasEnded(container.state)) await keeping.stopForHost();
  };
  return {
    name: container.name,
    get governor() {
      return keeping.governor;
    },
    govern: governor => keeping.govern(governor),
    isUp: () => !hasEnded(container.state),
    power: () => keeping.power.record,
    missed: () => keeping.missed,
    start: async (again, { readyTimeout }) => {
      await keeping.settled();
      if (container.state === 'stopping') await container.wait();
      if (hasEnded(container.state)) await keeping.startForHost(again);
      if (container.spec.ready === 'none') return;
      try {
        await custody.ready(readyTimeout);
      } catch (error) {
        // A start that fails leaves nothing that runs.
        await stop();
        throw error;
      }
    },
    stop,
    bar: () => keeping.bar(),
  };
}
