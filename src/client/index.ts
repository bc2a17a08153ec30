/** `caisson/client`: the containers of a daemon, by the calls of the embedded API. Loads nothing native. */

import type { ContainerStats, StatsPart } from '../spec/stats/types.js';
import type { CaissonEvent } from '../supervisor/events.js';
import type { StatsOptions, StatsSample, WatchStatsOptions } from '../supervisor/stats.js';
import type { CreateInput } from '../supervisor/supervisor.js';
import { type ContainerInfo, RemoteContainer } from './container.js';
import { type EventsOptions, readEvents } from './events.js';
import { readLines } from './lines.js';
import { type ClientOptions, type Sent, Transport } from './transport.js';

export { CaissonError } from '../spec/errors.js';
export type { ContainerInfo, RemoteExecOptions } from './container.js';
export { RemoteContainer } from './container.js';
export type { EventsOptions } from './events.js';
export type { RemoteProcess } from './process.js';
export type { ClientOptions } from './transport.js';

export interface HostInfo {
  readonly version: string;
  /** When the daemon began, ms since the epoch. */
  readonly since: number;
  readonly stateDir: string;
  /** Sequence number of the newest event. */
  readonly seq: number;
  readonly templates: readonly string[];
  readonly facts: Readonly<Record<string, unknown>>;
}

export interface ListOptions {
  readonly names?: readonly string[];
  readonly states?: readonly ContainerInfo['state'][];
}

export class Client {
  private readonly transport: Transport;

  constructor(options: ClientOptions = {}) {
    this.transport = new Transport(options);
  }

  /** The containers as they are. */
  list({ names, states }: ListOptions = {}): Promise<ContainerInfo[]> {
    const query = new URLSearchParams();
    if (names !== undefined) query.set('name', names.join(','));
    if (states !== undefined) query.set('state', states.join(','));
    return this.transport.json('GET', `/v1/containers?${query.toString()}`);
  }

  /** A container by name; whether there is one, its calls tell. */
  get(name: string): RemoteContainer {
    return new RemoteContainer(this.transport, name);
  }

  /** @param options `key`: a call that is made again with the same one creates no second container. */
  async create(
    input: CreateInput,
    options: { readonly signal?: AbortSignal; readonly key?: string } = {},
  ): Promise<RemoteContainer> {
    const { signal, key } = options;
    const sent: Sent = { body: input, signal, ...(key === undefined ? {} : { headers: { 'idempotency-key': key } }) };
    const { name } = await this.transport.json<ContainerInfo>('POST', '/v1/containers', sent);
    return this.get(name);
  }

  async remove(name: string): Promise<void> {
    await this.transport.json('DELETE', `/v1/containers/${encodeURIComponent(name)}`);
  }

  /** Events of all containers in order, over restarts of the daemon. */
  events(options: EventsOptions = {}): AsyncGenerator<CaissonEvent, void, void> {
    return readEvents(this.transport, options);
  }

  /** What the containers use that run. @throws CaissonError CONTAINER_NOT_FOUND */
  stats({ names, parts }: StatsOptions & { readonly names?: readonly string[] } = {}): Promise<ContainerStats[]> {
    return this.transport.json('GET', `/v1/stats?${statsQuery(names, parts)}`);
  }

  /** A look at them each `intervalMs`, with rates, until `signal` aborts. */
  async *watchStats(options: WatchStatsOptions = {}): AsyncGenerator<StatsSample, void, void> {
    const { names, parts, intervalMs = 1000, signal } = options;
    const path = `/v1/stats?interval=${intervalMs}&${statsQuery(names, parts)}`;
    yield* readLines<StatsSample>(this.transport, path, signal);
  }

  host(): Promise<HostInfo> {
    return this.transport.json('GET', '/v1/host');
  }

  /** Lets go of idle connections, and of calls under way. */
  close(): void {
    this.transport.close();
  }
}

function statsQuery(names: readonly string[] | undefined, parts: readonly StatsPart[] | undefined): string {
  const query = new URLSearchParams();
  if (names !== undefined) query.set('name', names.join(','));
  if (parts !== undefined) query.set('parts', parts.join(','));
  return query.toString();
}
