/** A message bus of a test's own: the real dbus-daemon, on a socket in a directory of ours. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { slow } from './slow.ts';

const DAEMON = '/usr/bin/dbus-daemon';

export class Bus {
  private constructor(
    readonly path: string,
    private readonly daemon: ChildProcess,
  ) {}

  static async start(directory: string): Promise<Bus> {
    if (!existsSync(DAEMON)) throw new Error('dbus-daemon is missing: install the Debian package dbus-daemon');
    const path = join(directory, 'bus');
    const daemon = spawn(
      DAEMON,
      ['--session', '--nofork', '--nopidfile', '--nosyslog', '--print-address', `--address=unix:path=${path}`],
      {
        // It complains of the limits of where it runs.
        stdio: ['ignore', 'pipe', 'ignore'],
      },
    );
    // It prints its address once it listens.
    const ready = daemon.stdout === null ? Promise.resolve() : once(daemon.stdout, 'data');
    await Promise.race([
      ready,
      once(daemon, 'exit').then(([code]) => {
        throw new Error(`dbus-daemon ended with ${code}`);
      }),
      new Promise((_, reject) => {
        setTimeout(() => reject(new Error('dbus-daemon does not listen')), slow(10_000)).unref();
      }),
    ]);
    return new Bus(path, daemon);
  }

  get address(): string {
    return `unix:path=${this.path}`;
  }

  async stop(): Promise<void> {
    const ended = once(this.daemon, 'exit');
    this.daemon.kill('SIGTERM');
    await ended;
  }
}
