/** A terminal for the command line to run on: a pty of the host whose keyboard and screen are a test. */
import { execFileSync, spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { readNow, writeNow } from '#src/syscalls/io.js';
import { openPty, setWindowSize } from '#src/syscalls/pty.js';
import { type Watch, watch } from '#src/syscalls/watch.js';
import { type Cli, MAIN, Printed, type Running } from './cli.ts';

const ROWS = 30;
const COLS = 100;

export class Terminal {
  readonly screen = new Printed();
  private readonly master: number;
  private readonly slave: number;
  private watching: Watch | undefined;
  private open = true;

  constructor() {
    const devpts = openSync('/dev/pts', 'r');
    try {
      ({ master: this.master, slave: this.slave } = openPty(devpts, { rows: ROWS, cols: COLS, uid: 0, gid: 5 }));
    } finally {
      closeSync(devpts);
    }
    this.look();
  }

  /** `caisson …` in a session of its own, which this terminal controls. setsid(1) becomes the command: it keeps the pid. */
  start(cli: Cli, words: readonly string[]): Running {
    const args = ['--ctty', process.execPath, MAIN, ...words];
    return cli.follow(spawn('setsid', args, { stdio: [this.slave, this.slave, this.slave] }));
  }

  /** What a person types; a key that finds no room is pressed again. */
  async type(keys: string | Buffer): Promise<void> {
    let data = Buffer.from(keys);
    while (data.length > 0) {
      const taken = writeNow(this.master, data);
      data = data.subarray(taken);
      if (taken === 0) await new Promise(resolve => setTimeout(resolve, 2));
    }
  }

  resize(rows: number, cols: number): void {
    setWindowSize(this.master, rows, cols);
  }

  /** Line discipline settings: `-g` for all of them in a form that can be compared, `-a` for people. */
  settings(form: '-g' | '-a' = '-g'): string {
    return execFileSync('stty', [form], { stdio: [this.slave, 'pipe', 'inherit'], encoding: 'utf8' });
  }

  /** Reads what is printed, as a terminal does. */
  look(): void {
    this.watching ??= watch(this.master, () => {
      const data = readNow(this.master);
      if (data) this.screen.add(data);
    });
  }

  /** Stops reading: what is printed waits, and soon finds no more room. */
  lookAway(): void {
    this.watching?.close();
    this.watching = undefined;
  }

  /** Closes it under whoever runs on it, or after that. */
  close(): void {
    if (!this.open) return;
    this.open = false;
    this.lookAway();
    this.screen.end();
    closeSync(this.slave);
    closeSync(this.master);
  }
}
