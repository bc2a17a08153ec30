/**
 * What the journal knows of the last lives and their records do not: those are written a little late, and a supervisor
 * that is killed meanwhile leaves the record of a life before.
 */
import type { CaissonEvent } from './events.js';
import type { LifeRecord } from './life.js';

/** The last move of a container that is in the journal. */
export interface LastMove extends Pick<LifeRecord, 'state' | 'exit' | 'error'> {
  readonly seq: number;
  /** Of the event with which that life began; 0 where it is not known. */
  readonly begun: number;
}

/** @param events the newest first, some or all. */
export function lastMoves(events: Iterable<CaissonEvent>): Map<string, LastMove> {
  const moves = new Map<string, LastMove>();
  const over = new Set<string>();
  for (const event of events) {
    const { container, seq } = event;
    // What comes before was another container of that name.
    if (event.type === 'created' || event.type === 'removed') over.add(container);
    if (event.type !== 'state' || over.has(container)) continue;
    const { to: state, exit = null, error = null } = event;
    const known = moves.get(container) ?? { seq, state, exit, error, begun: 0 };
    const begun = known.begun === 0 && state === 'creating' ? seq : known.begun;
    moves.set(container, { ...known, begun });
  }
  return moves;
}

/** The record as it would be, had it been written in time; the same one when it was. */
export function inHindsight(record: LifeRecord | undefined, move: LastMove | undefined): LifeRecord | undefined {
  if (move === undefined) return record;
  // Without a number it was written where there is no journal, and nothing can be said.
  if (record !== undefined && (record.seq === undefined || record.seq >= move.seq)) return record;
  const { seq, begun, ...rest } = move;
  const isSameLife = record?.seq !== undefined && begun <= record.seq;
  const life = isSameLife ? record : { restartCount: record?.restartCount ?? 0, start: null, notices: [] };
  return { ...life, ...rest, version: 1, seq };
}
