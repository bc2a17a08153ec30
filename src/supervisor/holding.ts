/** What the keeper holds of one container, and what it has written down of its end (design §5). */
import { readFile } from 'node:fs/promises';
import { endFile, keeperAdd, keeperStore } from '../plan/keeping.js';
import type { HostStep, PlanNotice } from '../plan/step.js';
import type { ContainerSpec } from '../spec/container.js';
import { type RawExit, recordedEnd } from '../syscalls/process.js';
import type { Registers } from '../workers/context.js';
import type { ExecuteResult } from '../workers/execute.js';
import type { Host } from './host.js';

export interface HoldingEffects {
  perform(steps: readonly HostStep[], registers: Registers): Promise<ExecuteResult>;
  notice(notice: PlanNotice): void;
}

export class Holding {
  constructor(
    private readonly host: Host,
    private readonly runDir: string,
    private readonly effects: HoldingEffects,
  ) {}

  /**
   * Has it hold all of a container: the keeper is new, or we are.
   * @param orphan PID 1 is a child of a supervisor that is no more.
   */
  async all(spec: ContainerSpec, registers: Registers, orphan: boolean): Promise<void> {
    await this.tell(keeperStore(spec, this.runDir, orphan), registers);
  }

  /** Has it hold what the console is recorded with. */
  async log(registers: Registers): Promise<void> {
    if (this.host.keeper !== null) await this.tell(keeperAdd(), registers);
  }

  /** How an adopted PID 1 ended, if the keeper learned it before its parent, the host's init, had reaped it. */
  async end(pid: number): Promise<RawExit | undefined> {
    await this.host.keeper?.settled();
    const text = await readFile(endFile(this.runDir), 'utf8').catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT') throw error;
      return '';
    });
    return recordedEnd(text, pid);
  }

  private async tell(steps: readonly HostStep[], registers: Registers): Promise<void> {
    const { cleanupErrors } = await this.effects.perform(steps, registers);
    for (const { message } of cleanupErrors) this.effects.notice({ code: 'not-kept', message });
  }
}
