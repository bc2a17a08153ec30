/** `caisson logs`: what a container's console has printed, from its files; whoever supervises it may be another process. */
import process from 'node:process';
import { readLogs } from '../supervisor/console-log/reader.js';
import { Segments } from '../supervisor/console-log/segments.js';
import { inspect } from '../supervisor/inspect.js';

export interface LogsCommandOptions {
  readonly state: string;
  readonly follow?: boolean;
  readonly tail?: number;
  readonly since?: number;
}

export async function logsCommand(name: string, { state, follow, tail, since }: LogsCommandOptions): Promise<void> {
  const { directory } = await inspect(name, state);
  const stop = new AbortController();
  // `| head` has seen enough.
  process.stdout.on('error', () => stop.abort());
  const chunks = readLogs(new Segments(directory), {
    ...(tail === undefined ? {} : { tail: { lines: tail } }),
    ...(since === undefined ? {} : { since }),
    follow: follow === true,
    signal: stop.signal,
  });
  for await (const { data, lost } of chunks) {
    if (lost > 0 && since !== undefined) process.stderr.write(`caisson: ${lost} bytes are no longer kept\n`);
    if (!stop.signal.aborted) await new Promise<void>(resolve => process.stdout.write(data, () => resolve()));
  }
}
