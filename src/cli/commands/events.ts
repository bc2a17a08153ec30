/** `caisson events`: what happens, as it happens. */
import process from 'node:process';
import type { CaissonEvent } from '../../supervisor/events.js';
import { openBackend, type Where } from '../backend.js';
import { print } from '../print.js';

export interface EventsCommandOptions extends Where {
  readonly since?: number;
  readonly container?: readonly string[];
  readonly json?: boolean;
}

export async function eventsCommand({ since, container, json, ...where }: EventsCommandOptions): Promise<void> {
  const ending = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => ending.abort());
  // Whoever has seen enough (`| head`) ends this command, too.
  process.stdout.on('error', () => ending.abort());
  const backend = await openBackend(where);
  try {
    const { signal } = ending;
    for await (const event of backend.events({ ...(since === undefined ? {} : { since }), signal })) {
      if (container?.includes(event.container) === false) continue;
      await print(json === true ? `${JSON.stringify(event)}\n` : line(event));
    }
  } finally {
    await backend.close();
  }
}

function line({ seq, time, container, type, ...rest }: CaissonEvent): string {
  const details = Object.entries(rest).map(
    ([key, value]) => `${key}=${typeof value === 'string' ? value : JSON.stringify(value)}`,
  );
  return `${new Date(time).toISOString()}  ${seq}  ${container === '' ? '-' : container}  ${type}  ${details.join(' ')}\n`;
}
