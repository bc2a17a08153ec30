/** The events of all containers, as they come. */
import * as v from 'valibot';
import { CaissonError } from '../../spec/errors.js';
import { route } from '../route.js';
import { eventStream } from '../sse.js';
import { number, query, words } from '../values.js';

/** The header that a browser sends when it comes back; the parameter is for the first time. */
function sinceOf(header: string | null, parameter: number | undefined): number | undefined {
  if (header === null || header === '') return parameter;
  if (!/^\d{1,15}$/.test(header)) {
    throw new CaissonError('REQUEST_INVALID', 'last-event-id: must be the id of an event', { field: 'last-event-id' });
  }
  return Number(header);
}

const setOf = (names: readonly string[] | undefined): ReadonlySet<string> | null =>
  names === undefined ? null : new Set(names);

export const eventRoutes = [
  route({
    method: 'GET',
    path: '/v1/events',
    id: 'readEvents',
    summary: 'Events as they come, or after since or the header Last-Event-ID, without gap or repeat',
    scope: 'read',
    query: query({ since: v.optional(number), container: v.optional(words), type: v.optional(words) }),
    answer: 'Server-sent events; the id of each is its sequence number',
    produces: 'text/event-stream',
    streams: true,
    handle(service, call) {
      const { since, container, type } = call.query;
      const filter = { containers: setOf(container), types: setOf(type) };
      return eventStream(service, call, sinceOf(call.headers.get('last-event-id'), since), filter);
    },
  }),
];
