/** `caisson timeline`: the steps of the last start with their times. */
import type { TimelineEntry } from '../../supervisor/timeline.js';
import { findDaemon, type Where } from '../backend.js';
import { print } from '../print.js';
import { table } from '../table.js';

export async function timelineCommand(name: string, options: Where & { readonly json?: boolean }): Promise<void> {
  const entries = await timelineFor(name, options);
  if (options.json === true) return await print(`${JSON.stringify(entries, null, 2)}\n`);
  const us = (ns: number): string => (ns / 1000).toFixed(1);
  const rows = entries.map(({ phase, executor, label, start, end, outcome, errno }) => [
    us(start),
    us(end - start),
    phase,
    executor,
    errno === undefined ? outcome : `${outcome} ${errno}`,
    label,
  ]);
  await print(table([['AT (µs)', 'TOOK', 'PHASE', 'BY', 'OUTCOME', 'WHAT'], ...rows]));
}

/** Without a daemon from the container's files: no lock is needed. */
async function timelineFor(name: string, where: Where): Promise<readonly TimelineEntry[]> {
  const daemon = await findDaemon(where);
  if (daemon === undefined) {
    const { inspect } = await import('../../supervisor/inspect.js');
    return (await inspect(name, where.state)).start?.timeline ?? [];
  }
  try {
    return await daemon.get(name).timeline();
  } finally {
    daemon.close();
  }
}
