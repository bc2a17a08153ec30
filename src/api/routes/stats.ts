/** What containers use: once, or again and again. */
import * as v from 'valibot';
import { STATS_PARTS } from '../../spec/stats/types.js';
import { jsonLines } from '../lines.js';
import { route } from '../route.js';
import { number, query, words } from '../values.js';

const part = v.picklist(STATS_PARTS, `must be among ${STATS_PARTS.join(', ')}`);
const parts = v.optional(v.pipe(words, v.array(part)));
const given = (parts: readonly v.InferOutput<typeof part>[] | undefined) => (parts === undefined ? {} : { parts });

export const statsRoutes = [
  route({
    method: 'GET',
    path: '/v1/containers/{name}/stats',
    id: 'containerStats',
    summary: 'What a container that runs uses',
    scope: 'read',
    query: query({ parts }),
    answer: 'Its numbers',
    handle: ({ supervisor }, { name, query: { parts } }) => supervisor.get(name).stats(given(parts)),
  }),
  route({
    method: 'GET',
    path: '/v1/stats',
    id: 'stats',
    summary:
      'What the containers use that run; with an interval in milliseconds a line of JSON for each look, with rates',
    scope: 'read',
    query: query({
      name: v.optional(words),
      parts,
      interval: v.optional(
        v.pipe(number, v.minValue(100, 'must be at least 100'), v.maxValue(3_600_000, 'must be at most an hour')),
      ),
    }),
    answer: 'A list of numbers, or a line for each look',
    streams: true,
    handle({ supervisor }, { query: { name, parts, interval }, signal }) {
      const options = { ...given(parts), ...(name === undefined ? {} : { names: name }) };
      if (interval === undefined) return supervisor.stats(options);
      return jsonLines(signal, stop => supervisor.watchStats({ ...options, intervalMs: interval, signal: stop }));
    },
  }),
];
