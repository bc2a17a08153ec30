/** The event stream, read over every loss of the connection without gap or repeat. */
import type { IncomingMessage } from 'node:http';
import { errorOf, type Problem } from '../api/problem.js';
import { CaissonError } from '../spec/errors.js';
import type { CaissonEvent } from '../supervisor/events.js';
import type { Transport } from './transport.js';

export interface EventsOptions {
  /** The last sequence number that was seen; without it only new events come. */
  readonly since?: number;
  readonly signal?: AbortSignal;
  /** Only those of these containers. */
  readonly containers?: readonly string[];
  /** Only those of these types. */
  readonly types?: readonly string[];
  /** Come back when the daemon goes away, as it does when it is restarted. Default true. */
  readonly reconnect?: boolean;
}

const FIRST_PAUSE_MS = 50;
const LONGEST_PAUSE_MS = 2000;

/** @throws CaissonError EVENTS_GONE, and what a call throws */
export async function* readEvents(
  transport: Transport,
  options: EventsOptions,
): AsyncGenerator<CaissonEvent, void, void> {
  const { signal, reconnect = true } = options;
  const reader: Reader = { id: options.since, retried: 0 };
  const givenUp = (): boolean => signal?.aborted === true;
  while (!givenUp()) {
    try {
      const response = await transport.open('GET', `/v1/events${queryOf(options)}`, {
        headers: reader.id === undefined ? {} : { 'last-event-id': String(reader.id) },
        signal,
      });
      try {
        yield* eventsOf(response, reader);
      } finally {
        response.destroy();
      }
      if (!reconnect) return;
    } catch (error) {
      if (givenUp()) return;
      const lost = !CaissonError.is(error) || error.code === 'DAEMON_UNREACHABLE';
      // Before the first word there is nothing to come back to: nobody knows where the reader would go on.
      if (!lost || !reconnect || reader.id === undefined) throw error;
    }
    await pause(Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** reader.retried++), signal);
  }
}

interface Reader {
  /** Of the last event that was seen, or that did not concern us. */
  id: number | undefined;
  retried: number;
}

function queryOf({ containers, types }: EventsOptions): string {
  const query = new URLSearchParams();
  if (containers !== undefined) query.set('container', containers.join(','));
  if (types !== undefined) query.set('type', types.join(','));
  const text = query.toString();
  return text === '' ? '' : `?${text}`;
}

async function* eventsOf(response: IncomingMessage, reader: Reader): AsyncGenerator<CaissonEvent, void, void> {
  response.setEncoding('utf8');
  let rest = '';
  for await (const chunk of response) {
    const blocks = (rest + (chunk as string)).split('\n\n');
    rest = blocks.pop() ?? '';
    for (const block of blocks) {
      const fields = fieldsOf(block);
      if (fields.event === 'problem') {
        const problem = JSON.parse(fields.data ?? '{}') as Problem;
        throw errorOf(problem, problem.status);
      }
      reader.retried = 0;
      if (fields.id !== undefined) reader.id = Number(fields.id);
      if (fields.data !== undefined) yield JSON.parse(fields.data) as CaissonEvent;
    }
  }
}

function fieldsOf(block: string): Record<string, string> {
  return Object.fromEntries(
    block
      .split('\n')
      .filter(line => !line.startsWith(':') && line.includes(': '))
      .map(line => [line.slice(0, line.indexOf(': ')), line.slice(line.indexOf(': ') + 2)]),
  );
}

function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise(resolve => {
    const done = (): void => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal?.addEventListener('abort', done, { once: true });
  });
}
