/** Where the daemon can be reached: its Unix socket, and TCP when asked for. */
import { chmod, chown, lstat, mkdir, readFile, unlink } from 'node:fs/promises';
import { createServer, type IncomingMessage, type RequestListener, type ServerOptions } from 'node:http';
import { createServer as createSecureServer, type ServerOptions as SecureServerOptions } from 'node:https';
import { type AddressInfo, connect, isIP, type Socket } from 'node:net';
import { dirname } from 'node:path';
import { CaissonError } from '../spec/errors.js';
import { peerOf } from '../syscalls/peer.js';
import { bindStream } from '../syscalls/stream-socket.js';
import { Listener } from './listener.js';

/** What a request may take to arrive, and how large its head may be. */
const LIMITS: ServerOptions = {
  headersTimeout: 10_000,
  requestTimeout: 60_000,
  keepAliveTimeout: 5000,
  maxHeaderSize: 16 * 1024,
};
const SECURE_LIMITS: SecureServerOptions = { ...LIMITS, handshakeTimeout: 10_000 };
const SOCKET_MODE = 0o660;
/** sun_path of struct sockaddr_un, without its last NUL. */
const PATH_LIMIT = 107;

export interface TcpOptions {
  /** `127.0.0.1:7000`, `[::1]:7000`; port 0: one that is free. */
  readonly listen: string;
  /** More names by which it is called. */
  readonly hosts?: readonly string[];
  /** Paths of a certificate chain and its key, in PEM. */
  readonly cert?: string;
  readonly key?: string;
}

/** Host as a URL and the Host header have it. */
export interface Address {
  readonly host: string;
  readonly port: number;
}

export function parseAddress(text: string): Address {
  const [, bracketed, plain, port] = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]]*)):(\d{1,5})$/.exec(text) ?? [];
  const host = bracketed ?? plain;
  if (host === undefined || host === '' || Number(port) > 65_535)
    throw new CaissonError('SPEC_INVALID', `listen: ${text} is not HOST:PORT`, { field: 'listen' });
  return { host, port: Number(port) };
}

const isLoopback = (host: string): boolean => host === 'localhost' || host === '::1' || /^127(\.\d+){3}$/.test(host);
export const inUrl = (host: string): string => (isIP(host) === 6 ? `[${host}]` : host);

/** The names under which a server at `address` is called: anything else in Host is somebody's trick. */
export function hostsOf({ host, port }: Address, more: readonly string[] = []): ReadonlySet<string> {
  const names = [host, ...(isLoopback(host) ? ['localhost', '127.0.0.1', '::1'] : []), ...more];
  return new Set(names.flatMap(name => [`${inUrl(name)}:${port}`.toLowerCase(), ...bare(inUrl(name), port)]));
}

const bare = (host: string, port: number): string[] => (port === 80 || port === 443 ? [host.toLowerCase()] : []);

/** @throws CaissonError SOCKET_IN_USE, SPEC_INVALID */
export async function listenUnix(path: string, handler: RequestListener): Promise<Listener> {
  if (Buffer.byteLength(path) > PATH_LIMIT)
    throw new CaissonError('SPEC_INVALID', `socket: ${path} has more than ${PATH_LIMIT} bytes`, { field: 'socket' });
  await mkdir(dirname(path), { recursive: true, mode: 0o755 });
  await removeStale(path);
  const fd = bindStream(path, SOCKET_MODE);
  // Only now: it removes the path in the end.
  const listener = new Listener(createServer(LIMITS, handler), path);
  try {
    await listener.listen({ fd });
    const gid = await groupId('caisson');
    if (gid !== undefined) await chown(path, 0, gid);
    // The umask may have taken the group's part away.
    await chmod(path, SOCKET_MODE);
    return listener;
  } catch (error) {
    await listener.shut(0);
    throw error;
  }
}

/** A socket that nobody listens at is left by a daemon that was killed. */
async function removeStale(path: string): Promise<void> {
  const stat = await lstat(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error;
    return undefined;
  });
  if (stat === undefined) return;
  if (!stat.isSocket())
    throw new CaissonError('SPEC_INVALID', `socket: ${path} is there and is no socket`, { field: 'socket' });
  if (await answers(path)) {
    throw new CaissonError('SOCKET_IN_USE', `a daemon listens at ${path}`, {
      field: 'socket',
      hint: 'stop it, or choose another socket with --socket',
    });
  }
  await unlink(path);
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const socket = connect({ path });
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ECONNREFUSED' || error.code === 'ENOENT') resolve(false);
      else reject(error);
    });
  });
}

async function groupId(name: string): Promise<number | undefined> {
  const text = await readFile('/etc/group', 'utf8').catch(() => '');
  const line = text.split('\n').find(line => line.startsWith(`${name}:`));
  const gid = Number(line?.split(':')[2] ?? Number.NaN);
  return Number.isInteger(gid) ? gid : undefined;
}

/** @throws CaissonError SPEC_INVALID */
export async function listenTcp(
  { listen, cert, key }: TcpOptions,
  handler: RequestListener,
): Promise<{ listener: Listener; address: Address; scheme: 'http' | 'https' }> {
  const { host, port } = parseAddress(listen);
  if ((cert === undefined) !== (key === undefined))
    throw new CaissonError('SPEC_INVALID', 'tls: needs a certificate and its key', { field: 'tls' });
  if (cert === undefined && !isLoopback(host)) {
    throw new CaissonError('SPEC_INVALID', `listen: ${host} is no loopback address, and there is no TLS`, {
      field: 'listen',
      hint: 'give --tls-cert and --tls-key: a token that is sent in the clear is anybody’s',
    });
  }
  const secure = cert === undefined || key === undefined ? undefined : secureServer(await pemOf(cert, key), handler);
  const listener = new Listener(secure ?? createServer(LIMITS, handler));
  await listener.listen({ host, port });
  const bound = listener.server.address() as AddressInfo;
  return { listener, address: { host, port: bound.port }, scheme: secure === undefined ? 'http' : 'https' };
}

async function pemOf(cert: string, key: string): Promise<{ cert: Buffer; key: Buffer }> {
  return { cert: await readFile(cert), key: await readFile(key) };
}

function secureServer(pem: { cert: Buffer; key: Buffer }, handler: RequestListener) {
  try {
    return createSecureServer({ ...SECURE_LIMITS, ...pem }, handler);
  } catch (error) {
    throw new CaissonError('SPEC_INVALID', `tls: ${(error as Error).message}`, {
      field: 'tls',
      hint: 'a certificate chain and the key of its first certificate, both in PEM',
      cause: error,
    });
  }
}

/** Who has connected, of whom the kernel has seen that they may. */
export function whoOf({ socket }: IncomingMessage): string {
  const { _handle } = socket as Socket & { readonly _handle?: { readonly fd?: number } | null };
  const peer = _handle?.fd === undefined || _handle.fd < 0 ? undefined : peerOf(_handle.fd);
  return peer === undefined ? 'uid unknown' : `uid ${peer.uid}`;
}
