/** The application: the table of routes, each call let in, checked, carried out and answered. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { type Context, Hono } from 'hono';
import { CaissonError } from '../spec/errors.js';
import { check, parseJson, queryOf, readText } from './body.js';
import { admit, type Door } from './guard.js';
import { type Answer, Idempotency } from './idempotency.js';
import { problemOf, problemResponse } from './problem.js';
import type { Call, Caller, Route } from './route.js';
import type { Service } from './service.js';
import { type Combined, firstOf } from './signals.js';

export interface Bindings {
  readonly incoming: IncomingMessage;
  readonly outgoing: ServerResponse;
  readonly door: Door;
}
type App = Hono<{ Bindings: Bindings }>;
type AppContext = Context<{ Bindings: Bindings }>;

/** `/v1/containers/{name}` as hono has it. */
const pattern = (path: string): string => path.replaceAll(/\{(\w+)\}/g, ':$1');

export function application(service: Service, routes: readonly Route[]): App {
  const app: App = new Hono();
  const idempotency = new Idempotency();
  for (const route of routes) {
    app.on(route.method, pattern(route.path), context => serve(service, idempotency, route, context));
  }
  for (const path of new Set(routes.map(({ path }) => path))) {
    const allow = routes.filter(route => route.path === path).map(({ method }) => method);
    app.all(pattern(path), ({ env, req }) => {
      admit(env.incoming, env.door, 'read');
      const error = new CaissonError('METHOD_NOT_ALLOWED', `${req.method} is not possible here`);
      return problemResponse(error, { allow: allow.join(', ') });
    });
  }
  app.notFound(({ env }) => {
    admit(env.incoming, env.door, 'read');
    return problemResponse(new CaissonError('NOT_FOUND', 'there is nothing at this address'));
  });
  app.onError(error => {
    const own = problemOf(error);
    if (!CaissonError.is(error) || own.status === 500) service.logger?.error({ err: error }, 'a call has failed');
    return problemResponse(error, own.status === 413 ? { connection: 'close' } : {});
  });
  return app;
}

async function serve(service: Service, idempotency: Idempotency, route: Route, context: AppContext): Promise<Response> {
  const { incoming, outgoing, door } = context.env;
  const caller = admit(incoming, door, route.scope);
  const text = route.method === 'GET' ? '' : await readText(context.req.raw);
  const begun = performance.now();
  const given = route.method === 'GET' || route.streams === true ? undefined : incoming.headers['idempotency-key'];
  const key = typeof given === 'string' ? given : undefined;
  const ends = endsOf(service, caller, outgoing, key !== undefined);
  try {
    const call = callOf(route, context, { caller, text, signal: ends.signal });
    const response =
      key === undefined
        ? await respond(service, route, call)
        : responseOf(
            await idempotency.once(caller.who, key, [route.method, incoming.url ?? '', text], () =>
              answer(service, route, call),
            ),
          );
    observe(service, route, response.status, begun);
    if (route.method !== 'GET') service.logger?.info({ who: caller.who, operation: route.id, name: call.name }, 'call');
    return response;
  } catch (error) {
    observe(service, route, problemOf(error).status, begun);
    // Whoever had gone does not hear it.
    if (outgoing.destroyed) return new Response(null, { status: 499 });
    throw error;
  } finally {
    if (outgoing.closed) ends.release();
    else outgoing.once('close', () => ends.release());
  }
}

function observe({ metrics }: Service, { path, method, streams }: Route, status: number, begun: number): void {
  if (streams === true) return;
  metrics.requests.observe({ route: path, method, status: String(status) }, (performance.now() - begun) / 1000);
}

/** Aborts when the connection is gone before the answer is through. */
function whenGone(outgoing: ServerResponse): AbortSignal {
  const gone = new AbortController();
  outgoing.once('close', () => gone.abort());
  if (outgoing.destroyed) gone.abort();
  return gone.signal;
}

/** @param lasting it is carried out to its end: whoever has gone will ask again. */
function endsOf({ closing }: Service, { revoked }: Caller, outgoing: ServerResponse, lasting: boolean): Combined {
  return firstOf([closing, ...(lasting ? [] : [whenGone(outgoing)]), ...(revoked === null ? [] : [revoked])]);
}

interface Admitted {
  readonly caller: Caller;
  readonly text: string;
  readonly signal: AbortSignal;
}

function callOf(route: Route, context: AppContext, { caller, text, signal }: Admitted): Call<unknown, unknown> {
  const { incoming } = context.env;
  const headers = context.req.raw.headers;
  const params = context.req.param() as Record<string, string>;
  const query = queryOf(incoming.url ?? '');
  if (route.query === undefined && Object.keys(query).length > 0) {
    const [field = ''] = Object.keys(query);
    throw new CaissonError('REQUEST_INVALID', `${field}: is not a known parameter`, { field });
  }
  const body = route.body === undefined ? {} : parseJson(text, headers.get('content-type'));
  return {
    name: params.name ?? '',
    params,
    query: route.query === undefined ? {} : check(route.query, query, 'the query'),
    body: route.body === undefined ? {} : check(route.body, body, 'the body'),
    headers,
    caller,
    signal,
    cut: () => incoming.socket.destroy(),
  };
}

async function respond(service: Service, route: Route, call: Call<unknown, unknown>): Promise<Response> {
  const result = await route.handle(service, call);
  if (result instanceof Response) return result;
  return responseOf(answerOf(route, result));
}

function answerOf(route: Route, result: unknown): Answer {
  const headers: Record<string, string> = { 'cache-control': 'no-store' };
  if (route.status === 204) return { status: 204, headers, text: null };
  headers['content-type'] = 'application/json';
  return { status: route.status, headers, text: JSON.stringify(result) };
}

/** What can be given a second time: all but streams. */
async function answer(service: Service, route: Route, call: Call<unknown, unknown>): Promise<Answer> {
  try {
    return answerOf(route, await route.handle(service, call));
  } catch (error) {
    const problem = problemResponse(error);
    return { status: problem.status, headers: Object.fromEntries(problem.headers), text: await problem.text() };
  }
}

function responseOf({ status, headers, text }: Answer): Response {
  return new Response(text, { status, headers });
}
