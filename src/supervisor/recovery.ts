/** A state directory is taken over: its records are read, what runs is adopted, what the dead left is cleared (LIF-13). */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type PidRecord, parseRecord } from '../plan/record.js';
import { CaissonError } from '../spec/errors.js';
import { close } from '../syscalls/fs.js';
import { pidOf } from '../syscalls/process.js';
import type { Registers } from '../workers/context.js';
import { findAlive } from './adoption.js';
import type { Container } from './container.js';
import type { Host } from './host.js';
import { LIFE_FILE, readLife } from './life.js';
import { POWER_FILE, readPower } from './power.js';
import type { Discard, Store, StoredContainer } from './store.js';

export interface RecoveryEffects {
  /** The container of a record. @throws CaissonError when this version does not accept it. */
  restore(stored: StoredContainer): Container;
  /** A record could not be used, and lies beside what it was. */
  setAside(error: CaissonError): void;
  /** What the host needs for this container, besides what all need. */
  makeRoomFor(container: Container): Promise<void>;
  remove(container: Container): Promise<void>;
  readonly discard: Discard;
}

/** What the volatile record of PID 1 says; undefined where there is none, or a torn one. */
interface Recorded {
  readonly text: string;
  readonly record: PidRecord;
}

export class Recovery {
  constructor(
    private readonly store: Store,
    private readonly host: Host,
    private readonly effects: RecoveryEffects,
  ) {}

  /** The containers that are recorded, and whether every record could be read. */
  async read(): Promise<{ containers: Container[]; complete: boolean }> {
    const { containers: stored, setAside, directories } = await this.store.load(this.effects.discard);
    for (const error of setAside) this.effects.setAside(error);
    const containers: Container[] = [];
    for (const record of stored) {
      try {
        containers.push(this.effects.restore(record));
      } catch (error) {
        // One record that this version does not accept must not keep the others from being supervised.
        if (!CaissonError.is(error)) throw error;
        const name = String(record.spec.name);
        await this.store.setAside(name);
        this.effects.setAside(
          new CaissonError('STATE_INVALID', `record of ${name}: ${error.message}`, {
            field: error.field,
            cause: error,
          }),
        );
      }
    }
    return { containers, complete: containers.length === directories };
  }

  /** Adopts what runs; ends what was half-made, found in its cgroup, and clears what the dead left. */
  async takeOver(containers: readonly Container[]): Promise<void> {
    const records = await Promise.all(containers.map(recordOf));
    // First: whatever is started while others are still taken over must not be given their place.
    containers.forEach(({ name }, index) => {
      const kept = records[index]?.record.kept ?? null;
      if (kept !== null) this.host.keeper?.reserve(name, kept);
    });
    await Promise.all(containers.map((container, index) => this.takeOverOne(container, records[index])));
  }

  private async takeOverOne(container: Container, recorded: Recorded | undefined): Promise<void> {
    const { custody } = container;
    await this.recall(container);
    await custody.recallConsole();
    await this.effects.makeRoomFor(container);
    const found = recorded === undefined ? undefined : await this.find(recorded);
    if (found !== undefined) {
      await custody.adopt(found.pid, found.registers);
      return;
    }
    await custody.sweep();
    // It has ended while nobody looked (LIF-47).
    if (custody.keeping.isLeftover()) await this.effects.remove(container);
  }

  /** PID 1 by its record: with what a keeper holds of it, or alone if it is alive. */
  private async find({ text, record }: Recorded): Promise<{ pid: number; registers: Registers } | undefined> {
    const { pid, kept } = record;
    const held = kept === null ? {} : (this.host.keeper?.take(pid, kept) ?? {});
    const pidfd = held['fd:pidfd'];
    if (pidfd !== undefined && pidOf(pidfd) === pid) return { pid, registers: held };
    // What has been reaped has no number, and may be a life before the one that is recorded.
    const alive = await findAlive(text);
    if (alive === undefined && pidfd !== undefined) return { pid, registers: held };
    for (const fd of Object.values(held)) close(fd);
    return alive === undefined ? undefined : { pid, registers: { 'fd:pidfd': alive.pidfd } };
  }

  /** What was written of its last life, if it can be read. */
  private async recall(container: Container): Promise<void> {
    const directory = this.store.directoryOf(container.name);
    const tolerantly = async (file: string, read: () => Promise<void>): Promise<void> => {
      try {
        await read();
      } catch (error) {
        if (!CaissonError.is(error)) throw error;
        await this.store.setAside(container.name, file);
        this.effects.setAside(error);
      }
    };
    await tolerantly(LIFE_FILE, async () => {
      container.custody.remember(await readLife(directory));
    });
    await tolerantly(POWER_FILE, async () => {
      container.custody.keeping.power.recall(await readPower(directory));
    });
  }
}

async function recordOf(container: Container): Promise<Recorded | undefined> {
  const text = await readFile(join(container.runDir, 'pid'), 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error;
    return '';
  });
  const record = parseRecord(text);
  return record === undefined ? undefined : { text, record };
}
