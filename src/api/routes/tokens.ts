/** Who may call over TCP. */
import * as v from 'valibot';
import { object } from '../../spec/schema/values.js';
import { route } from '../route.js';

const TOKENS = '/v1/tokens';

export const tokenRoutes = [
  route({
    method: 'GET',
    path: TOKENS,
    id: 'listTokens',
    summary: 'The tokens, without their secrets',
    scope: 'admin',
    answer: 'A list of tokens',
    handle: ({ tokens }) => tokens.list(),
  }),
  route({
    method: 'POST',
    path: TOKENS,
    id: 'createToken',
    summary: 'Make a token; it is told this once',
    scope: 'admin',
    body: object({
      name: v.pipe(
        v.string('must be a string'),
        v.regex(/^[\w.@ -]{1,64}$/, 'must be 1 to 64 letters, digits, or . @ - _'),
      ),
      scope: v.picklist(['read', 'admin'], 'must be read or admin'),
    }),
    status: 201,
    answer: 'The token',
    streams: true,
    handle: ({ tokens }, { body: { name, scope } }) => tokens.create(name, scope),
  }),
  route({
    method: 'DELETE',
    path: `${TOKENS}/{id}`,
    id: 'revokeToken',
    summary: 'Revoke a token, and end the streams of whoever has it',
    scope: 'admin',
    status: 204,
    answer: 'It is gone',
    handle: ({ tokens }, { params }) => tokens.revoke(params.id ?? ''),
  }),
];
