/**
 * Descriptors on the event loop. All watched descriptors of a thread share one epoll instance, and only that one is
 * handed to koffi's poll: a handle of its own for each of a thousand consoles and pidfds costs kilobytes apiece.
 */
import koffi from 'koffi';
import { EPOLL, EPOLL_EVENT } from './abi/constants.js';
import { Arena } from './arena.js';
import { SyscallError, syscall, trySyscall } from './libc.js';

export interface Watch {
  /** Asks to be called also when the descriptor is writable, or no more. */
  writable(wanted: boolean): void;
  /** Asks not to be called when the descriptor is readable, or to be called again; a hang-up is always told. */
  readable(wanted: boolean): void;
  /** Stops watching; to be called before the descriptor is closed. */
  close(): void;
}

export interface WatchOptions {
  /** Keeps the process alive while watching, as a child process does. */
  readonly ref?: boolean;
  /** Exceptional conditions in place of bytes to read: a file of the kernel's that is readable at all times (poll(2), POLLPRI). */
  readonly priority?: boolean;
}

const BATCH = 128;

class EventLoopEpoll {
  private readonly epoll = syscall('epoll_create1', 0o2000000);
  private readonly memory = Arena.map(4096);
  private readonly control = this.memory.alloc(16);
  private readonly events = this.memory.alloc(BATCH * EPOLL_EVENT.size);
  private readonly callbacks = new Map<number, () => void>();
  private readonly handle = koffi.node.poll(this.epoll, { readable: true }, () => this.dispatch());
  private references = 0;

  constructor() {
    this.handle.unref();
  }

  watch(fd: number, ready: () => void, options: WatchOptions): Watch {
    this.set(EPOLL.CTL_ADD, fd, options.priority === true ? EPOLL.PRI : EPOLL.IN);
    this.callbacks.set(fd, ready);
    if (options.ref === true) this.reference(1);
    let open = true;
    let wanted: number = EPOLL.IN;
    const want = (event: number, is: boolean): void => {
      const events = is ? wanted | event : wanted & ~event;
      if (!open || events === wanted) return;
      wanted = events;
      this.set(EPOLL.CTL_MOD, fd, events);
    };
    return {
      writable: is => want(EPOLL.OUT, is),
      readable: is => want(EPOLL.IN, is),
      close: () => {
        if (!open) return;
        open = false;
        this.callbacks.delete(fd);
        if (options.ref === true) this.reference(-1);
        this.set(EPOLL.CTL_DEL, fd, 0);
      },
    };
  }

  get idle(): boolean {
    return this.callbacks.size === 0;
  }

  close(): void {
    this.handle.stop();
    this.handle.close();
    syscall('close', this.epoll);
  }

  private set(operation: number, fd: number, events: number): void {
    this.memory.setU32(this.control, events);
    this.memory.setU32(this.control + EPOLL_EVENT.data, fd);
    const result = trySyscall('epoll_ctl', this.epoll, operation, fd, this.control);
    if (result < 0) throw new SyscallError('epoll_ctl', -result, `fd ${fd}`);
  }

  private reference(change: 1 | -1): void {
    this.references += change;
    if (this.references === 0) this.handle.unref();
    else if (this.references === 1 && change === 1) this.handle.ref();
  }

  private dispatch(): void {
    const count = trySyscall('epoll_pwait', this.epoll, this.events, BATCH, 0, 0, 8);
    if (count <= 0) return;
    const ready: number[] = [];
    for (let index = 0; index < count; index++)
      ready.push(this.memory.getU32(this.events + index * EPOLL_EVENT.size + EPOLL_EVENT.data));
    // A callback may close other watches of this round: each is looked up when its turn comes.
    for (const fd of ready) this.callbacks.get(fd)?.();
  }
}

let loop: EventLoopEpoll | undefined;

/**
 * Calls `ready` on each turn of the event loop in which `fd` is readable, hung up, or (if asked) writable. Level
 * triggered: what is not read comes up again.
 */
export function watch(fd: number, ready: () => void, options: WatchOptions = {}): Watch {
  loop ??= new EventLoopEpoll();
  return loop.watch(fd, ready, options);
}

/** Gives back the epoll instance when nothing is watched any more; the next watch makes a new one. */
export function releaseWatches(): void {
  if (loop?.idle !== true) return;
  loop.close();
  loop = undefined;
}
