/** Whom a command asks: the daemon that has the state directory, or, where there is none, a supervisor of its own. */
import { realpath } from 'node:fs/promises';
import { Client } from '../client/index.js';
import type { ExitStatus } from '../machines/exit.js';
import { CaissonError } from '../spec/errors.js';
import type { ContainerStats } from '../spec/stats/types.js';
import type { CaissonEvent } from '../supervisor/events.js';
import type { EndOfLife, RebootOptions, StopOptions } from '../supervisor/requests.js';
import type { StatsSample, WatchStatsOptions } from '../supervisor/stats.js';
import type { CreateInput } from '../supervisor/supervisor.js';

export interface Where {
  readonly state: string;
  /** The daemon to ask. Without it the one at the default place, if it has this state directory. */
  readonly socket?: string;
}

/** What a daemon's container and an embedded one have in common. */
export interface Actions {
  start(): Promise<void>;
  stop(options?: StopOptions): Promise<EndOfLife>;
  kill(): Promise<EndOfLife>;
  restart(options?: StopOptions): Promise<void>;
  reboot(options?: RebootOptions): Promise<void>;
  freeze(): Promise<void>;
  unfreeze(): Promise<void>;
  wait(): Promise<EndOfLife>;
  /** How the last life ended, also one that an earlier supervisor has seen: of an embedded one. */
  readonly exit?: ExitStatus | undefined;
  /** Of a daemon's. */
  inspect?(): Promise<{ readonly exit: ExitStatus | null }>;
}

export interface Backend {
  /** @throws CaissonError CONTAINER_NOT_FOUND, at once or by the first call */
  get(name: string): Actions;
  create(input: CreateInput): Promise<unknown>;
  remove(name: string): Promise<void>;
  events(options: { readonly since?: number; readonly signal: AbortSignal }): AsyncIterable<CaissonEvent>;
  stats(options: { readonly names?: readonly string[] }): Promise<ContainerStats[]>;
  watchStats(options: WatchStatsOptions): AsyncIterable<StatsSample>;
  close(): void | Promise<void>;
}

/** A client of the daemon; undefined: there is none for this state directory. @throws CaissonError DAEMON_UNREACHABLE when one was named */
export async function findDaemon({ state, socket }: Where): Promise<Client | undefined> {
  const client = new Client(socket === undefined ? {} : { socket });
  try {
    const { stateDir } = await client.host();
    if (socket !== undefined || stateDir === (await realpath(state))) return client;
  } catch (error) {
    const code = CaissonError.is(error) ? error.errno : (error as NodeJS.ErrnoException).code;
    if (socket !== undefined || !['ENOENT', 'ECONNREFUSED'].includes(code ?? '')) throw error;
  }
  client.close();
  return undefined;
}

/** @throws CaissonError STATE_LOCKED, DAEMON_UNREACHABLE */
export async function openBackend(where: Where): Promise<Backend> {
  const daemon = await findDaemon(where);
  if (daemon !== undefined) return daemon;
  const { Supervisor } = await import('../supervisor/supervisor.js');
  return await Supervisor.open({ stateDir: where.state, threads: 1 });
}
