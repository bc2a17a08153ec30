/** Processes of a running container that the kernel kills because its memory has run out. */
import { setTimeout as sleep } from 'node:timers/promises';
import { close, readAt } from '../syscalls/fs.js';
import { readNow } from '../syscalls/io.js';
import { type Watch, watch } from '../syscalls/watch.js';

/** The kernel tells before it kills. */
const LOOK_AFTER_MS = [0, 10, 50, 200];
/** A payload that runs out of memory without end is told of so often, each time with all kills since. */
const PAUSE_MS = 250;

export class OomWatch {
  private watching: Watch | undefined;
  private closed = false;

  /**
   * @param fd as `compileOomWatch` makes it; ours to close.
   * @param counted so many have been told of.
   * @param tell of `killed` processes since, and of `total` in this life.
   */
  constructor(
    private readonly fd: number,
    private readonly version: 1 | 2,
    private counted: number,
    private readonly count: () => Promise<number>,
    private readonly tell: (killed: number, total: number) => void,
  ) {
    this.listen();
  }

  /** What has not been told yet; its failure is no news. */
  async look(): Promise<boolean> {
    const total = await this.count().catch(() => 0);
    const killed = total - this.counted;
    if (this.closed || killed <= 0) return false;
    this.counted = total;
    this.tell(killed, total);
    return true;
  }

  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.watching?.close();
    close(this.fd);
  }

  private listen(): void {
    this.watching = watch(this.fd, () => void this.happened(), { priority: this.version === 2 });
  }

  private async happened(): Promise<void> {
    this.watching?.close();
    this.watching = undefined;
    try {
      // Takes the notice back: what comes later is another.
      if (this.version === 1) readNow(this.fd);
      else readAt(this.fd, 0, 4096);
    } catch {
      // The group is gone.
      return;
    }
    for (const delay of LOOK_AFTER_MS) {
      if (delay > 0) await sleep(delay, undefined, { ref: false });
      if (this.closed || (await this.look())) break;
    }
    await sleep(PAUSE_MS, undefined, { ref: false });
    if (!this.closed) this.listen();
  }
}
