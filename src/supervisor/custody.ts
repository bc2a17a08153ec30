/** What only the supervisor does with a container: taking it over, clearing up after it, letting it go. */
import { asCaissonError, CaissonError } from '../spec/errors.js';
import type { Announcer } from './announcer.js';
import type { ContainerParts } from './container.js';
import type { Executor } from './executor.js';
import type { Keeping } from './keeping.js';
import type { LifeKeeper, LifeRecord } from './life.js';
import type { Lifecycle } from './lifecycle.js';
import type { Readiness } from './readiness.js';
import { hasTraces, isFrozen } from './remains.js';

export class Custody {
  constructor(
    private readonly parts: ContainerParts,
    private readonly lifecycle: Lifecycle,
    private readonly executor: Executor,
    private readonly readiness: Readiness,
    readonly keeping: Keeping,
    private readonly announcer: Announcer,
    private readonly life: { readonly keeper: LifeKeeper; readonly remember: (record: LifeRecord) => void },
  ) {}

  /** What an earlier supervisor has written down of the last life. */
  remember(record: LifeRecord): void {
    this.life.remember(record);
  }

  /** Takes over a PID 1 found alive. */
  async adopt(pid: number, pidfd: number): Promise<void> {
    this.lifecycle.adopt((await isFrozen(this.parts.spec, this.parts.host.facts)) ? 'frozen' : 'running');
    this.keeping.power.running();
    this.announcer.publish({
      type: 'notice',
      code: 'adopted',
      message: `PID 1 (host pid ${pid}) was found alive; its console output until now is lost`,
    });
    try {
      await this.executor.adopt(pid, pidfd);
    } catch (error) {
      const { message } = asCaissonError(error);
      this.announcer.publish({ type: 'notice', code: 'syslog-lost', message: `/dev/log is not read: ${message}` });
    }
  }

  /** Removes what an earlier supervisor may have left; what cannot be removed is tried again by the next start. */
  async sweep(): Promise<void> {
    const { spec, host, assigned } = this.parts;
    try {
      if (await hasTraces(spec, host.facts, assigned.runDir)) await this.executor.teardown();
    } catch (error) {
      this.announcer.publish({ type: 'notice', code: 'cleanup-failed', message: asCaissonError(error).message });
    }
  }

  /** From now on nothing can be done with it; false takes that back. */
  retire(retired: boolean): void {
    this.keeping.restarter.decides = !retired;
    this.lifecycle.retire(retired);
  }

  /** Nothing of it may be left on the host. @throws CaissonError CLEANUP_FAILED, UNKILLABLE */
  async tidy(): Promise<void> {
    await this.executor.tidy();
    await Promise.all([this.life.keeper.drop(), this.keeping.power.drop()]);
  }

  /** Settles when no operation is under way, and none will be by itself; its outcome is its caller's. */
  settled(): Promise<void> {
    this.keeping.restarter.close();
    return this.lifecycle.settled();
  }

  /** Forgets this container without touching it. */
  async letGo(): Promise<void> {
    this.lifecycle.letGo();
    this.readiness.giveUp(new CaissonError('CLOSED', 'the supervisor was closed'));
    await Promise.all([this.executor.letGo(), this.life.keeper.flush(), this.keeping.power.flush()]);
  }
}
