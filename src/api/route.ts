/** The form of a route: what it is called with, and who may. The table of them makes the application and its document. */
import type * as v from 'valibot';
import type { Service } from './service.js';

/** `read` tells; `admin` changes, and may do what root may. */
export type Scope = 'read' | 'admin';

export interface Caller {
  readonly via: 'unix' | 'tcp';
  readonly scope: Scope;
  /** `uid 0`, or `token 12ab34cd56ef (ci)`. */
  readonly who: string;
  /** Aborts when its token is revoked. */
  readonly revoked: AbortSignal | null;
}

export interface Call<Q, B> {
  readonly name: string;
  readonly params: Readonly<Record<string, string>>;
  readonly query: Q;
  readonly body: B;
  readonly headers: Headers;
  readonly caller: Caller;
  /** Aborts when the caller has gone, its token is revoked, or the daemon ends. */
  readonly signal: AbortSignal;
  /** Cuts the connection off, without an end of the message. */
  cut(): void;
}

type Schema = v.GenericSchema<unknown, unknown>;

export interface Route {
  readonly method: 'GET' | 'POST' | 'PATCH' | 'DELETE';
  /** As in OpenAPI: `/v1/containers/{name}`. */
  readonly path: string;
  /** operationId. */
  readonly id: string;
  readonly summary: string;
  readonly scope: Scope | 'anybody';
  readonly query?: Schema;
  readonly body?: Schema;
  /** A call without a body is one with `{}`. */
  readonly status: 200 | 201 | 204;
  /** What it answers with. */
  readonly answer: string;
  /** Media type of the answer, JSON unless told. */
  readonly produces?: string;
  /** The answer is no single message: it is neither kept for a repeated call nor timed. */
  readonly streams?: boolean;
  handle(service: Service, call: Call<unknown, unknown>): unknown;
}

interface RouteDefinition<Q extends Schema, B extends Schema>
  extends Omit<Route, 'query' | 'body' | 'handle' | 'status'> {
  readonly query?: Q;
  readonly body?: B;
  readonly status?: Route['status'];
  handle(service: Service, call: Call<v.InferOutput<Q>, v.InferOutput<B>>): unknown;
}

/** Its handler sees what the schemas have let through. */
export function route<Q extends Schema, B extends Schema>(definition: RouteDefinition<Q, B>): Route {
  return { status: 200, ...definition } as Route;
}
