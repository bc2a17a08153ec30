/** `caisson stats`: what the containers that run use. */
import process from 'node:process';
import type { StatsSample } from '../../supervisor/stats.js';
import { openBackend, type Where } from '../backend.js';
import { print } from '../print.js';
import { table } from '../table.js';

export interface StatsCommandOptions extends Where {
  readonly json?: boolean;
  readonly watch?: boolean;
}

const MIB = 1024 * 1024;
const CLEAR = '\x1b[H\x1b[J';

export async function statsCommand(words: readonly string[], options: StatsCommandOptions): Promise<void> {
  const { json = false, watch = false, ...where } = options;
  const names = words.length === 0 ? {} : { names: words };
  const ending = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => ending.abort());
  process.stdout.on('error', () => ending.abort());
  const backend = await openBackend(where);
  try {
    // Refuses a name that is not there; a watch leaves such a one out.
    const found = await backend.stats(names);
    if (!watch) {
      const containers = found.map(stats => ({ stats, rates: null }));
      await print(json ? `${JSON.stringify(found, null, 2)}\n` : text({ time: Date.now(), containers }));
      return;
    }
    for await (const sample of backend.watchStats({ ...names, signal: ending.signal })) {
      const clear = process.stdout.isTTY ? CLEAR : '';
      await print(json ? `${JSON.stringify(sample)}\n` : `${clear}${text(sample)}`);
    }
  } finally {
    await backend.close();
  }
}

function text({ containers }: StatsSample): string {
  const rows = containers.map(({ stats: { name, cpu, memory, pids }, rates }) => [
    name,
    rates?.cpuCores == null ? '-' : `${(rates.cpuCores * 100).toFixed(1)}%`,
    cpu?.usageNs == null ? '-' : `${(cpu.usageNs / 1e9).toFixed(2)} s`,
    memory === null ? '-' : `${(memory.currentBytes / MIB).toFixed(1)} MiB`,
    pids === null ? '-' : String(pids.current),
  ]);
  return table([['NAME', 'CPU', 'CPU TIME', 'MEMORY', 'PIDS'], ...rows]);
}
