/**
 * What is kept on disk of a container's last life, `<state>/<name>/state.json`: what its start did and did without, what
 * was noted since, and how it ended. For whoever looks when the supervisor is gone; what is now, the kernel knows best.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ExitStatus } from '../machines/exit.js';
import { STATES, type StateName } from '../machines/states.js';
import { CaissonError, type ErrorJSON } from '../spec/errors.js';
import type { EventOf } from './announcer.js';
import type { StartReport } from './report.js';
import { writeAtomic } from './store.js';
import type { TimelineEntry } from './timeline.js';

export const LIFE_FILE = 'state.json';

export interface LastStart {
  /** When it was asked for, in ms since the epoch. */
  readonly time: number;
  readonly report: StartReport;
  readonly timeline: readonly TimelineEntry[];
}

export type LifeNotice = Pick<EventOf<'notice'>, 'time' | 'code' | 'message'>;

export interface LifeRecord {
  readonly version: 1;
  /** When this was written: a supervisor that was killed could not write how it went on. */
  readonly state: StateName;
  readonly exit: ExitStatus | null;
  readonly error: ErrorJSON | null;
  readonly restartCount: number;
  /** null: it has never been started. */
  readonly start: LastStart | null;
  /** Since that start began, the newest last. */
  readonly notices: readonly LifeNotice[];
}

/** @throws CaissonError STATE_INVALID */
export async function readLife(directory: string): Promise<LifeRecord | undefined> {
  const path = join(directory, LIFE_FILE);
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
  const record = parse(text);
  if (record === undefined)
    throw new CaissonError('STATE_INVALID', `${path} is not a record of a life`, { field: path });
  return record;
}

function parse(text: string): LifeRecord | undefined {
  let value: Partial<LifeRecord> | null;
  try {
    value = JSON.parse(text) as Partial<LifeRecord> | null;
  } catch {
    return undefined;
  }
  const { version, state, start, notices } = value ?? {};
  const whole =
    version === 1 &&
    state !== undefined &&
    STATES.includes(state) &&
    Array.isArray(notices) &&
    (start === null || (Array.isArray(start?.timeline) && Array.isArray(start.report?.entries)));
  return whole ? (value as LifeRecord) : undefined;
}

/**
 * A container that lives shorter than this costs no write, and one that comes up leaves the disk to the others that do.
 * What a supervisor wrote less than this before it was killed is lost.
 */
const DELAY_MS = 500;
const NOTICES_KEPT = 100;

/** One after the other, whichever container they are of: each waits for the disk in one of Node's few I/O threads. */
let lastWrite: Promise<void> = Promise.resolve();

export interface LifeSource {
  readonly directory: string;
  /** All but the notices, as it is now. */
  readonly record: () => Omit<LifeRecord, 'version' | 'notices'>;
  readonly failed: (error: Error) => void;
}

export class LifeKeeper {
  private notices: LifeNotice[] = [];
  private timer: NodeJS.Timeout | undefined;
  private written: Promise<void> = Promise.resolve();

  constructor(private readonly source: LifeSource) {}

  /** A new life: what was noted before is of the last one. */
  begin(): void {
    this.notices = [];
  }

  /** What an earlier supervisor has noted of a life that goes on. */
  resume(notices: readonly LifeNotice[]): void {
    this.notices = [...notices, ...this.notices];
  }

  noted({ time, code, message }: LifeNotice): void {
    this.notices.push({ time, code, message });
    if (this.notices.length > NOTICES_KEPT) this.notices.shift();
  }

  /** There is something to write, soon. */
  changed(): void {
    this.timer ??= setTimeout(() => void this.flush(), DELAY_MS).unref();
  }

  /** Writes what waits to be written. */
  flush(): Promise<void> {
    if (this.timer !== undefined) {
      this.forget();
      this.written = this.write();
    }
    return this.written;
  }

  /** Nothing is written any more, and what is being written has been when this resolves. */
  async drop(): Promise<void> {
    this.forget();
    await this.written;
  }

  private forget(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
  }

  private write(): Promise<void> {
    const write = lastWrite.then(async () => {
      const record: LifeRecord = { version: 1, ...this.source.record(), notices: this.notices };
      await writeAtomic(join(this.source.directory, LIFE_FILE), `${JSON.stringify(record)}\n`);
    });
    // The container does not need it: a full disk must not be its end.
    lastWrite = write.catch((error: Error) => this.source.failed(error));
    return lastWrite;
  }
}
