/**
 * WebSockets: programs with their streams, and consoles. Binary messages are bytes of a stream, whose number (0 in, 1 out,
 * 2 error) is the first of them; text messages are JSON: what is wanted first, then what else there is to say.
 */
import type { IncomingMessage, Server } from 'node:http';
import type { Duplex, Readable, Writable } from 'node:stream';
import * as v from 'valibot';
import { type RawData, type WebSocket, WebSocketServer } from 'ws';
import { CaissonError } from '../spec/errors.js';
import { argument, flag, object, text, whole } from '../spec/schema/values.js';
import type { ExecOptions } from '../supervisor/exec-options.js';
import { check } from './body.js';
import { admit, type Door } from './guard.js';
import { problemOf } from './problem.js';
import { user } from './routes/exec.js';
import type { Service } from './service.js';
import { firstOf } from './signals.js';

const PATH = /^\/v1\/containers\/([A-Za-z0-9-]{1,63})\/(exec|console)$/;
const MOST = 1024 * 1024;
/** For the first message. */
const PATIENCE_MS = 10_000;
/** Also how soon a caller is missed who has gone while nothing was taken from him. */
const PING_MS = 5000;

const size = { rows: whole(1, 65_535), cols: whole(1, 65_535) };
const startSchema = object({
  argv: v.array(argument, 'must be a list of strings'),
  env: v.optional(v.record(text, text)),
  cwd: v.optional(text),
  user: v.optional(user),
  tty: v.optional(v.union([flag, object({ rows: v.optional(size.rows), cols: v.optional(size.cols) })])),
});
const followSchema = object({ from: v.optional(v.union([whole(0), v.literal('now')])) });
const saidSchema = v.variant('type', [
  v.strictObject({ type: v.literal('resize'), ...size }),
  v.strictObject({ type: v.literal('signal'), signal: v.union([text, whole(1, 64)]) }),
  v.strictObject({ type: v.literal('end') }),
]);
type Said = v.InferOutput<typeof saidSchema>;

/** Takes the upgrades of a server; `door` is asked as for any call. */
export function takeSessions(server: Server, service: Service, door: () => Door): void {
  const sockets = new WebSocketServer({ noServer: true, maxPayload: MOST, perMessageDeflate: false });
  server.on('upgrade', (incoming: IncomingMessage, socket: Duplex, head: Buffer) => {
    socket.on('error', () => socket.destroy());
    try {
      const caller = admit(incoming, door(), 'admin');
      const [, name = '', what] = PATH.exec((incoming.url ?? '').split('?')[0] ?? '') ?? [];
      if (what === undefined) throw new CaissonError('NOT_FOUND', 'there is no WebSocket at this address');
      const container = service.supervisor.get(name);
      sockets.handleUpgrade(incoming, socket, head, ws => {
        const session = new Session(ws, [service.closing, ...(caller.revoked === null ? [] : [caller.revoked])]);
        service.logger?.info({ who: caller.who, operation: `${what}Session`, name }, 'call');
        void session.run(async first => {
          if (what === 'exec') await execSession(session, container, check(startSchema, first, 'the first message'));
          else await consoleSession(session, container, check(followSchema, first, 'the first message'));
        });
      });
    } catch (error) {
      refuse(socket, error);
    }
  });
}

