/** A container of a daemon: the calls of the embedded one. */

import type { ExitStatus } from '../machines/exit.js';
import type { StateName } from '../machines/states.js';
import type { Plan } from '../plan/step.js';
import type { ContainerSpec } from '../spec/container.js';
import type { ErrorJSON } from '../spec/errors.js';
import type { NotifyFields } from '../spec/notify.js';
import type { ContainerStats } from '../spec/stats/types.js';
import type { ConsoleChunk } from '../supervisor/console.js';
import type { ExecOutput } from '../supervisor/exec.js';
import type { ExecOptions } from '../supervisor/exec-options.js';
import type { Warning } from '../supervisor/keeping.js';
import type { StartOptions } from '../supervisor/readiness.js';
import type { StartReport } from '../supervisor/report.js';
import type { EndOfLife, RebootOptions, StopOptions } from '../supervisor/requests.js';
import type { PendingRestart } from '../supervisor/restarter.js';
import type { StatsOptions } from '../supervisor/stats.js';
import type { TimelineEntry } from '../supervisor/timeline.js';
import type { ContainerUpdate } from '../supervisor/update.js';
import type { RemoteProcess } from './process.js';
import type { Transport } from './transport.js';

/** A container as it was when the daemon answered: what `toJSON()` of the embedded one gives. */
export interface ContainerInfo {
  readonly name: string;
  readonly state: StateName;
  readonly status: { readonly name: string; readonly code: number };
  readonly ready: boolean;
  readonly notify: NotifyFields;
  readonly pid: number | null;
  readonly restartCount: number;
  readonly restarting: PendingRestart | null;
  readonly warnings: readonly Warning[];
  readonly exit: (ExitStatus & { readonly text: string }) | null;
  readonly error: ErrorJSON | null;
  readonly spec: ContainerSpec;
}

export type RemoteExecOptions = Omit<ExecOptions, 'tty'> & {
  readonly stdin?: Uint8Array | string;
  /** Bytes of either stream. Default 16 MiB. */
  readonly limit?: number;
};

export class RemoteContainer {
  private readonly path: string;

  constructor(
    private readonly transport: Transport,
    readonly name: string,
  ) {
    this.path = `/v1/containers/${encodeURIComponent(name)}`;
  }

  inspect(): Promise<ContainerInfo> {
    return this.transport.json('GET', this.path);
  }

  async start(options: StartOptions = {}): Promise<void> {
    await this.act('start', options);
  }

  stop(options: StopOptions = {}): Promise<EndOfLife> {
    return this.act('stop', options);
  }

  kill(): Promise<EndOfLife> {
    return this.act('kill');
  }

  async restart(options: StopOptions = {}): Promise<void> {
    await this.act('restart', options);
  }

  async reboot(options: RebootOptions = {}): Promise<void> {
    await this.act('reboot', options);
  }

  async freeze(): Promise<void> {
    await this.act('freeze');
  }

  async unfreeze(): Promise<void> {
    await this.act('unfreeze');
  }

  /** The end of the life under way; at once when there is none. */
  wait(options: { readonly signal?: AbortSignal } = {}): Promise<EndOfLife> {
    return this.transport.json('GET', `${this.path}/wait`, options);
  }

  async update(changes: ContainerUpdate): Promise<void> {
    await this.transport.json('PATCH', this.path, { body: changes });
  }

  plan(): Promise<Plan> {
    return this.transport.json('GET', `${this.path}/plan`);
  }

  timeline(): Promise<TimelineEntry[]> {
    return this.transport.json('GET', `${this.path}/timeline`);
  }

  report(): Promise<StartReport> {
    return this.transport.json('GET', `${this.path}/report`);
  }

  /** @throws CaissonError INVALID_TRANSITION when it does not run */
  stats({ parts }: StatsOptions = {}): Promise<ContainerStats> {
    return this.transport.json('GET', `${this.path}/stats${parts === undefined ? '' : `?parts=${parts.join(',')}`}`);
  }

  /** Runs a program to its end; one that is given up is killed. */
  async exec(argv: readonly string[], options: RemoteExecOptions = {}): Promise<ExecOutput> {
    const { signal, stdin, ...rest } = options;
    const body = { argv, ...rest, ...(stdin === undefined ? {} : { stdin: Buffer.from(stdin).toString('base64') }) };
    const output = await this.transport.json<{ stdout: string; stderr: string; exit: ExecOutput['exit'] }>(
      'POST',
      `${this.path}/exec`,
      { body, signal },
    );
    const { stdout, stderr, exit } = output;
    return { stdout: Buffer.from(stdout, 'base64'), stderr: Buffer.from(stderr, 'base64'), exit };
  }

  /** Runs a program and resolves once it has been executed: with its streams, or a terminal. */
  async open(argv: readonly string[], options: Omit<ExecOptions, 'signal'> = {}): Promise<RemoteProcess> {
    const { openProcess } = await import('./process.js');
    return await openProcess(this.transport.webSocket(`${this.path}/exec`), { argv, ...options });
  }

  /** The console as a terminal: what it shows, from an offset on, and what is typed; until `close()`. */
  async attach(options: { readonly from?: number | 'now' } = {}): Promise<RemoteProcess> {
    const { openProcess } = await import('./process.js');
    return await openProcess(this.transport.webSocket(`${this.path}/console`), options);
  }

  /** What the console has shown, from a byte offset on; with `follow` also what comes, until `signal` aborts. */
  async *console(
    options: { readonly from?: number | 'now'; readonly follow?: boolean; readonly signal?: AbortSignal } = {},
  ): AsyncGenerator<Omit<ConsoleChunk, 'lost'>, void, void> {
    const { from = 0, follow = false, signal } = options;
    const response = await this.transport.open('GET', `${this.path}/console?from=${from}&follow=${follow}`, { signal });
    let offset = Number(response.headers['caisson-offset'] ?? 0);
    try {
      for await (const chunk of response) {
        const data = chunk as Buffer;
        yield { offset, data };
        offset += data.length;
      }
    } catch (error) {
      if (signal?.aborted !== true) throw this.transport.failed(error as Error);
    } finally {
      response.destroy();
    }
  }

  private act<T>(action: string, options: object = {}): Promise<T> {
    return this.transport.json('POST', `${this.path}/${action}`, { body: options });
  }
}
