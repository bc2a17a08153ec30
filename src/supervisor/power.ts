/**
 * Whether a container or group is to run, `power.json` in its directory: what autostart() goes by (LIF-44). Not what is:
 * a host that goes down leaves everything as it was to be.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { PowerRecord } from '../machines/autostart.js';
import { RecordFile, readRecordFile } from './record-file.js';

export const POWER_FILE = 'power.json';

/** @throws CaissonError STATE_INVALID */
export function readPower(directory: string): Promise<PowerRecord | undefined> {
  return readRecordFile<PowerRecord>(
    join(directory, POWER_FILE),
    ({ version, power, bootId, unfinished = 0 }) =>
      version === 1 &&
      (power === 'running' || power === 'stopped') &&
      typeof bootId === 'string' &&
      Number.isInteger(unfinished),
  );
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
  private readonly file: RecordFile;

  constructor(private readonly source: PowerSource) {
    const path = join(source.directory, POWER_FILE);
    this.file = new RecordFile({ path, record: () => this.known, failed: source.failed });
  }

  get record(): PowerRecord | undefined {
    return this.known;
  }

  /** What an earlier supervisor has left. */
  recall(record: PowerRecord | undefined): void {
    this.known = record;
    this.file.found(record);
  }

  /** It runs, and is to run; written soon. */
  running(now = false): void {
    this.set({ power: 'running' }, now);
  }

  /** It is to run, and is about to be made to; written at once. */
  wanted(): void {
    const { warning, unfinished } = this.known ?? {};
    this.set({ power: 'running', ...(warning && { warning }), ...(unfinished && { unfinished }) }, true);
  }

  /** It is to stay as it is, from now on: written at once. */
  stopped(asked: boolean): void {
    const { warning } = this.known ?? {};
    this.set({ power: 'stopped', ...(asked && { asked }), ...(warning && { warning }) }, true);
  }

  warn(message: string): void {
    const { power = 'running' } = this.known ?? {};
    this.set({ power, warning: { message, time: Date.now() } }, true);
  }

  /** The host is about to start it. Resolves when the next supervisor would know, should all end with that. */
  beginStart(): Promise<void> {
    const { warning, unfinished = 0 } = this.known ?? {};
    this.set({ power: 'running', ...(warning && { warning }), unfinished: unfinished + 1 }, true);
    return this.file.flush();
  }

  /** That start has come to an end, whichever. */
  endStart(): void {
    if (this.known?.unfinished === undefined) return;
    const { unfinished: _ended, ...known } = this.known;
    this.set(known, false);
  }

  /** Resolves when what is known is on the disk. */
  flush(): Promise<void> {
    return this.file.flush();
  }

  /** Nothing is written any more, and what is being written has been when this resolves. */
  drop(): Promise<void> {
    return this.file.drop();
  }

  private set(record: Omit<PowerRecord, 'version' | 'bootId'>, now: boolean): void {
    this.known = { ...record, version: 1, bootId: this.source.bootId };
    if (now) void this.file.now();
    else this.file.soon();
  }
}
