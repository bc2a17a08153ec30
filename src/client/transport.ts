/** One request to a daemon, over its Unix socket or TCP. */
import { Agent, request as httpRequest, type IncomingMessage, type RequestOptions } from 'node:http';
import { Agent as SecureAgent, request as secureRequest } from 'node:https';
import { errorOf } from '../api/problem.js';
import { CaissonError } from '../spec/errors.js';

export interface ClientOptions {
  /** Unix socket of the daemon. Default: /run/caisson/caisson.sock, unless there is a `url`. */
  readonly socket?: string;
  /** `https://host:7000`, with a token. */
  readonly url?: string;
  readonly token?: string;
  /** Certificate authority of the daemon's certificate, in PEM, if it is none of the usual. */
  readonly ca?: string;
}

export const DEFAULT_SOCKET = '/run/caisson/caisson.sock';

export interface Sent {
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal | undefined;
}

export class Transport {
  private readonly options: RequestOptions;
  private readonly request: typeof httpRequest;
  private readonly agent: Agent;
  private readonly where: string;

  constructor(private readonly given: ClientOptions) {
    const { socket = DEFAULT_SOCKET, url, token, ca } = given;
    const parsed = url === undefined ? undefined : new URL(url);
    const secure = parsed?.protocol === 'https:';
    // One connection is enough for most; it does not keep a program alive that has nothing else to do.
    this.agent = secure
      ? new SecureAgent({ keepAlive: true, ...(ca === undefined ? {} : { ca }) })
      : new Agent({ keepAlive: true });
    this.request = secure ? secureRequest : httpRequest;
    this.where = url ?? socket;
    this.options = {
      agent: this.agent,
      ...(parsed === undefined
        ? { socketPath: socket, host: 'localhost' }
        : { host: parsed.hostname.replace(/^\[|\]$/g, ''), port: parsed.port || (secure ? 443 : 80) }),
      headers: token === undefined ? {} : { authorization: `Bearer ${token}` },
    };
  }

  /** @throws CaissonError what the daemon answers with, DAEMON_UNREACHABLE, CANCELLED */
  async json<T>(method: string, path: string, sent: Sent = {}): Promise<T> {
    const response = await this.open(method, path, sent);
    const text = (await all(response)).toString();
    return (text === '' ? undefined : JSON.parse(text)) as T;
  }

  /** The answer as it comes. */
  async open(method: string, path: string, { body, headers = {}, signal }: Sent = {}): Promise<IncomingMessage> {
    const text = body === undefined ? undefined : JSON.stringify(body);
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      const request = this.request(
        {
          ...this.options,
          method,
          path,
          headers: {
            ...(this.options.headers as Record<string, string>),
            ...(text === undefined
              ? {}
              : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) }),
            ...headers,
          },
          ...(signal === undefined ? {} : { signal }),
        },
        resolve,
      );
      request.on('error', error => reject(this.failed(error, signal)));
      request.end(text);
    });
    const { statusCode = 0 } = response;
    if (statusCode < 400) return response;
    const answer = (await all(response)).toString();
    throw errorOf(parsed(answer), statusCode);
  }

  /** Where a WebSocket goes, and with what. */
  webSocket(path: string): { readonly url: string; readonly headers: Record<string, string>; readonly ca?: string } {
    const { url, socket = DEFAULT_SOCKET, ca } = this.given;
    return {
      url: url === undefined ? `ws+unix:${socket}:${path}` : `${url.replace(/^http/, 'ws').replace(/\/$/, '')}${path}`,
      headers: this.options.headers as Record<string, string>,
      ...(ca === undefined ? {} : { ca }),
    };
  }

  failed(error: Error, signal?: AbortSignal): CaissonError {
    if (signal?.aborted === true) return new CaissonError('CANCELLED', 'the call was given up', { cause: error });
    const { code } = error as NodeJS.ErrnoException;
    return new CaissonError('DAEMON_UNREACHABLE', `no daemon answers at ${this.where}: ${error.message}`, {
      errno: code,
      hint: code === 'EACCES' ? 'this needs root, or the group caisson' : 'start one with caisson daemon',
      cause: error,
    });
  }

  close(): void {
    this.agent.destroy();
  }
}

async function all(response: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  try {
    for await (const chunk of response) chunks.push(chunk as Buffer);
  } catch (error) {
    throw new CaissonError('DAEMON_UNREACHABLE', 'the daemon went away in the middle of its answer', { cause: error });
  }
  return Buffer.concat(chunks);
}

function parsed(text: string): Record<string, unknown> {
  try {
    return JSON.parse(text) as Record<string, unknown>;
  } catch {
    return {};
  }
}
