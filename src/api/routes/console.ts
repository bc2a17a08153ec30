/** What a container prints on its console. */
import * as v from 'valibot';
import { route } from '../route.js';
import { query, yesNo } from '../values.js';

const from = v.pipe(
  v.string(),
  v.regex(/^(now|\d{1,15})$/, 'must be a byte offset, or now'),
  v.transform(value => (value === 'now' ? value : Number(value))),
);

export const consoleRoutes = [
  route({
    method: 'GET',
    path: '/v1/containers/{name}/console',
    id: 'readConsole',
    summary: 'What is kept of the console, from a byte offset on; with follow also what comes',
    scope: 'read',
    query: query({ from: v.optional(from), follow: v.optional(yesNo) }),
    answer: 'The bytes; the header caisson-offset is the offset of the first',
    produces: 'application/octet-stream',
    streams: true,
    handle({ supervisor }, { name, query: { from = 0, follow = false }, signal }) {
      const { console } = supervisor.get(name);
      const first = from === 'now' ? console.end : from;
      const { data, offset } = console.since(first);
      const headers = { 'content-type': 'application/octet-stream', 'caisson-offset': String(offset) };
      if (!follow) return new Response(new Uint8Array(data), { headers });
      const ended = new AbortController();
      const chunks = console.read({ from: offset, signal: AbortSignal.any([signal, ended.signal]) });
      const body = new ReadableStream<Uint8Array>({
        async pull(controller) {
          const { done, value } = await chunks.next();
          if (done === true) controller.close();
          else controller.enqueue(value.data);
        },
        cancel: () => ended.abort(),
      });
      return new Response(body, { headers });
    },
  }),
];
