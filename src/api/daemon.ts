/** The daemon: a supervisor that is called over HTTP. */
import type { RequestListener } from 'node:http';
import { join } from 'node:path';
import { getRequestListener } from '@hono/node-server';
import type { ShutdownOutcome } from '../supervisor/boot.js';
import { Supervisor, type SupervisorOptions } from '../supervisor/supervisor.js';
import { application, type Bindings } from './app.js';
import type { Door } from './guard.js';
import { hostsOf, inUrl, listenTcp, listenUnix, type TcpOptions, whoOf } from './listen.js';
import type { Listener } from './listener.js';
import { Metrics } from './metrics.js';
import { ROUTES } from './routes/index.js';
import type { Service } from './service.js';
import { takeSessions } from './sessions.js';
import { Tokens } from './tokens.js';

export interface DaemonOptions extends SupervisorOptions {
  readonly socket: string;
  readonly tcp?: TcpOptions;
  readonly version: string;
  readonly heartbeat?: number;
  readonly patience?: number;
}

const HEARTBEAT_MS = 15_000;
/** For a reader of events that does not read. */
const PATIENCE_MS = 30_000;
/** What calls under way have to come to their end; a stop that takes longer goes on in the supervisor's close. */
const DRAIN_MS = 3000;

export class Daemon {
  private readonly listeners: Listener[] = [];
  private readonly ending = new AbortController();
  /** Where it listens, as URLs. */
  readonly addresses: string[] = [];

  private constructor(
    readonly supervisor: Supervisor,
    private readonly options: DaemonOptions,
    private readonly metrics: Metrics,
    private readonly tokens: Tokens,
  ) {}

  /** @throws CaissonError STATE_LOCKED, SOCKET_IN_USE, SPEC_INVALID, STATE_INVALID */
  static async open(options: DaemonOptions): Promise<Daemon> {
    const { socket: _socket, tcp: _tcp, version, heartbeat: _heartbeat, patience: _patience, ...rest } = options;
    const supervisor = await Supervisor.open(rest);
    const metrics = new Metrics(supervisor, version);
    try {
      const daemon = new Daemon(supervisor, options, metrics, await Tokens.open(join(supervisor.stateDir, '.tokens')));
      try {
        await daemon.listen();
      } catch (error) {
        await daemon.stopListening();
        throw error;
      }
      return daemon;
    } catch (error) {
      metrics.close();
      await supervisor.close();
      throw error;
    }
  }

  /** Lets go of everything; containers live on. */
  async close(): Promise<void> {
    await this.stopListening();
    this.metrics.close();
    await this.supervisor.close();
  }

  /** The host goes down. */
  async shutdown(): Promise<ShutdownOutcome[]> {
    const outcomes = await this.supervisor.shutdown();
    await this.close();
    return outcomes;
  }

  private async listen(): Promise<void> {
    const { supervisor, metrics, tokens, options } = this;
    const { version, heartbeat = HEARTBEAT_MS, patience = PATIENCE_MS, logger = null } = options;
    const service: Service = {
      supervisor,
      metrics,
      tokens,
      logger,
      version,
      heartbeat,
      patience,
      since: Date.now(),
      closing: this.ending.signal,
    };
    const app = application(service, ROUTES);
    const listener = (door: () => Door): RequestListener => {
      const listen = getRequestListener((request, env) => app.fetch(request, { ...env, door: door() } as Bindings), {
        overrideGlobalObjects: false,
      });
      // It answers its own errors, too.
      return (incoming, outgoing) => void listen(incoming, outgoing);
    };
    const unix: Door = { via: 'unix', whoOf };
    const local = await listenUnix(
      options.socket,
      listener(() => unix),
    );
    takeSessions(local.server, service, () => unix);
    this.listeners.push(local);
    this.addresses.push(`unix:${options.socket}`);
    if (options.tcp === undefined) return;
    let tcp: Door = { via: 'tcp', hosts: new Set(), scheme: 'http', tokens };
    const {
      listener: remote,
      address,
      scheme,
    } = await listenTcp(
      options.tcp,
      listener(() => tcp),
    );
    tcp = { via: 'tcp', hosts: hostsOf(address, options.tcp.hosts), scheme, tokens };
    takeSessions(remote.server, service, () => tcp);
    this.listeners.push(remote);
    this.addresses.push(`${scheme}://${inUrl(address.host)}:${address.port}`);
  }

  private async stopListening(): Promise<void> {
    this.ending.abort();
    await Promise.all(this.listeners.splice(0).map(listener => listener.shut(DRAIN_MS)));
  }
}
