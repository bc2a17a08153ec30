/** A daemon as its user runs it, and calls of it without a client. */
import { existsSync } from 'node:fs';
import { type IncomingHttpHeaders, type RequestOptions, request } from 'node:http';
import { Client } from 'caisson/client';
import type { Cli, Running } from './cli.ts';

export interface Answered {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
  /** The body, if it is JSON. */
  readonly json: Record<string, unknown>;
}

export interface CallOptions {
  readonly headers?: Readonly<Record<string, string>>;
  /** JSON, or text as it is. */
  readonly body?: unknown;
  readonly url?: string;
}

export class TestDaemon {
  running!: Running;
  readonly client: Client;
  /** Over TCP. */
  url = '';

  constructor(
    private readonly cli: Cli,
    readonly state: string,
    readonly socket: string,
    private readonly options: readonly string[] = [],
  ) {
    this.client = new Client({ socket });
  }

  async start(env: Readonly<Record<string, string>> = {}): Promise<this> {
    const { state, socket, options } = this;
    this.running = this.cli.start(['daemon', '--state', state, '--socket', socket, ...options], { env });
    const begun = Date.now();
    for (;;) {
      if (this.running.complained.includes('listening at')) break;
      if (this.running.ended) throw new Error(`the daemon has ended: ${(await this.running.finished).stderr}`);
      if (Date.now() - begun > 30_000) throw new Error('the daemon does not listen');
      await new Promise(resolve => setTimeout(resolve, 20));
    }
    this.url = /https?:\/\/[\d.]+:\d+/.exec(this.running.complained)?.[0] ?? '';
    return this;
  }

  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<number | null> {
    this.running.kill(signal);
    const { code } = await this.running.finished;
    return code;
  }

  call(method: string, path: string, { headers = {}, body, url }: CallOptions = {}): Promise<Answered> {
    const text = body === undefined ? undefined : typeof body === 'string' ? body : JSON.stringify(body);
    const type = body === undefined ? {} : { 'content-type': 'application/json' };
    const where: RequestOptions =
      url === undefined ? { socketPath: this.socket } : { host: new URL(url).hostname, port: new URL(url).port };
    return new Promise((resolve, reject) => {
      const sent = request({ ...where, method, path, headers: { ...type, ...headers }, agent: false }, response => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('error', reject);
        response.on('end', () => {
          const answer = Buffer.concat(chunks).toString();
          const isJson = /json/.test(response.headers['content-type'] ?? '');
          const json = isJson ? (JSON.parse(answer) as Record<string, unknown>) : {};
          resolve({ status: response.statusCode ?? 0, headers: response.headers, text: answer, json });
        });
      });
      sent.on('error', reject);
      sent.end(text);
    });
  }
}

/** Stops and removes every container, and ends the daemon. */
export async function clear(daemon: TestDaemon): Promise<void> {
  if (daemon.running.ended) await daemon.start();
  for (const { name, state } of await daemon.client.list()) {
    if (state !== 'stopped' && state !== 'failed') await daemon.client.get(name).kill();
    await daemon.client.remove(name);
  }
  await daemon.stop();
  daemon.client.close();
  if (existsSync(daemon.socket)) throw new Error(`${daemon.socket} is left`);
}
