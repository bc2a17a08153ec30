/** A server with all its connections, also those that are no longer HTTP (sessions), or not yet (TLS handshakes). */
import { unlink } from 'node:fs/promises';
import type { Server } from 'node:http';
import type { ListenOptions, Socket } from 'node:net';

const CONNECTIONS = 4096;

export class Listener {
  private readonly sockets = new Set<Socket>();

  /** @param path of its Unix socket, which has been bound already: removed in the end. */
  constructor(
    readonly server: Server,
    private readonly path?: string,
  ) {
    server.maxConnections = CONNECTIONS;
    server.on('connection', (socket: Socket) => {
      this.sockets.add(socket);
      socket.once('close', () => this.sockets.delete(socket));
    });
  }

  listen(where: ListenOptions & { readonly fd?: number }): Promise<void> {
    const { server } = this;
    return new Promise((resolve, reject) => {
      server.once('error', reject);
      server.listen(where, () => {
        server.off('error', reject);
        resolve();
      });
    });
  }

  /** No new connections; those that are there have `ms` to come to their end. */
  async shut(ms: number): Promise<void> {
    // Before it is closed: afterwards the place may be another daemon's.
    if (this.path !== undefined) await unlink(this.path).catch(unlessGone);
    const closed = new Promise<void>(resolve => {
      this.server.close(() => resolve());
    });
    this.server.closeIdleConnections();
    const timer = setTimeout(() => {
      for (const socket of this.sockets) socket.destroy();
    }, ms);
    await closed;
    clearTimeout(timer);
  }
}

function unlessGone(error: NodeJS.ErrnoException): void {
  if (error.code !== 'ENOENT') throw error;
}