function refuse(socket: Duplex, error: unknown): void {
  // Node has let go of it: nothing else would ever close it when the other side stays.
  socket.once('finish', () => socket.destroy());
  const problem = problemOf(error);
  const body = JSON.stringify(problem);
  socket.end(
    `HTTP/1.1 ${problem.status} ${problem.title}\r\nConnection: close\r\nContent-Type: application/problem+json\r\n` +
      `Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  );
}

type Container = ReturnType<Service['supervisor']['get']>;

class Session {
  /** Aborts when the other side has gone. */
  readonly signal: AbortSignal;
  onData: (data: Buffer) => void = () => undefined;
  onSaid: (said: Said) => void = () => undefined;
  private readonly gone = new AbortController();
  private held = 0;
  private first: ((value: unknown) => void) | undefined;

  constructor(
    private readonly ws: WebSocket,
    ends: readonly AbortSignal[],
  ) {
    const { signal, release } = firstOf([this.gone.signal, ...ends]);
    this.signal = signal;
    const ping = setInterval(() => ws.ping(), PING_MS);
    ws.on('error', () => ws.terminate());
    ws.on('close', () => {
      clearInterval(ping);
      this.gone.abort();
      release();
    });
    ws.on('message', (data: RawData, isBinary: boolean) => this.take(data as Buffer, isBinary));
    this.signal.addEventListener('abort', () => ws.terminate(), { once: true });
    if (this.signal.aborted) ws.terminate();
  }

  async run(act: (first: unknown) => Promise<void>): Promise<void> {
    try {
      await act(await this.begin());
      this.ws.close(1000);
    } catch (error) {
      if (this.signal.aborted) return;
      await this.say({ type: 'problem', problem: problemOf(error) });
      this.ws.close(1000);
    }
  }

  async say(message: object): Promise<void> {
    await this.send(JSON.stringify(message));
  }

  /** Resolves when it is on its way: whoever reads slowly holds up the writer. */
  async write(stream: 1 | 2, data: Uint8Array): Promise<void> {
    await this.send(Buffer.concat([Buffer.from([stream]), data]));
  }

  async copy(stream: 1 | 2, from: Readable): Promise<void> {
    for await (const chunk of from) await this.write(stream, chunk as Buffer);
  }

  /** What comes in goes to `to`, as fast as that takes it. */
  feed(to: Writable): void {
    this.onData = data => {
      if (to.destroyed || to.writableEnded || to.write(data)) return;
      this.hold(
        new Promise<void>(resolve => {
          const go = (): void => {
            to.off('drain', go);
            to.off('close', go);
            resolve();
          };
          to.on('drain', go);
          to.on('close', go);
        }),
      );
    };
  }

  /** Nothing more is taken until all that was is where it belongs. */
  hold(taken: Promise<unknown>): void {
    if (this.held++ === 0) this.ws.pause();
    const go = (): void => {
      if (--this.held === 0) this.ws.resume();
    };
    taken.then(go, go);
  }

  private send(data: string | Buffer): Promise<void> {
    return new Promise(resolve => this.ws.send(data, () => resolve()));
  }

  private begin(): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const late = (): void => reject(new CaissonError('TIMEOUT', 'the first message has not come'));
      const timer = setTimeout(late, PATIENCE_MS);
      this.first = value => {
        clearTimeout(timer);
        resolve(value);
      };
      const gone = (): void => {
        clearTimeout(timer);
        late();
      };
      this.signal.addEventListener('abort', gone, { once: true });
    });
  }

  private take(data: Buffer, isBinary: boolean): void {
    try {
      if (isBinary) {
        if (data[0] === 0) this.onData(data.subarray(1));
        return;
      }
      const value: unknown = JSON.parse(data.toString());
      if (this.first === undefined) {
        this.onSaid(check(saidSchema, value, 'the message'));
        return;
      }
      const { first } = this;
      this.first = undefined;
      first(value);
    } catch (error) {
      const problem = problemOf(CaissonError.is(error) ? error : new CaissonError('REQUEST_INVALID', String(error)));
      void this.say({ type: 'problem', problem }).then(() => this.ws.close(1007));
    }
  }
}

async function execSession(
  session: Session,
  container: Container,
  { argv, ...options }: v.InferOutput<typeof startSchema>,
): Promise<void> {
  const program = await container.exec(argv, { ...options, signal: session.signal } as ExecOptions);
  const input = program.stdin ?? program.tty;
  if (input !== null) session.feed(input);
  session.onSaid = said => {
    if (said.type === 'resize') program.resize(said.rows, said.cols);
    else if (said.type === 'signal') program.kill(said.signal);
    else input?.end();
  };
  await session.say({ type: 'started' });
  const out = program.stdout ?? program.tty;
  await Promise.all([
    ...(out === null ? [] : [session.copy(1, out)]),
    ...(program.stderr === null ? [] : [session.copy(2, program.stderr)]),
  ]);
  await session.say({ type: 'exit', exit: await program.wait() });
}

/** Until the caller goes: a console outlives the lives of its container. */
async function consoleSession(
  session: Session,
  { console }: Container,
  { from }: v.InferOutput<typeof followSchema>,
): Promise<void> {
  session.onData = data => session.hold(console.write(data));
  session.onSaid = said => {
    if (said.type === 'resize') console.resize(said.rows, said.cols);
  };
  await session.say({ type: 'started' });
  for await (const { data } of console.read({ ...(from === undefined ? {} : { from }), signal: session.signal }))
    await session.write(1, data);
}
