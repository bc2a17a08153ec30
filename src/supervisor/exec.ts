/** Programs that are run in a running container: what callers hold of each. */
import { Socket } from 'node:net';
import type { Duplex, Readable, Writable } from 'node:stream';
import type { ExitStatus } from '../machines/exit.js';
import { type ExecWish, MASTER, PIPES } from '../plan/exec.js';
import type { ContainerSpec } from '../spec/container.js';
import { CaissonError } from '../spec/errors.js';
import { signalName, signalNumber } from '../spec/signals.js';
import { type RawExit, sendSignal } from '../syscalls/process.js';
import { setWindowSize } from '../syscalls/pty.js';
import type { Registers } from '../workers/context.js';
import { READ_LIMIT } from '../workers/init/encode.js';
import { type ExecOptions, lastId, wishOf } from './exec-options.js';
import { type FoundUser, findUser, USER_FILES } from './exec-user.js';
import type { Host } from './host.js';
import { type Joined, join, readInside, whenEnded } from './joining.js';
import { terminalStream } from './terminal-stream.js';

const SIGKILL = 9;

/** How a program ended. */
export type ExecExit = Extract<ExitStatus, { kind: 'exit' | 'signal' | 'lost' }>;

export interface ExecOutput {
  /** With a terminal, all that it has shown. */
  readonly stdout: Buffer;
  readonly stderr: Buffer;
  readonly exit: ExecExit;
}

export class ExecProcess {
  /** As the host sees it. */
  readonly pid: number;
  /** null with a terminal. */
  readonly stdin: Writable | null;
  readonly stdout: Readable | null;
  readonly stderr: Readable | null;
  /** What is typed and shown; null without a terminal. */
  readonly tty: Duplex | null;
  private readonly joined: Joined;
  private readonly ended: Promise<ExecExit>;
  private status: ExecExit | undefined;

  /** For the container. */
  constructor(joined: Joined, signal: AbortSignal | undefined) {
    this.joined = joined;
    this.pid = joined.pid;
    // First: whatever fails here, it is reaped.
    const ended = whenEnded(joined);
    const [stdin, stdout, stderr] = PIPES.map(register => joined.streams[register]);
    this.stdin = stdin === undefined ? null : writer(stdin);
    this.stdout = stdout === undefined ? null : new Socket({ fd: stdout, readable: true, writable: false });
    this.stderr = stderr === undefined ? null : new Socket({ fd: stderr, readable: true, writable: false });
    const master = joined.streams[MASTER];
    this.tty = master === undefined ? null : terminalStream(master);
    const abort = (): void => void this.kill(SIGKILL);
    this.ended = ended.then(raw => {
      signal?.removeEventListener('abort', abort);
      this.status = exitOf(raw);
      // Nobody reads it any more, but for what was left behind in the background.
      this.stdin?.destroy();
      return this.status;
    });
    if (signal?.aborted === true) abort();
    else signal?.addEventListener('abort', abort, { once: true });
  }

  /** How it ended; undefined while it runs. */
  get exit(): ExecExit | undefined {
    return this.status;
  }

  /** Resolves when it has ended. What it has written may not all have been read by then. */
  wait(): Promise<ExecExit> {
    return this.ended;
  }

  /**
   * Reads all that it writes, closes its input, and resolves when it has ended and nobody can write any more.
   * @param limit bytes of either stream; the program is killed when it writes more. @throws CaissonError OUTPUT_TOO_LONG
   */
  async output(limit = 16 * 1024 * 1024): Promise<ExecOutput> {
    (this.stdin ?? this.tty)?.end();
    const [stdout, stderr] = await Promise.all(
      [this.stdout ?? this.tty, this.stderr].map(from => this.all(from, limit)),
    );
    return { stdout: stdout ?? Buffer.alloc(0), stderr: stderr ?? Buffer.alloc(0), exit: await this.ended };
  }

  private async all(from: Readable | null, limit: number): Promise<Buffer> {
    const chunks: Buffer[] = [];
    let bytes = 0;
    for await (const chunk of from ?? []) {
      const data = chunk as Buffer;
      bytes += data.length;
      if (bytes > limit) {
        this.kill(SIGKILL);
        throw new CaissonError('OUTPUT_TOO_LONG', `the program has written more than ${limit} bytes`, {
          field: 'limit',
        });
      }
      chunks.push(data);
    }
    return Buffer.concat(chunks);
  }

  /** Sends it a signal, SIGTERM unless told. False when it has ended. @throws CaissonError SPEC_INVALID */
  kill(signal: string | number = 'SIGTERM'): boolean {
    const number = signalNumber(signal);
    if (number === undefined)
      throw new CaissonError('SPEC_INVALID', `signal: ${JSON.stringify(signal)} is no signal`, { field: 'signal' });
    return this.status === undefined && sendSignal(this.joined.pidfd, number);
  }

  /** Tells it the size of its terminal's window; it gets SIGWINCH. */
  resize(rows: number, cols: number): void {
    const master = this.joined.streams[MASTER];
    if (master !== undefined && this.tty?.destroyed === false) setWindowSize(master, rows, cols);
  }
}

/** A program that ends, or closes its input, does not want what is still written: that is no error of the writer's. */
function writer(fd: number): Writable {
  const stream = new Socket({ fd, readable: false, writable: true });
  stream.on('error', () => undefined);
  return stream;
}

function exitOf(raw: RawExit | 'not-a-child'): ExecExit {
  if (raw === 'not-a-child') return { kind: 'lost', confidence: 'inferred' };
  const { code, status } = raw;
  if (code === 'exited') return { kind: 'exit', status, confidence: 'exact' };
  return { kind: 'signal', number: status, signal: signalName(status), core: code === 'dumped', confidence: 'exact' };
}

async function lookUp(
  host: Host,
  spec: ContainerSpec,
  target: Registers,
  user: string,
  signal: AbortSignal | undefined,
): Promise<FoundUser> {
  const files = await readInside(host, USER_FILES, { spec, target, signal });
  return findUser(user, files, { last: lastId(spec), limit: READ_LIMIT });
}

/** Resolves when the program has been executed. */
export async function exec(
  host: Host,
  spec: ContainerSpec,
  target: Registers,
  argv: readonly string[],
  options: ExecOptions,
): Promise<ExecProcess> {
  const { signal, user } = options;
  const found = typeof user === 'string' ? await lookUp(host, spec, target, user, signal) : undefined;
  const wish: ExecWish = wishOf(spec, argv, options, found);
  return new ExecProcess(await join(host, wish, { spec, target, signal }), signal);
}
