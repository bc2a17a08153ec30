/** A program that a daemon runs in a container, or a console: its streams over a WebSocket. */
import { PassThrough, Writable } from 'node:stream';
import WebSocket from 'ws';
import { errorOf, type Problem } from '../api/problem.js';
import { CaissonError } from '../spec/errors.js';
import type { ExecExit } from '../supervisor/exec.js';

type Message =
  | { readonly type: 'started' }
  | { readonly type: 'exit'; readonly exit: ExecExit }
  | { readonly type: 'problem'; readonly problem: Problem };

/** Bytes of a message at most. */
const PIECE = 64 * 1024;

export class RemoteProcess {
  /** What it reads; ending it is the end of its input, on a terminal `^D`. */
  readonly stdin: Writable;
  /** With a terminal, all that is shown. */
  readonly stdout = new PassThrough();
  readonly stderr = new PassThrough();
  private readonly started: Promise<void>;
  private readonly ended: Promise<ExecExit>;

  constructor(
    private readonly socket: WebSocket,
    wish: object,
  ) {
    let begun: (() => void) | undefined;
    let refused: ((error: Error) => void) | undefined;
    this.started = new Promise((resolve, reject) => {
      begun = resolve;
      refused = reject;
    });
    this.ended = new Promise((resolve, reject) => {
      const fail = (error: CaissonError): void => {
        refused?.(error);
        reject(error);
      };
      socket.on('open', () => socket.send(JSON.stringify(wish)));
      socket.on('unexpected-response', (_request, response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('end', () => {
          fail(errorOf(JSON.parse(Buffer.concat(chunks).toString() || '{}') as Problem, response.statusCode ?? 0));
          socket.terminate();
        });
      });
      socket.on('message', (data: Buffer, isBinary: boolean) => {
        if (isBinary) {
          this.take(data);
          return;
        }
        const message = JSON.parse(data.toString()) as Message;
        if (message.type === 'started') begun?.();
        else if (message.type === 'exit') resolve(message.exit);
        else fail(errorOf(message.problem, message.problem.status));
      });
      socket.on('error', error => fail(unreachable(error)));
      socket.on('close', () => {
        fail(unreachable());
        this.stdout.end();
        this.stderr.end();
      });
    });
    // Who waits hears of it; who does not need not.
    this.ended.catch(() => undefined);
    this.started.catch(() => undefined);
    this.stdin = new Writable({
      write: (chunk: Buffer, _encoding, done) => this.type(chunk, done),
      final: done => this.send(JSON.stringify({ type: 'end' }), done),
      destroy: (error, done) => done(error),
    });
  }

  /** For the container. */
  ready(): Promise<void> {
    return this.started;
  }

  /** How it ended. @throws CaissonError DAEMON_UNREACHABLE when the connection ended before */
  wait(): Promise<ExecExit> {
    return this.ended;
  }

  kill(signal: string | number = 'SIGTERM'): void {
    this.send(JSON.stringify({ type: 'signal', signal }));
  }

  resize(rows: number, cols: number): void {
    this.send(JSON.stringify({ type: 'resize', rows, cols }));
  }

  /** Lets go of it: a program is killed, a console is left. */
  close(): void {
    this.socket.terminate();
  }

  private type(data: Buffer, done: () => void): void {
    const rest = data.subarray(PIECE);
    const next = rest.length === 0 ? done : () => this.type(rest, done);
    this.send(Buffer.concat([Buffer.from([0]), data.subarray(0, PIECE)]), next);
  }

  /** One that has ended needs nothing any more. */
  private send(data: string | Buffer, done: () => void = () => undefined): void {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(data, () => done());
    else done();
  }

  private take(data: Buffer): void {
    const stream = data[0] === 2 ? this.stderr : this.stdout;
    // One that was destroyed is not read any more, and would never say that it has room again.
    if (stream.destroyed || stream.writableEnded || stream.write(data.subarray(1))) return;
    this.socket.pause();
    stream.once('drain', () => this.socket.resume());
  }
}

function unreachable(cause?: Error): CaissonError {
  const why = cause === undefined ? '' : `: ${cause.message}`;
  return new CaissonError('DAEMON_UNREACHABLE', `the connection to the daemon has ended${why}`, { cause });
}

export async function openProcess(
  { url, ...options }: { readonly url: string; readonly headers: Record<string, string>; readonly ca?: string },
  wish: object,
): Promise<RemoteProcess> {
  const opened = new RemoteProcess(new WebSocket(url, { ...options, perMessageDeflate: false }), wish);
  await opened.ready();
  return opened;
}
