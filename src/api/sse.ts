/** Events as server-sent events (WHATWG HTML §9.2): each id is a sequence number, so that a reader can go on where it was. */
import { asCaissonError, CaissonError } from '../spec/errors.js';
import type { CaissonEvent } from '../supervisor/events.js';
import { problemOf } from './problem.js';
import type { Call } from './route.js';
import type { Service } from './service.js';

/** What a reader waits before it comes back. */
const RETRY_MS = 1000;

export interface EventFilter {
  readonly containers: ReadonlySet<string> | null;
  readonly types: ReadonlySet<string> | null;
}

/** One text for all readers. */
const texts = new WeakMap<CaissonEvent, string>();

function textOf(event: CaissonEvent): string {
  const known = texts.get(event);
  if (known !== undefined) return known;
  const text = `id: ${event.seq}\nevent: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`;
  texts.set(event, text);
  return text;
}

const matches = ({ containers, types }: EventFilter, event: CaissonEvent): boolean =>
  (containers === null || containers.has(event.container)) && (types === null || types.has(event.type));

/**
 * A reader takes from the journal at its own pace: a slow one costs no memory and holds up nobody. One that has stopped
 * reading is cut off, and so is one that falls behind what is kept.
 */
export async function eventStream(
  { supervisor, heartbeat, patience, metrics }: Service,
  { signal, cut }: Pick<Call<unknown, unknown>, 'signal' | 'cut'>,
  since: number | undefined,
  filter: EventFilter,
): Promise<Response> {
  if (since !== undefined && since > supervisor.seq) {
    throw new CaissonError('REQUEST_INVALID', `event ${since} has not happened yet: the newest is ${supervisor.seq}`, {
      field: 'last-event-id',
      hint: 'it is of another state directory, or of one that was removed: begin again without it',
    });
  }
  const begin = since ?? supervisor.seq;
  const ended = new AbortController();
  const stop = AbortSignal.any([signal, ended.signal]);
  const events = supervisor.events({ since: begin, signal: stop });
  // What is no longer kept is refused as long as there is a status to do it with.
  let next: Promise<IteratorResult<CaissonEvent, void>> = events.next();
  if (begin < supervisor.seq) {
    await next.catch((error: unknown) => {
      ended.abort();
      throw gone(error);
    });
  }
  next.catch(() => undefined);
  let seen = begin;
  let told = begin;
  let stalled: NodeJS.Timeout | undefined;
  const end = (): void => {
    clearTimeout(stalled);
    if (!ended.signal.aborted) metrics.streams.dec();
    ended.abort();
  };
  metrics.streams.inc();
  const watch = (): void => {
    clearTimeout(stalled);
    stalled = setTimeout(() => {
      end();
      cut();
    }, patience);
    stalled.unref();
  };
  const body = new ReadableStream<Uint8Array>(
    {
      start(controller) {
        controller.enqueue(Buffer.from(`retry: ${RETRY_MS}\nid: ${begin}\n\n`));
        watch();
      },
      async pull(controller) {
        clearTimeout(stalled);
        try {
          const text = await more();
          if (text === undefined) {
            end();
            controller.close();
            return;
          }
          controller.enqueue(Buffer.from(text));
          watch();
        } catch (error) {
          end();
          controller.enqueue(Buffer.from(`event: problem\ndata: ${JSON.stringify(problemOf(gone(error)))}\n\n`));
          controller.close();
        }
      },
      cancel: end,
    },
    // Some hundred events.
    new ByteLengthQueuingStrategy({ highWaterMark: 64 * 1024 }),
  );
  return new Response(body, {
    headers: { 'content-type': 'text/event-stream', 'cache-control': 'no-store', 'x-accel-buffering': 'no' },
  });

  /** The next event that is wanted, or a sign of life; undefined at the end. */
  async function more(): Promise<string | undefined> {
    const late = Date.now() + heartbeat;
    for (;;) {
      const result = await within(next, late - Date.now());
      if (result === undefined) {
        // Also how far a reader is whom no event has concerned.
        if (told === seen) return ':\n\n';
        told = seen;
        return `:\nid: ${seen}\n\n`;
      }
      if (result.done === true) return undefined;
      next = events.next();
      next.catch(() => undefined);
      seen = result.value.seq;
      if (!matches(filter, result.value)) continue;
      told = seen;
      return textOf(result.value);
    }
  }
}

/** Of what is no longer kept, or cannot be read any more, there is but one way on. */
function gone(error: unknown): CaissonError {
  return new CaissonError('EVENTS_GONE', asCaissonError(error).message, {
    field: 'last-event-id',
    hint: 'look at the containers as they are, then begin again without it',
  });
}

/** Undefined when it takes longer. */
function within<T>(promise: Promise<T>, ms: number): Promise<T | undefined> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => resolve(undefined), Math.max(0, ms));
    promise.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}
