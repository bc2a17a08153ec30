/** The manager that has started this process, as systemd does: told how it is, and that it lives (sd_notify(3)). */
import process from 'node:process';
import { sendDatagram } from '../syscalls/datagram-send.js';
import { SyscallError } from '../syscalls/libc.js';

export class Manager {
  private readonly socket = process.env.NOTIFY_SOCKET;
  private watchdog: NodeJS.Timeout | undefined;

  constructor() {
    // For this process alone: what it starts would speak in its name.
    delete process.env.NOTIFY_SOCKET;
  }

  ready(status: string): void {
    this.tell(`READY=1\nSTATUS=${status}`);
    const { WATCHDOG_USEC = '', WATCHDOG_PID } = process.env;
    const milliseconds = Number(WATCHDOG_USEC) / 1000;
    const meant = WATCHDOG_PID === undefined || Number(WATCHDOG_PID) === process.pid;
    if (!(milliseconds > 0) || !meant) return;
    // From the event loop: a loop that hangs is what the watchdog is for.
    this.watchdog = setInterval(() => this.tell('WATCHDOG=1'), Math.max(1, milliseconds / 2));
    this.watchdog.unref();
  }

  stopping(): void {
    clearInterval(this.watchdog);
    this.tell('STOPPING=1');
  }

  private tell(message: string): void {
    if (this.socket === undefined || this.socket === '') return;
    try {
      sendDatagram(this.socket, message);
    } catch (error) {
      // Nobody listens any more, or too slowly: no reason to end.
      if (!(error instanceof SyscallError)) throw error;
    }
  }
}
