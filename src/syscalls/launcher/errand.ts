/**
 * System calls made by a child in our place, because they may block where neither a flag nor a time limit helps. The
 * child shares our memory and descriptors, and can be killed while it waits; nearly always: a request that a file
 * server has read and does not answer holds its caller until the server ends. Such a child is left to itself, and
 * reaped when it comes.
 */
import { Arena } from '../arena.js';
import { close } from '../fs.js';
import { SyscallError } from '../libc.js';
import { poll, reap, sendSignal } from '../process.js';
import { watch } from '../watch.js';
import { type Entry, Program } from './program.js';

const SIGKILL = 9;
/** Room for some hundred entries, and what they read. */
const MEMORY = 32 * 1024;
/** ms that a killed child has to end. */
const GRACE_MS = 200;
const free: Arena[] = [];
/** Children of this thread that did not end when they were killed. */
const stuck = new Set<Errand>();

/** Writes the child's entries; what they point to is taken from `arena`. */
export type Write = (arena: Arena) => readonly Entry[];

/** What a child that has ended found. */
export interface Findings {
  readonly arena: Arena;
  /** What the call of an entry returned, -errno when it failed; undefined when it never came to it. */
  readonly result: (entry: number) => number | undefined;
  /** The entry that ended the child before it was through, if one did. */
  readonly failure: { readonly entry: number; readonly errno: number } | undefined;
}

class Errand implements Findings {
  private constructor(
    readonly arena: Arena,
    private readonly program: Program,
    private readonly first: number,
    readonly pidfd: number,
  ) {}

  static launch(write: Write): Errand {
    for (const one of stuck) {
      if (one.ended() === undefined) continue;
      stuck.delete(one);
      one.release();
    }
    const arena = free.pop() ?? Arena.map(MEMORY);
    const { program, first } = Program.ready(arena, write);
    const launched = program.launch(0, null);
    if (!('errno' in launched)) return new Errand(arena, program, first, launched.pidfd);
    free.push(arena);
    throw new SyscallError('clone3', launched.errno, 'errand');
  }

  readonly result = (entry: number): number | undefined => {
    const { result, stamp } = this.program.read(this.first, entry);
    return stamp === 0 ? undefined : result;
  };

  get failure(): Findings['failure'] {
    const { failure: errno } = this.program;
    const entry = this.program.failedIndex(this.first);
    return errno === undefined || entry === undefined ? undefined : { entry, errno };
  }

  kill(): void {
    sendSignal(this.pidfd, SIGKILL);
  }

  /** Undefined while it runs; then whether it ended by itself. Its findings are there until `release`. */
  ended(): boolean | undefined {
    const exit = reap(this.pidfd);
    return exit === undefined ? undefined : exit !== 'not-a-child' && exit.code === 'exited';
  }

  release(): void {
    close(this.pidfd);
    free.push(this.arena);
  }
}

/**
 * Resolves with what `read` makes of the findings; undefined when the child had to be killed after `timeoutMs`.
 * @param stuck is told when the child does not even end then, and when it does in the end.
 */
export async function runErrand<T>(
  write: Write,
  timeoutMs: number,
  read: (findings: Findings) => T,
  stuck: (still: boolean) => void = () => undefined,
): Promise<T | undefined> {
  const errand = Errand.launch(write);
  return await new Promise((resolve, reject) => {
    let grace: NodeJS.Timeout | undefined;
    const timer = setTimeout(() => {
      errand.kill();
      grace = setTimeout(() => {
        stuck(true);
        resolve(undefined);
      }, GRACE_MS);
    }, timeoutMs);
    const watching = watch(errand.pidfd, () => {
      const ended = errand.ended();
      if (ended === undefined) return;
      clearTimeout(timer);
      clearTimeout(grace);
      watching.close();
      stuck(false);
      try {
        resolve(ended ? read(errand) : undefined);
      } catch (error) {
        reject(error as Error);
      } finally {
        errand.release();
      }
    });
  });
}

/** The same for a worker thread, which waits. */
export function runErrandNow<T>(write: Write, timeoutMs: number, read: (findings: Findings) => T): T | undefined {
  const errand = Errand.launch(write);
  poll([errand.pidfd], timeoutMs);
  let ended = errand.ended();
  if (ended === undefined) {
    errand.kill();
    poll([errand.pidfd], GRACE_MS);
    ended = errand.ended();
  }
  if (ended === undefined) {
    stuck.add(errand);
    return undefined;
  }
  try {
    return ended ? read(errand) : undefined;
  } finally {
    errand.release();
  }
}
