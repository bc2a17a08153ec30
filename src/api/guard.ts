/** Who may come in: Host, Origin, and whom the kernel or a token says it is. */
import type { IncomingMessage } from 'node:http';
import { CaissonError } from '../spec/errors.js';
import type { Caller, Scope } from './route.js';
import type { Tokens } from './tokens.js';

export type Door =
  /** Who can open the socket is root or of its group; browsers cannot. */
  | { readonly via: 'unix'; whoOf(incoming: IncomingMessage): string }
  | {
      readonly via: 'tcp';
      readonly hosts: ReadonlySet<string>;
      readonly scheme: 'http' | 'https';
      readonly tokens: Tokens;
    };

const NOBODY: Omit<Caller, 'via'> = { scope: 'read', who: 'anybody', revoked: null };

/**
 * @param needed what the caller wants.
 * @throws CaissonError FORBIDDEN, UNAUTHORIZED
 */
export function admit(incoming: IncomingMessage, door: Door, needed: Scope | 'anybody'): Caller {
  const { host, origin, authorization } = incoming.headers;
  if (door.via === 'unix') {
    if (origin !== undefined) throw forbidden('a web page may not call this socket', 'origin');
    return { via: 'unix', scope: 'admin', who: door.whoOf(incoming), revoked: null };
  }
  // A page can make its own name lead to this address (DNS rebinding); its name in Host gives it away.
  if (!door.hosts.has((host ?? '').toLowerCase())) throw forbidden('this daemon does not go by that name', 'host');
  if (origin !== undefined && origin.toLowerCase() !== `${door.scheme}://${host?.toLowerCase()}`)
    throw forbidden('a page of another origin may not call', 'origin');
  if (needed === 'anybody') return { via: 'tcp', ...NOBODY };
  const [, token] = /^Bearer ([\w-]+)$/i.exec(authorization ?? '') ?? [];
  const found = token === undefined ? undefined : door.tokens.find(token);
  if (found === undefined) {
    throw new CaissonError('UNAUTHORIZED', 'this needs a bearer token that is known', {
      field: 'authorization',
      hint: 'make one over the Unix socket: POST /v1/tokens',
    });
  }
  if (needed === 'admin' && found.scope !== 'admin') throw forbidden('this token may only read', 'authorization');
  return { via: 'tcp', scope: found.scope, who: `token ${found.id} (${found.name})`, revoked: found.revoked };
}

function forbidden(message: string, field: string): CaissonError {
  return new CaissonError('FORBIDDEN', message, { field });
}
