/** The notify socket of one life, read (LIF-37): what PID 1 tells its manager. Anybody else inside is not heard. */
import { NOTIFY_SIZE, type NotifyFields, parseNotify } from '../spec/notify.js';
import { discardEntry, receiveDatagram } from '../syscalls/datagram.js';
import { close, duplicate } from '../syscalls/fs.js';
import { runErrand } from '../syscalls/launcher/errand.js';
import { type Watch, watch } from '../syscalls/watch.js';

/** More in one go, and PID 1 waits: what it floods is the queue of its own socket, not our event loop. */
const BURST = 64;
const PAUSE_MS = 100;
/** A child that takes this long to let go of a sender's descriptors has been given some that block when closed. */
const DISCARD_MS = 1_000;
/** Low numbers are for what a child copies (launcher/program.ts). */
const KEPT_FROM = 512;

export class NotifyReader {
  private watching: Watch | undefined;
  private pause: NodeJS.Timeout | undefined;
  private discarding = false;
  private closed = false;

  /** @param pid PID 1 as we see it. */
  constructor(
    private readonly fd: number,
    private readonly pid: number,
    private readonly heard: (fields: NotifyFields) => void,
  ) {
    this.listen();
  }

  /** Takes what has come by now: PID 1's last words, when it has ended. */
  drain(): void {
    if (!this.closed && !this.discarding) this.read();
  }

  /** Stops listening; the caller closes the descriptor. */
  close(): void {
    this.closed = true;
    this.deafen();
    clearTimeout(this.pause);
  }

  private listen(): void {
    clearTimeout(this.pause);
    if (!this.closed) this.watching ??= watch(this.fd, () => this.read());
  }

  private deafen(): void {
    this.watching?.close();
    this.watching = undefined;
  }

  private read(): void {
    for (let count = 0; count < BURST; count++) {
      const datagram = receiveDatagram(this.fd, NOTIFY_SIZE);
      if (datagram === undefined) return;
      const fields = datagram.pid === this.pid && datagram.data !== undefined ? parseNotify(datagram.data) : undefined;
      if (fields !== undefined) this.heard(fields);
      // A listener may have stopped us.
      if (this.closed) return;
      if (datagram.rights) {
        this.discard();
        return;
      }
    }
    this.rest();
  }

  /** sd_notify(3) lets a sender wait until its manager has closed a descriptor: BARRIER=1 is just that. */
  private discard(): void {
    this.deafen();
    this.discarding = true;
    // Of its own: ours may be closed, and its number given to another, before the child has come to it.
    const fd = duplicate(this.fd, KEPT_FROM);
    runErrand(
      () => [discardEntry(fd)],
      DISCARD_MS,
      () => undefined,
    )
      .finally(() => {
        close(fd);
        this.discarding = false;
      })
      .then(
        () => this.listen(),
        // No process could be had for it: later, then.
        () => this.rest(),
      );
  }

  private rest(): void {
    this.deafen();
    clearTimeout(this.pause);
    this.pause = setTimeout(() => this.listen(), PAUSE_MS);
    this.pause.unref();
  }
}
