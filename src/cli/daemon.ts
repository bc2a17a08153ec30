/** `caisson daemon`: the supervisor as a service. */
import process from 'node:process';
import { pino } from 'pino';
import { Daemon } from '../api/daemon.js';
import { Manager } from './manager.js';
import { VERSION } from './version.js';

export interface DaemonCommandOptions {
  readonly state: string;
  readonly socket: string;
  readonly listen?: string;
  readonly host?: readonly string[];
  readonly tlsCert?: string;
  readonly tlsKey?: string;
  readonly autostart?: boolean;
  readonly logLevel: string;
}

export async function daemonCommand(options: DaemonCommandOptions): Promise<void> {
  const { state, socket, listen, host = [], tlsCert, tlsKey, autostart = false, logLevel } = options;
  // What comes before the daemon is there is not lost: it ends as soon as it is.
  const told = nextSignal();
  // Standard error: standard output is nobody's log (systemd has both in the journal).
  const logger = pino({ level: logLevel }, pino.destination({ dest: 2, sync: true }));
  const manager = new Manager();
  const tls = { ...(tlsCert === undefined ? {} : { cert: tlsCert }), ...(tlsKey === undefined ? {} : { key: tlsKey }) };
  const daemon = await Daemon.open({
    stateDir: state,
    socket,
    autostart,
    logger,
    version: VERSION,
    ...(listen === undefined ? {} : { tcp: { listen, hosts: host, ...tls } }),
  });
  const { addresses } = daemon;
  logger.info({ addresses, state }, `listening at ${addresses.join(', ')}`);
  manager.ready(`listening at ${addresses.join(', ')}`);
  // A daemon without a running container would have nothing else to stay for but its sockets, which are enough.
  const signal = await told;
  manager.stopping();
  logger.info({ signal }, signal === 'SIGPWR' ? 'the host goes down: containers are stopped' : 'containers live on');
  if (signal !== 'SIGPWR') {
    await daemon.close();
    return;
  }
  const outcomes = await daemon.shutdown();
  logger.info({ outcomes }, 'all containers have ended');
}

/** SIGPWR is what an init sends before it ends the host (HST-61); the others mean this process alone. */
function nextSignal(): Promise<NodeJS.Signals> {
  return new Promise(resolve => {
    for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGPWR'] as const) process.on(signal, () => resolve(signal));
  });
}
