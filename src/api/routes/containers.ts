/** Containers: which there are, one more, one changed, one less. */
import * as v from 'valibot';
import { STATES, type StateName } from '../../machines/states.js';
import { CaissonError } from '../../spec/errors.js';
import type { CreateInput } from '../../supervisor/supervisor.js';
import type { ContainerUpdate } from '../../supervisor/update.js';
import { route } from '../route.js';
import { query, words } from '../values.js';

const CONTAINERS = '/v1/containers';
const ONE = `${CONTAINERS}/{name}`;
/** The supervisor checks it, and names what is wrong. */
const record = v.record(v.string(), v.unknown());

function statesOf(names: readonly string[] | undefined): ReadonlySet<StateName> | null {
  if (names === undefined) return null;
  const wrong = names.find(name => !(STATES as readonly string[]).includes(name));
  if (wrong !== undefined)
    throw new CaissonError('REQUEST_INVALID', `state: there is no state ${wrong}`, { field: 'state' });
  return new Set(names as StateName[]);
}

export const containerRoutes = [
  route({
    method: 'GET',
    path: CONTAINERS,
    id: 'listContainers',
    summary: 'All containers, oldest first; or those of these names and states',
    scope: 'read',
    query: query({ name: v.optional(words), state: v.optional(words) }),
    answer: 'A list of containers',
    handle({ supervisor }, { query: { name, state } }) {
      const states = statesOf(state);
      return supervisor
        .list()
        .filter(container => name?.includes(container.name) !== false && states?.has(container.state) !== false);
    },
  }),
  route({
    method: 'POST',
    path: CONTAINERS,
    id: 'createContainer',
    summary: 'Record a container; it does not run yet',
    scope: 'admin',
    body: record,
    status: 201,
    answer: 'The container',
    async handle({ supervisor }, { body, signal }) {
      return await supervisor.create(body as unknown as CreateInput, { signal });
    },
  }),
  route({
    method: 'GET',
    path: ONE,
    id: 'inspectContainer',
    summary: 'One container',
    scope: 'read',
    answer: 'The container',
    handle: ({ supervisor }, { name }) => supervisor.get(name),
  }),
  route({
    method: 'PATCH',
    path: ONE,
    id: 'updateContainer',
    summary: 'Change what can be changed of its spec, for good and at once',
    scope: 'admin',
    body: record,
    answer: 'The container',
    async handle({ supervisor }, { name, body }) {
      const container = supervisor.get(name);
      await container.update(body as ContainerUpdate);
      return container;
    },
  }),
  route({
    method: 'DELETE',
    path: ONE,
    id: 'removeContainer',
    summary: 'Remove a container that has ended, with all that belongs to it',
    scope: 'admin',
    status: 204,
    answer: 'It is gone',
    async handle({ supervisor }, { name }) {
      await supervisor.remove(name);
    },
  }),
];
