/** One container's time in the foreground: from its start to the end of its last life, with what ends it early. */
import process from 'node:process';
import { CaissonError } from '../spec/errors.js';
import type { Container } from '../supervisor/container.js';
import { type Attachment, attach } from './attach.js';
import { printError } from './error.js';
import { exitCodeOf, exitCodeOfSignal, OWN_FAILURE } from './exit-code.js';
import { Output } from './output.js';
import { forgetClosedTerminal } from './terminal.js';

export class Session {
  /** Its start failed or was cancelled, and nothing of it is left. */
  neverRan = false;
  private readonly output: Output;
  private container: Container | undefined;
  private attachment: Attachment | undefined;
  private exitCode = OWN_FAILURE;
  /** What ends it early, as a signal. */
  private ending: NodeJS.Signals | undefined;

  /** @param told aborts, with the signal as its reason, when this command is told to end. */
  constructor(
    private readonly stopTimeout: number,
    readonly told: AbortSignal,
  ) {
    // Nobody reads what the container prints any more: as any program in a pipe, it ends.
    this.output = new Output(() => this.stop('SIGPIPE'));
    told.addEventListener('abort', () => this.stop(told.reason as NodeJS.Signals), { once: true });
  }

  /** Starts the container and stays until it has ended; returns the exit code that tells how. */
  async run(container: Container): Promise<number> {
    try {
      this.exitCode = await this.follow(container);
    } catch (error) {
      // Told to end while a start was under way: the first one, or that of a container that reboots.
      if (this.ending === undefined || !CaissonError.is(error) || error.code !== 'CANCELLED') throw error;
      this.exitCode = exitCodeOfSignal(this.ending);
    }
    return this.exitCode;
  }

  /** Lets the output run dry and gives the terminal back. */
  async finish(): Promise<void> {
    const written = await this.output.finish(this.told);
    this.attachment?.restore();
    forgetClosedTerminal();
    const { lost } = this.output;
    if (lost > 0) process.stderr.write(`caisson: ${lost} bytes of output were lost: standard output was not read\n`);
    // What is still waiting to be written would keep the process alive.
    if (!written) process.exit(this.exitCode);
  }

  private async follow(container: Container): Promise<number> {
    await this.start(container);
    this.attachment = attach(container, this.output, () => this.kill());
    try {
      const { exit } = await container.wait();
      // Not how the payload ended, but what went wrong with it: a new start after a reboot, or the cleanup.
      if (container.error !== undefined) throw container.error;
      return exitCodeOf(exit);
    } finally {
      await this.attachment.end();
    }
  }

  private async start(container: Container): Promise<void> {
    try {
      if (this.ending !== undefined) throw new CaissonError('CANCELLED', `${container.name} was not started`);
      this.container = container;
      await container.start();
    } catch (error) {
      this.neverRan = CaissonError.is(error) && error.cleanupErrors === undefined;
      throw error;
    }
  }

  private stop(because: NodeJS.Signals): void {
    this.ending ??= because;
    const { container } = this;
    if (container !== undefined) this.end(container.stop({ timeout: this.stopTimeout }));
  }

  private kill(): void {
    this.ending ??= 'SIGKILL';
    const { container } = this;
    if (container !== undefined) this.end(container.kill());
  }

  private end(ending: Promise<unknown>): void {
    ending.catch((error: unknown) => {
      // Refused, for it ends or has ended by itself; how is what run() reports.
      if (!CaissonError.is(error) || error.code !== 'INVALID_TRANSITION') printError(error);
    });
  }
}
