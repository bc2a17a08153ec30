/**
 * What is kept on disk of a container's last life, `<state>/<name>/state.json`: what its start did and did without, what
 * was noted since, and how it ended. For whoever looks when the supervisor is gone; what is now, the kernel knows best.
 */
import { join } from 'node:path';
import type { ExitStatus } from '../machines/exit.js';
import { STATES, type StateName } from '../machines/states.js';
import type { ErrorJSON } from '../spec/errors.js';
import type { EventOf } from './announcer.js';
import { RecordFile, readRecordFile, WriteQueue } from './record-file.js';
import type { StartReport } from './report.js';
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
  /** Of the newest event when this was written, where there is a journal: later ones know better. */
  readonly seq?: number;
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
export function readLife(directory: string): Promise<LifeRecord | undefined> {
  return readRecordFile<LifeRecord>(join(directory, LIFE_FILE), isWhole);
}

function isWhole({ version, state, start, notices }: Partial<LifeRecord>): boolean {
  return (
    version === 1 &&
    state !== undefined &&
    STATES.includes(state) &&
    Array.isArray(notices) &&
    (start === null || (Array.isArray(start?.timeline) && Array.isArray(start.report?.entries)))
  );
}

const NOTICES_KEPT = 100;

/** Whichever container they are of. */
const queue = new WriteQueue();

export interface LifeSource {
  readonly directory: string;
  /** All but the notices, as it is now. */
  readonly record: () => Omit<LifeRecord, 'version' | 'notices'>;
  readonly failed: (error: Error) => void;
}

export class LifeKeeper {
  private notices: LifeNotice[] = [];
  private readonly file: RecordFile;

  constructor(source: LifeSource) {
    const record = (): LifeRecord => ({ version: 1, ...source.record(), notices: this.notices });
    this.file = new RecordFile({ path: join(source.directory, LIFE_FILE), record, failed: source.failed }, queue);
  }

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
    this.file.soon();
  }

  /** Writes what waits to be written. */
  flush(): Promise<void> {
    return this.file.flush();
  }

  /** Nothing is written any more, and what is being written has been when this resolves. */
  drop(): Promise<void> {
    return this.file.drop();
  }
}
