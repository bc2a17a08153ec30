/** What a start would do, what the last one did, and what it did without. */
import * as v from 'valibot';
import { explain, explainJSON } from '../../plan/explain.js';
import { route } from '../route.js';
import { query } from '../values.js';

export const startRoutes = [
  route({
    method: 'GET',
    path: '/v1/containers/{name}/plan',
    id: 'planContainer',
    summary: 'What a start would do, step by step; nothing is touched',
    scope: 'read',
    query: query({ format: v.optional(v.picklist(['json', 'text'], 'must be json or text')) }),
    answer: 'The plan, or the table that explain prints',
    handle({ supervisor }, { name, query: { format } }) {
      const plan = supervisor.get(name).plan();
      if (format !== 'text') return JSON.parse(explainJSON(plan));
      return new Response(`${explain(plan)}\n`, { headers: { 'content-type': 'text/plain; charset=utf-8' } });
    },
  }),
  route({
    method: 'GET',
    path: '/v1/containers/{name}/timeline',
    id: 'timelineContainer',
    summary: 'Each step of the last start with its times in ns',
    scope: 'read',
    answer: 'A list of steps',
    handle: ({ supervisor }, { name }) => supervisor.get(name).timeline(),
  }),
  route({
    method: 'GET',
    path: '/v1/containers/{name}/report',
    id: 'reportContainer',
    summary: 'What the last start did without, or did otherwise than asked, and why',
    scope: 'read',
    answer: 'The start report',
    handle: ({ supervisor }, { name }) => supervisor.get(name).report(),
  }),
];
