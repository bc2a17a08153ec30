/** What a container can be told to do. */
import * as v from 'valibot';
import { CaissonError } from '../../spec/errors.js';
import { flag, whole } from '../../spec/schema/values.js';
import type { Container } from '../../supervisor/container.js';
import type { EndOfLife } from '../../supervisor/requests.js';
import { route } from '../route.js';
import { number, query } from '../values.js';

/** Milliseconds. */
const timeout = v.optional(whole(0));
/** Unlike a spec's: an empty body stands for the empty object. */
function body<T extends v.ObjectEntries>(entries: T) {
  return v.strictObject(entries, issue => (issue.expected === 'never' ? 'is not a known key' : 'must be an object'));
}
const ending = body({ timeout, force: v.optional(flag) });
const nothing = body({});

type Schema = v.GenericSchema<unknown, unknown>;

function action<B extends Schema>(
  name: string,
  summary: string,
  answer: string,
  schema: B,
  act: (container: Container, options: v.InferOutput<B>) => Promise<unknown>,
) {
  return route({
    method: 'POST',
    path: `/v1/containers/{name}/${name}`,
    id: `${name}Container`,
    summary,
    scope: 'admin',
    body: schema,
    answer,
    async handle({ supervisor }, { name, body }) {
      const container = supervisor.get(name);
      return (await act(container, body)) ?? container;
    },
  });
}

const CONTAINER = 'The container';
const END = 'How its life ended';

const MAX_TIMER_MS = 2 ** 31 - 1;

/** @throws CaissonError TIMEOUT; CLOSED when whoever waits has gone, or the daemon ends */
async function endOf(container: Container, signal: AbortSignal, ms: number | undefined): Promise<EndOfLife> {
  const late = new AbortController();
  const timer = ms === undefined ? undefined : setTimeout(() => late.abort(), Math.min(ms, MAX_TIMER_MS));
  try {
    return await container.wait({ signal: AbortSignal.any([signal, late.signal]) });
  } catch (error) {
    if (signal.aborted) throw new CaissonError('CLOSED', 'the daemon ends; containers live on', { cause: error });
    if (late.signal.aborted) throw new CaissonError('TIMEOUT', `it has not ended within ${ms} ms`, { cause: error });
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

export const actionRoutes = [
  action(
    'start',
    'Start it; with waitReady until PID 1 has reported that it is up',
    CONTAINER,
    body({ waitReady: v.optional(flag), timeout }),
    (container, { waitReady, timeout }) =>
      container.start({
        ...(waitReady === undefined ? {} : { waitReady }),
        ...(timeout === undefined ? {} : { timeout }),
      }),
  ),
  action('stop', 'Ask PID 1 to halt, and kill it after the timeout', END, ending, (container, options) =>
    container.stop(clean(options)),
  ),
  action('kill', 'SIGKILL to PID 1', END, nothing, container => container.kill()),
  action('restart', 'Stop, then start', CONTAINER, ending, (container, options) => container.restart(clean(options))),
  action('reboot', 'Ask PID 1 to reboot; answers when it runs again', CONTAINER, ending, (container, options) =>
    container.reboot(clean(options)),
  ),
  action('freeze', 'Stop every process of it', CONTAINER, nothing, container => container.freeze()),
  action('unfreeze', 'Let them go on', CONTAINER, nothing, container => container.unfreeze()),
  route({
    method: 'GET',
    path: '/v1/containers/{name}/wait',
    id: 'waitContainer',
    summary: 'Answers with the end of the life under way, at once when there is none; a reboot is no end',
    scope: 'read',
    query: query({ timeout: v.optional(number) }),
    answer: END,
    streams: true,
    async handle({ supervisor }, { name, query: { timeout }, signal }) {
      return await endOf(supervisor.get(name), signal, timeout);
    },
  }),
];

function clean(options: { timeout?: number | undefined; force?: boolean | undefined }) {
  const { timeout, force } = options;
  return { ...(timeout === undefined ? {} : { timeout }), ...(force === undefined ? {} : { force }) };
}
