/** What only the supervisor does with a container: taking it over, clearing up after it, letting it go. */
import { asCaissonError, CaissonError } from '../spec/errors.js';
import { poll } from '../syscalls/process.js';
import type { Registers } from '../workers/context.js';
import type { Announcer } from './announcer.js';
import type { ContainerParts } from './container.js';
import type { Executor } from './executor.js';
import type { Keeping } from './keeping.js';
import type { LifeKeeper, LifeRecord } from './life.js';
import type { Lifecycle } from './lifecycle.js';
import type { Readiness } from './readiness.js';
import { hasTraces, isFrozen } from './remains.js';
import type { StatsSubject } from './stats.js';

export class Custody {
  /** It is being removed. */
  retired = false;

  constructor(
    private readonly parts: ContainerParts,
    private readonly lifecycle: Lifecycle,
    private readonly executor: Executor,
    private readonly readiness: Readiness,
    readonly keeping: Keeping,
    private readonly announcer: Announcer,
    /** Where the console's offsets go on, and with what in memory. */
    readonly recallConsole: () => Promise<void>,
    private readonly life: { readonly keeper: LifeKeeper; readonly remember: (record: LifeRecord | undefined) => void },
  ) {}

  /** For a look at what it uses. */
  get subject(): StatsSubject {
    const { parts, executor } = this;
    return { spec: parts.spec, pid: executor.pid, isAlive: pid => executor.isAlive(pid) };
  }

  /** What an earlier supervisor has written down of the last life, if it has. */
  remember(record: LifeRecord | undefined): void {
    this.life.remember(record);
  }

  /** Takes over a PID 1 that was found: alive, or ended while nobody supervised. */
  async adopt(pid: number, registers: Registers): Promise<void> {
    this.lifecycle.adopt((await isFrozen(this.parts.spec, this.parts.host.facts)) ? 'frozen' : 'running');
    this.keeping.power.running();
    const { 'fd:pidfd': pidfd, 'fd:console': console } = registers;
    const ended = pidfd !== undefined && poll([pidfd], 0)[0] !== 0;
    this.announcer.publish({
      type: 'notice',
      code: 'adopted',
      message: [
        `PID 1 (host pid ${pid}) ${ended ? 'had ended' : 'was found alive'}`,
        ...(console === undefined ? ['its console output until now is lost, and nothing can be typed there'] : []),
      ].join('; '),
    });
    try {
      await this.executor.adopt(pid, registers);
      if (this.lifecycle.context.at === 'running') this.keeping.vitals.begin(true);
    } catch (error) {
      const { message } = asCaissonError(error);
      this.announcer.publish({ type: 'notice', code: 'syslog-lost', message: `/dev/log is not read: ${message}` });
    }
  }

  /** There is a new keeper: it holds nothing yet. */
  keep(): Promise<void> {
    return this.executor.keep();
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
    this.retired = retired;
    if (this.keeping.governor === undefined) this.keeping.restarter.decides = !retired;
    this.lifecycle.retire(retired);
  }

  /** Resolves when it is up. @throws CaissonError TIMEOUT, or why it has ended before. */
  ready(timeout: number): Promise<void> {
    return this.readiness.wait(timeout);
  }

  /** Nothing of it may be left on the host. @throws CaissonError CLEANUP_FAILED, UNKILLABLE */
  async tidy(): Promise<void> {
    await this.executor.tidy();
    await Promise.all([this.life.keeper.drop(), this.keeping.power.drop()]);
  }

  /** Settles when no operation is under way, and none will be by itself; its outcome is its caller's. */
  settled(): Promise<void> {
    this.keeping.vitals.end();
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
