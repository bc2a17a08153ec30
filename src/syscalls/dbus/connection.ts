/**
 * A connection to a message bus with blocking calls, for worker threads: SASL EXTERNAL, method calls, waiting for
 * signals. Everything has a deadline, in ms of performance.now(); when one passes, the connection is of no use any more.
 */
import { SyscallError, trySyscall } from '../libc.js';
import { DBusError, DBusFormatError } from './error.js';
import { decodeMessage, encodeMessage, type Message, messageLength } from './message.js';
import { connectTo, receiveSome, sendAll } from './stream.js';
import type { Value } from './types.js';

export const SYSTEM_BUS = '/run/dbus/system_bus_socket';

const BUS = { destination: 'org.freedesktop.DBus', path: '/org/freedesktop/DBus', interface: 'org.freedesktop.DBus' };
const PROPERTIES = 'org.freedesktop.DBus.Properties';
/** A bus that sends this much without a line end does not speak this protocol. */
const MAX_LINE = 16 * 1024;
/** Signals that came while nobody waited for one; only those that were asked for come at all. */
const MAX_SIGNALS = 1000;

export interface Call {
  readonly destination: string;
  readonly path: string;
  readonly interface: string;
  readonly member: string;
  readonly signature?: string;
  readonly args?: readonly Value[];
}

export class BusConnection {
  private serial = 0;
  private received: Buffer = Buffer.alloc(0);
  private readonly signals: Message[] = [];

  private constructor(private readonly fd: number) {}

  /** Connects, says who we are (the kernel vouches for it), and says hello. @throws SyscallError, DBusError */
  static open(path: string, deadline: number): BusConnection {
    const connection = new BusConnection(connectTo(path, deadline));
    try {
      connection.authenticate(deadline);
      connection.call({ ...BUS, member: 'Hello' }, deadline);
      return connection;
    } catch (error) {
      connection.close();
      throw error;
    }
  }

  close(): void {
    trySyscall('close', this.fd);
  }

  /** Calls a method and returns what it returns. @throws DBusError what it answered instead; SyscallError ETIMEDOUT */
  call(call: Call, deadline: number): readonly Value[] {
    return this.reply(this.send(call, deadline), deadline);
  }

  /** A property, out of its variant. @throws DBusError, SyscallError */
  property(target: Pick<Call, 'destination' | 'path' | 'interface'>, name: string, deadline: number): Value {
    const { destination, path, interface: owner } = target;
    const args = [owner, name];
    const call = { destination, path, interface: PROPERTIES, member: 'Get', signature: 'ss', args };
    const [variant] = this.call(call, deadline);
    if (typeof variant !== 'object' || !('signature' in variant))
      throw new DBusFormatError(`property ${owner}.${name} came without a variant`);
    return variant.value;
  }

  /** From here on signals that match `rule` are received. */
  match(rule: string, deadline: number): void {
    this.call({ ...BUS, member: 'AddMatch', signature: 's', args: [rule] }, deadline);
  }

  /** The first signal that `wanted` accepts, come already or yet to come; those before it are dropped. */
  signal(wanted: (signal: Message) => boolean, deadline: number): Message {
    for (;;) {
      const signal = this.signals.shift() ?? this.next(deadline);
      if (signal.type === 'signal' && wanted(signal)) return signal;
    }
  }

  private send({ args = [], ...call }: Call, deadline: number): number {
    const serial = ++this.serial;
    sendAll(this.fd, encodeMessage({ ...call, type: 'call', serial, body: args }), deadline);
    return serial;
  }

  private reply(serial: number, deadline: number): readonly Value[] {
    for (;;) {
      const message = this.next(deadline);
      if (message.type === 'signal' && this.signals.length < MAX_SIGNALS) this.signals.push(message);
      if (message.replySerial !== serial) continue;
      if (message.type === 'return') return message.body;
      if (message.type !== 'error') continue;
      const [text] = message.body;
      throw new DBusError(message.errorName ?? '', typeof text === 'string' ? text : 'the call was refused');
    }
  }

  private next(deadline: number): Message {
    for (;;) {
      const length = messageLength(this.received);
      if (length === undefined || length > this.received.length) {
        this.receive(deadline);
        continue;
      }
      const bytes = this.received.subarray(0, length);
      this.received = this.received.subarray(length);
      const message = decodeMessage(bytes);
      if (message !== undefined) return message;
    }
  }

  private receive(deadline: number): void {
    const bytes = receiveSome(this.fd, deadline);
    if (bytes.length === 0)
      throw new DBusError('org.freedesktop.DBus.Error.Disconnected', 'the bus closed the connection');
    this.received = Buffer.concat([this.received, bytes]);
  }

  /** D-Bus Specification, "Authentication Protocol": a NUL byte, then lines. */
  private authenticate(deadline: number): void {
    const uid = trySyscall('getuid');
    const hex = Buffer.from(String(uid)).toString('hex');
    sendAll(this.fd, Buffer.from(`\0AUTH EXTERNAL ${hex}\r\n`), deadline);
    const answer = this.line(deadline);
    if (!answer.startsWith('OK ')) throw new SyscallError('authenticate', 13, `uid ${uid}: ${answer}`);
    sendAll(this.fd, Buffer.from('BEGIN\r\n'), deadline);
  }

  private line(deadline: number): string {
    for (;;) {
      const end = this.received.indexOf('\r\n');
      if (end >= 0) {
        const text = this.received.toString('latin1', 0, end);
        this.received = this.received.subarray(end + 2);
        return text;
      }
      if (this.received.length > MAX_LINE) throw new DBusFormatError('the bus does not speak the D-Bus protocol');
      this.receive(deadline);
    }
  }
}
