/**
 * Standard output. Whatever reads it may be slow, stop, or go away: none of that holds up the payload or ends this
 * command. What is not read yet is kept here, up to a limit; beyond it the console's ring keeps the newest.
 */
import process from 'node:process';

const MIB = 1024 * 1024;
/** A person at a slow terminal wants to see what ^C did; a pipe or file wants every byte. */
const TERMINAL_BACKLOG = MIB;
const PIPE_BACKLOG = 64 * MIB;
/** How long a command told to end waits for a reader that does not read. */
const PATIENCE_MS = 1000;

interface Blockable {
  readonly _handle?: { setBlocking?(blocking: boolean): void } | null;
}

export class Output {
  /** Bytes that were printed but never reached standard output. */
  lost = 0;
  private broken = false;
  private readonly limit = process.stdout.isTTY ? TERMINAL_BACKLOG : PIPE_BACKLOG;
  private readonly fail = (): void => {
    if (this.broken) return;
    this.broken = true;
    this.onBroken();
  };

  /** @param onBroken called once, when nobody can read any more: EPIPE, or a terminal that was closed. */
  constructor(private readonly onBroken: () => void) {
    process.stdout.on('error', this.fail);
    this.setBlocking(false);
  }

  /** Resolves when more may be written, at the latest when `signal` aborts. */
  async write(data: Buffer, lost: number, signal: AbortSignal): Promise<void> {
    if (this.broken) return;
    this.lost += lost;
    const { stdout } = process;
    try {
      stdout.write(data);
    } catch {
      // A file that takes no more: written to synchronously, it throws.
      this.fail();
    }
    if (this.broken || stdout.writableLength < this.limit || signal.aborted) return;
    await new Promise<void>(resolve => {
      const done = (): void => {
        stdout.off('drain', done);
        stdout.off('error', done);
        signal.removeEventListener('abort', done);
        resolve();
      };
      stdout.on('drain', done);
      stdout.on('error', done);
      signal.addEventListener('abort', done);
    });
  }

  /**
   * Waits until everything is written. False: the reader does not read, and `told` says that this command is to end
   * nevertheless.
   */
  async finish(told: AbortSignal): Promise<boolean> {
    const written = this.broken || (await this.written(told));
    this.setBlocking(true);
    return written;
  }

  private written(told: AbortSignal): Promise<boolean> {
    return new Promise(resolve => {
      process.stdout.write('', () => resolve(true));
      const giveUp = (): void => {
        setTimeout(() => resolve(false), PATIENCE_MS).unref();
      };
      if (told.aborted) giveUp();
      else told.addEventListener('abort', giveUp, { once: true });
    });
  }

  /** Node writes to a terminal as if it could not wait; one that is stopped would stop the event loop with it. */
  private setBlocking(blocking: boolean): void {
    if (process.stdout.isTTY) (process.stdout as Blockable)._handle?.setBlocking?.(blocking);
  }
}
