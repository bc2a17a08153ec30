/** What the payload says to /dev/log, as long as no syslogd of its own listens there (ENV-27). */
import { KEPT_FROM } from '../plan/kept.js';
import { compileSyslogAgain, SYSLOG } from '../plan/syslog.js';
import type { ContainerSpec } from '../spec/container.js';
import { parseSyslog, SYSLOG_SIZE, type SyslogText } from '../spec/syslog.js';
import { close, duplicate } from '../syscalls/fs.js';
import type { Registers } from '../workers/context.js';
import { Allowance } from './allowance.js';
import { DatagramReader } from './datagrams.js';
import type { Host } from './host.js';
import { performLive } from './mounts.js';

export interface SyslogMessage extends SyslogText {
  /** When it came, milliseconds since the epoch. */
  readonly time: number;
  /** The sender's pid on the host, as the kernel tells it; 0: it has ended, or is in no namespace of ours. */
  readonly sender: number;
}

/** Messages kept for later readers. */
const KEPT = 256;
/** Some 5,000 a second at most, so that a flood takes a twentieth of a processor. */
const PACE = { burst: 128, pauseMs: 25 };

export class Syslog {
  private reader: DatagramReader | undefined;
  private readonly kept: SyslogMessage[] = [];
  private readonly allowance = new Allowance();

  /** @param tell gets a message, and how many there were since the last one that nobody was told of. */
  constructor(private readonly tell: (message: SyslogMessage, untold: number) => void) {}

  /** The last messages, oldest first; they stay over restarts. */
  get messages(): readonly SyslogMessage[] {
    return [...this.kept];
  }

  /** @param socket stays open until `close`. */
  listen(socket: number): void {
    this.reader = new DatagramReader(socket, { size: SYSLOG_SIZE, cut: true, ...PACE }, ({ pid, data }) => {
      if (data !== undefined) this.heard({ time: Date.now(), sender: pid, ...parseSyslog(data) });
    });
  }

  /** Takes what is still in the socket, and stops listening. */
  close(): void {
    this.reader?.drain();
    this.reader?.close();
    this.reader = undefined;
  }

  private heard(message: SyslogMessage): void {
    this.kept.push(message);
    if (this.kept.length > KEPT) this.kept.shift();
    const untold = this.allowance.spend(Buffer.byteLength(message.message), message.time);
    if (untold !== undefined) this.tell(message, untold);
  }
}

/** The socket of a container that was adopted, made again; undefined where others listen by now. */
export async function listenAgain(host: Host, spec: ContainerSpec, registers: Registers): Promise<number | undefined> {
  const { exported } = await performLive(host, compileSyslogAgain(spec), registers);
  const { [SYSLOG]: socket } = exported;
  if (socket === undefined) return undefined;
  const kept = duplicate(socket, KEPT_FROM);
  close(socket);
  return kept;
}
