/**
 * A datagram socket that the payload writes to, read at a pace: whoever floods it fills the queue of the socket and waits,
 * and our event loop goes on.
 */
import { type Datagram, discardEntry, type ReceiveOptions, receiveDatagram } from '../syscalls/datagram.js';
import { close, duplicate } from '../syscalls/fs.js';
import { runErrand } from '../syscalls/launcher/errand.js';
import { type Watch, watch } from '../syscalls/watch.js';

/** A child that takes this long to let go of a sender's descriptors has been given some that block when closed. */
const DISCARD_MS = 1_000;
/** Low numbers are for what a child copies (launcher/program.ts). */
const KEPT_FROM = 512;

export interface Pace {
  /** Datagrams in one go. */
  readonly burst: number;
  /** Milliseconds until the next, when there may be more. */
  readonly pauseMs: number;
}

export class DatagramReader {
  private watching: Watch | undefined;
  private pause: NodeJS.Timeout | undefined;
  private discarding = false;
  private closed = false;

  constructor(
    private readonly fd: number,
    private readonly options: ReceiveOptions & Pace,
    private readonly heard: (datagram: Datagram) => void,
  ) {
    this.listen();
  }

  /** Takes what has come by now: last words, when the senders have ended. */
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
    for (let count = 0; count < this.options.burst; count++) {
      const datagram = receiveDatagram(this.fd, this.options);
      if (datagram === undefined) return;
      this.heard(datagram);
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
    this.pause = setTimeout(() => this.listen(), this.options.pauseMs);
    this.pause.unref();
  }
}
