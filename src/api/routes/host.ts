/** The daemon and its host. */
import { TEMPLATES } from '../../supervisor/templates.js';
import { documentOf } from '../openapi.js';
import { type Route, route } from '../route.js';

export function hostRoutes(all: () => readonly Route[]): Route[] {
  return [
    route({
      method: 'GET',
      path: '/v1/host',
      id: 'inspectHost',
      summary: 'The daemon, and what it found out about its host',
      scope: 'read',
      answer: 'Version, state directory, templates, newest event, facts',
      handle: ({ supervisor, version, since }) => ({
        version,
        since,
        stateDir: supervisor.stateDir,
        seq: supervisor.seq,
        templates: TEMPLATES,
        facts: supervisor.facts,
      }),
    }),
    route({
      method: 'GET',
      path: '/v1/openapi.json',
      id: 'openapi',
      summary: 'This document',
      scope: 'read',
      answer: 'OpenAPI 3.1',
      handle: ({ version }) => documentOf(all(), version),
    }),
    route({
      method: 'GET',
      path: '/healthz',
      id: 'health',
      summary: 'Whether the daemon answers',
      scope: 'anybody',
      answer: 'It does',
      handle: () => ({ status: 'ok' }),
    }),
    route({
      method: 'GET',
      path: '/metrics',
      id: 'metrics',
      summary: 'Numbers for Prometheus',
      scope: 'read',
      answer: 'Text',
      produces: 'text/plain',
      handle: async ({ metrics }) => new Response(await metrics.text(), { headers: { 'content-type': metrics.type } }),
    }),
  ];
}
