/**
 * Whether a container or group is to run, `power.json` in its directory: what autostart() goes by (LIF-44). Not what is:
 * a host that goes down leaves everything as it was to be.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { PowerRecord } from '../machines/autostart.js';
import { CaissonError } from '../spec/errors.js';
import { writeAtomic } from './store.js';

export const POWER_FILE = 'power.json';

/** A container that lives shorter than this costs no write. */
const DELAY_MS = 500;

/** @throws CaissonError STATE_INVALID */
export async function readPower(directory: string): Promise<PowerRecord | undefined> {
  const path = join(directory, POWER_FILE);
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
  const record = parse(text);
  if (record === undefined) throw new CaissonError('STATE_INVALID', `${path} is no record of power`, { field: path });
  return record;
}

function parse(text: string): PowerRecord | undefined {
  try {
    const record = JSON.parse(text) as Partial<PowerRecord> | null;
    const known = record?.power === 'running' || record?.power === 'stopped';
    return record?.version === 1 && known && typeof record.bootId === 'string' ? (record as PowerRecord) : undefined;
  } catch {
    return undefined;
  }
}

/** Which boot of the host this is. */
export async function hostBootId(): Promise<string> {
  return (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim();
}

export interface PowerSource {
  readonly directory: string;
  readonly bootId: string;
  readonly failed: (error: Error) => void;
}

export class Power {
  private known: PowerRecord | undefined;
  private onDisk: PowerRecord | undefined;
  private timer: NodeJS.Timeout | undefined;
  private writing: Promise<void> = Promise.resolve();

  constructor(private readonly source: PowerSource) {}

  get record(): PowerRecord | undefined {
    return this.known;
  }

  /** What an earlier supervisor has left. */
  recall(record: PowerRecord | undefined): void {
    this.known = record;
    this.onDisk = record;
  }

  /** It runs, and is to run; written soon. */
  running(now = false): void {
    this.set({ version: 1, power: 'running', bootId: this.source.bootId }, now);
  }

  /** It is to stay as it is, from now on: written at once. */
  stopped(asked: boolean): void {
    const { warning } = this.known ?? {};
    const { bootId } = this.source;
    this.set({ version: 1, power: 'stopped', bootId, ...(asked && { asked }), ...(warning && { warning }) }, true);
  }

  warn(message: string): void {
    const { power = 'running' } = this.known ?? {};
    this.set({ version: 1, power, bootId: this.source.bootId, warning: { message, time: Date.now() } }, true);
  }

  /** Resolves when what is known is on the disk. */
  flush(): Promise<void> {
    if (this.timer !== undefined) this.write();
    return this.writing;
  }

  /** Nothing is written any more, and what is being written has been when this resolves. */
  async drop(): Promise<void> {
    clearTimeout(this.timer);
    this.timer = undefined;
    await this.writing;
  }

  private set(record: PowerRecord, now: boolean): void {
    this.known = record;
    if (now) this.write();
    else this.timer ??= setTimeout(() => this.write(), DELAY_MS).unref();
  }

  private write(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
    this.writing = this.writing.then(async () => {
      const { known } = this;
      if (known === undefined || isSame(known, this.onDisk)) return;
      await writeAtomic(join(this.source.directory, POWER_FILE), `${JSON.stringify(known)}\n`);
      this.onDisk = known;
    });
    // The container does not need it: a full disk must not be its end.
    this.writing = this.writing.catch((error: Error) => this.source.failed(error));
  }
}

function isSame(a: PowerRecord, b: PowerRecord | undefined): boolean {
  return a.power === b?.power && a.asked === b.asked && a.bootId === b.bootId && a.warning?.time === b.warning?.time;
}
