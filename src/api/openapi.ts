/** The OpenAPI document: made of the table of routes, and so never behind it. */
import { toJsonSchema } from '@valibot/to-json-schema';
import type * as v from 'valibot';
import { CaissonError } from '../spec/errors.js';
import { containerSpecSchema } from '../spec/schema.js';
import { problemOf } from './problem.js';
import type { Route } from './route.js';

type Json = Record<string, unknown>;
type Schema = v.GenericSchema<unknown, unknown>;

/** `output`: what a pipe has come to is told better by its last schema. Of a query it is the text that is sent. */
function schemaOf(schema: Schema, typeMode: 'input' | 'output'): Json {
  const {
    $schema: _,
    $defs = {},
    ...rest
  } = toJsonSchema(schema, { target: 'draft-2020-12', typeMode, errorMode: 'ignore' });
  return inlined(rest, $defs as Json) as Json;
}

/** A schema that is looked up by a number of its own document has no place in another one. */
function inlined(value: unknown, definitions: Json): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map(one => inlined(one, definitions));
  const { $ref } = value as Json;
  if (typeof $ref === 'string') return inlined(definitions[$ref.replace('#/$defs/', '')], definitions);
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, inlined(one, definitions)]));
}

function specSchema(): Json {
  const spec = schemaOf(containerSpecSchema as unknown as Schema, 'output');
  const properties = { ...(spec.properties as Json) };
  // One of several kinds, each with keys of its own: docs/spec.md.
  properties.rootfs = { type: ['string', 'object'] };
  properties.template = { type: 'string', description: 'in place of rootfs' };
  properties.overlay = { type: 'string', description: 'with template: as rootfs.overlay' };
  return { ...spec, properties, required: ['name'], description: 'docs/spec.md says what each field means' };
}

function bodyOf(route: Route): Json | undefined {
  if (route.body === undefined) return undefined;
  const schema =
    route.id === 'createContainer'
      ? { $ref: '#/components/schemas/ContainerSpec' }
      : route.id === 'updateContainer'
        ? { type: 'object', description: 'fields of a spec that can be changed: docs/api.md' }
        : schemaOf(route.body, 'output');
  const required = Array.isArray((schema as Json).required) && ((schema as Json).required as unknown[]).length > 0;
  return { required: required || '$ref' in schema, content: { 'application/json': { schema } } };
}

function parametersOf(route: Route): Json[] {
  const path = [...route.path.matchAll(/\{(\w+)\}/g)].map(([, name]) => ({
    name,
    in: 'path',
    required: true,
    schema: { type: 'string' },
  }));
  const query = route.query === undefined ? {} : ((schemaOf(route.query, 'input').properties ?? {}) as Json);
  const key = { $ref: '#/components/parameters/IdempotencyKey' };
  return [
    ...path,
    ...Object.entries(query).map(([name, schema]) => ({ name, in: 'query', schema })),
    ...(route.method === 'GET' || route.streams === true ? [] : [key]),
  ];
}

function operationOf(route: Route): Json {
  const requestBody = bodyOf(route);
  const content =
    route.status === 204
      ? undefined
      : { [route.produces ?? 'application/json']: { schema: { description: route.answer } } };
  return {
    operationId: route.id,
    summary: route.summary,
    parameters: parametersOf(route),
    ...(requestBody === undefined ? {} : { requestBody }),
    responses: {
      [route.status]: { description: route.answer, ...(content === undefined ? {} : { content }) },
      default: { $ref: '#/components/responses/Problem' },
    },
    security: route.scope === 'anybody' ? [] : [{ token: [route.scope] }],
  };
}

/** For the document that is checked in: every new field of a spec would be a change of it. */
const SPEC_BY_NAME: Json = { type: 'object', description: 'docs/spec.md; a daemon serves its schema in full' };

/** @param full with the schema of a container spec. */
export function documentOf(routes: readonly Route[], version: string, full = true): Json {
  const paths: Record<string, Json> = {};
  for (const route of routes) {
    paths[route.path] = { ...paths[route.path], [route.method.toLowerCase()]: operationOf(route) };
  }
  const example = problemOf(new CaissonError('CONTAINER_NOT_FOUND', 'there is no container "web"', { field: 'name' }));
  return {
    openapi: '3.1.0',
    info: { title: 'Caisson', version, description: 'System containers of one host: docs/http.md' },
    servers: [{ url: '/' }],
    paths,
    components: {
      schemas: {
        ContainerSpec: full ? specSchema() : SPEC_BY_NAME,
        Problem: {
          type: 'object',
          description: 'RFC 9457; code, field, step, errno and hint as in docs/errors.md',
          properties: Object.fromEntries(
            ['type', 'title', 'detail', 'code', 'field', 'errno', 'hint'].map(key => [key, { type: 'string' }]),
          ),
          required: ['type', 'title', 'status', 'detail', 'code'],
        },
      },
      parameters: {
        IdempotencyKey: {
          name: 'Idempotency-Key',
          in: 'header',
          description: 'a call that is made again with the same key is answered as the first was',
          schema: { type: 'string', maxLength: 255 },
        },
      },
      responses: {
        Problem: {
          description: 'It was refused, or has failed',
          content: { 'application/problem+json': { schema: { $ref: '#/components/schemas/Problem' }, example } },
        },
      },
      securitySchemes: { token: { type: 'http', scheme: 'bearer' } },
    },
  };
}
