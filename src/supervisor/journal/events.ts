/** The event log of a supervisor with its journal: one that cannot be written stops no container. */
import { asCaissonError, type CaissonError } from '../../spec/errors.js';
import { type CaissonEvent, EventLog } from '../events.js';
import { lastMoves } from '../hindsight.js';
import { Journal, type JournalOptions } from './journal.js';

export interface EventJournal {
  readonly log: EventLog;
  close(): Promise<void>;
}

/** More than a supervisor tells of in the time by which records are late. */
const LOOKED_AT = 2000;

export async function openJournal(dir: string, options: JournalOptions | false): Promise<EventJournal> {
  if (options === false) return { log: new EventLog(), close: () => Promise.resolve() };
  let log: EventLog | undefined;
  const tell = (error: CaissonError): void => {
    log?.append('', { type: 'notice', code: 'journal-failed', message: error.message });
  };
  try {
    const journal = await Journal.open<CaissonEvent>(dir, options, tell);
    log = new EventLog(journal, lastMoves(await journal.newestFirst(LOOKED_AT)));
    return { log, close: () => journal.close() };
  } catch (error) {
    log = new EventLog();
    tell(asCaissonError(error));
    return { log, close: () => Promise.resolve() };
  }
}
