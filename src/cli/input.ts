/** Standard input, typed on the container's console. */
import process from 'node:process';
import type { Console } from '../supervisor/console.js';

const KILL_KEY = 0x1d;
const KILL_PRESSES = 3;
const KILL_WINDOW_MS = 1000;
/** What a terminal sends for end of file. */
const END_OF_FILE = '\x04';
const NEWLINE = 0x0a;

/** Counts ^] presses; true at the third within a second. */
function killCounter(): (data: Buffer) => boolean {
  let presses: number[] = [];
  return data => {
    const now = Date.now();
    for (const byte of data)
      presses = byte === KILL_KEY ? [...presses.filter(time => now - time < KILL_WINDOW_MS), now] : [];
    return presses.length >= KILL_PRESSES;
  };
}

export class Input {
  private readonly killPressed = killCounter();
  /** What came while no PID 1 was there to read it: between the lives of a container that reboots. */
  private held: { readonly data: Buffer | string; readonly done: () => void }[] = [];
  private partialLine = false;
  private ended = false;
  private closed = false;

  constructor(
    private readonly console: Console,
    private readonly onKill: () => void,
  ) {
    process.stdin.on('data', this.take);
    process.stdin.on('end', this.end);
    process.stdin.on('error', this.end);
  }

  /** A new PID 1 has the console: it gets what waited for it, and the end of file if that has been reached. */
  renew(): void {
    const { held } = this;
    this.held = [];
    for (const { data, done } of held) void this.type(data).then(done);
    if (this.ended && held.length === 0) void this.type(END_OF_FILE);
  }

  close(): void {
    const { stdin } = process;
    this.closed = true;
    stdin.off('data', this.take);
    stdin.off('end', this.end);
    stdin.pause();
  }

  private readonly take = (chunk: Buffer | string): void => {
    const { stdin } = process;
    const data = Buffer.from(chunk);
    this.partialLine = data.at(-1) !== NEWLINE;
    if (stdin.isTTY) {
      // Always read, whether the payload reads or not, so that the kill key works.
      if (this.killPressed(data)) this.onKill();
      void this.type(data);
      return;
    }
    stdin.pause();
    void this.type(data).then(() => {
      if (!this.closed) stdin.resume();
    });
  };

  private readonly end = (): void => {
    if (this.ended || this.closed) return;
    this.ended = true;
    // In the middle of a line the first one only ends the line.
    void this.type(this.partialLine ? END_OF_FILE + END_OF_FILE : END_OF_FILE);
  };

  /** Resolves when PID 1's terminal has taken it, or PID 1 has ended without. */
  private type(data: Buffer | string): Promise<void> {
    if (!this.console.connected) return new Promise(done => this.held.push({ data, done }));
    return this.console.write(data).catch(() => undefined);
  }
}
