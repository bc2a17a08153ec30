/**
 * A program on its way into a container. A worker launches the joiner; from there on it may take as long as the payload
 * likes (its files may be served by one of its own processes), so it is followed on the event loop, with a time limit.
 */
import { compileWish, type ExecWish, GATE, JOINED, type JoinWish, MASTER, PIPES } from '../plan/exec.js';
import { TARGET } from '../plan/live-mount.js';
import type { ContainerSpec } from '../spec/container.js';
import { CaissonError } from '../spec/errors.js';
import { AT, O } from '../syscalls/abi/constants.js';
import { ENTRY } from '../syscalls/abi/launch.js';
import type { Arena } from '../syscalls/arena.js';
import { close, duplicate, openat, readLinkFd } from '../syscalls/fs.js';
import { unshare } from '../syscalls/launcher/join.js';
import { Program } from '../syscalls/launcher/program.js';
import { SyscallError } from '../syscalls/libc.js';
import { isOwnChild, openPidfd, type RawExit, reap, sendSignal } from '../syscalls/process.js';
import { receiveByte } from '../syscalls/socket.js';
import { type Watch, watch } from '../syscalls/watch.js';
import type { Registers } from '../workers/context.js';
import { failureOf } from '../workers/failure.js';
import type { Awaited } from '../workers/init/batch.js';
import { READ_CALLS, READ_LIMIT } from '../workers/init/encode.js';
import type { Host } from './host.js';

const SIGKILL = 9;
/** From the call to the exec: what comes between is quick, unless the payload makes it slow. */
const JOIN_TIMEOUT_MS = 20_000;
/** Bytes of a gid_t. */
const GROUP_SIZE = 4;

/** A process of ours in a container; its descriptor is its holder's to close, once it has been reaped. */
export interface Joined {
  readonly pid: number;
  readonly pidfd: number;
  /** Our ends of its standard descriptors, by the registers of the plan. */
  readonly streams: Registers;
}
type Child = Omit<Joined, 'streams'>;

/** Who joins what. */
export interface JoinOptions {
  readonly spec: ContainerSpec;
  /** Of PID 1. */
  readonly target: Registers;
  /** Gives the join up. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Resolves once the program has been executed.
 * @throws CaissonError EXEC_FAILED, STEP_FAILED, CHILD_DIED, TIMEOUT, CANCELLED, INVALID_TRANSITION
 */
export async function join(host: Host, wish: ExecWish, options: JoinOptions): Promise<Joined> {
  const words = [...wish.programs, ...wish.argv, ...wish.env, wish.cwd];
  const more = wish.programs.length * ENTRY.size + wish.groups.length * GROUP_SIZE;
  const { followed, streams } = await begin(host, wish, options, () => host.arenas.takeFor(words, more));
  try {
    const child = await new Following(host, followed, options.signal).done;
    if (child === undefined) throw new CaissonError('INTERNAL', 'the program was executed by nobody');
    return { ...child, streams };
  } catch (error) {
    for (const fd of Object.values(streams)) close(fd);
    throw error;
  }
}

/** The start of each file inside, up to READ_LIMIT bytes; null for one that cannot be read. */
export async function readInside(
  host: Host,
  paths: readonly string[],
  options: JoinOptions,
): Promise<(Buffer | null)[]> {
  const memory = () => host.arenas.takeFor(paths, paths.length * READ_LIMIT);
  const { followed } = await begin(host, { read: paths }, options, memory);
  const following = new Following(host, followed, options.signal);
  await following.done;
  return following.contents;
}

async function begin(
  host: Host,
  wish: JoinWish,
  { spec, target }: JoinOptions,
  memory: () => Arena,
): Promise<{ followed: Followed; streams: Registers }> {
  const { pid, 'fd:pidfd': pidfd } = target;
  if (pid === undefined || pidfd === undefined)
    throw new CaissonError('INVALID_TRANSITION', `${spec.name} does not run`, { field: 'state' });
  const copy = duplicate(pidfd, 3);
  const arena = memory();
  const result = await host.pool.join(
    {
      spec,
      wish,
      registers: { pid, [TARGET]: copy },
      launch: { address: arena.address, size: arena.size },
      faults: host.faults,
    },
    host.facts,
  );
  const { error, registers, awaited } = result;
  if (error !== null) {
    const failed = CaissonError.from({ ...error, cleanupErrors: result.cleanupErrors });
    // What could not be killed may still use the memory: then it is never used again.
    if (result.cleanupErrors.length === 0) giveBack(host, arena);
    throw failed;
  }
  const { [GATE]: gate, [JOINED]: joined } = registers;
  if (gate === undefined || joined === undefined || awaited === undefined)
    throw new CaissonError('INTERNAL', 'the joiner was launched without what it is followed by');
  const streams = Object.fromEntries(
    [...PIPES, MASTER].flatMap(register =>
      registers[register] === undefined ? [] : [[register, registers[register]]],
    ),
  );
  return { followed: { spec, wish, arena, gate, joined, awaited, pid1: pid }, streams };
}

/** Undefined when there is no such process any more. */
function pidNamespace(pid: number): string | undefined {
  try {
    const link = openat(AT.AT_FDCWD, `/proc/${pid}/ns/pid`, O.O_PATH | O.O_NOFOLLOW);
    try {
      return readLinkFd(link);
    } finally {
      close(link);
    }
  } catch (error) {
    if (error instanceof SyscallError) return undefined;
    throw error;
  }
}

function giveBack(host: Host, arena: Arena): void {
  unshare(arena);
  host.arenas.give(arena);
}

interface Followed {
  readonly spec: ContainerSpec;
  readonly wish: JoinWish;
  readonly arena: Arena;
  readonly gate: number;
  readonly joined: number;
  readonly awaited: Awaited;
  readonly pid1: number;
}

function nameOf(wish: JoinWish): string {
  return 'read' in wish ? `what reads ${wish.read.join(' and ')}` : (wish.argv[0] ?? '');
}

/** The last two processes of a join: the one that clones, and the program's own. */
class Following {
  readonly done: Promise<Child | undefined>;
  /** Of the files that were to be read. */
  contents: (Buffer | null)[] = [];
  private resolve!: (child: Child | undefined) => void;
  private reject!: (error: CaissonError) => void;
  private readonly program: Program;
  private readonly watches: Watch[] = [];
  private readonly timer: NodeJS.Timeout;
  private gateOpen = true;
  private cloning = true;
  private child: Child | undefined;
  /** Of the process that clones. */
  private exit: RawExit | 'not-a-child' | undefined;
  private givenUp: CaissonError | undefined;
  private ending = false;
  private readonly abort = (): void =>
    this.giveUp(new CaissonError('CANCELLED', `exec in ${this.followed.spec.name} was cancelled`));

  constructor(
    private readonly host: Host,
    private readonly followed: Followed,
    private readonly signal: AbortSignal | undefined,
  ) {
    this.program = Program.ofJoiner(followed.arena);
    this.done = new Promise((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
    });
    this.timer = setTimeout(() => this.giveUp(this.late()), JOIN_TIMEOUT_MS);
    this.watches.push(
      watch(followed.gate, () => this.gateReadable(), { ref: true }),
      watch(followed.joined, () => this.cloned(), { ref: true }),
    );
    signal?.addEventListener('abort', this.abort, { once: true });
    if (signal?.aborted === true) this.abort();
  }

  private gateReadable(): void {
    if (receiveByte(this.followed.gate) > 0) return;
    this.watches[0]?.close();
    this.gateOpen = false;
    this.look();
  }

  private cloned(): void {
    this.exit = reap(this.followed.joined);
    if (this.exit === undefined) return;
    this.watches[1]?.close();
    this.cloning = false;
    this.look();
  }

  /** Both have come to their end: the cloning process to its death, the program to its exec or its death. */
  private look(): void {
    if (this.cloning || this.ending) return;
    this.child ??= this.findChild();
    if (this.givenUp !== undefined && this.child !== undefined) sendSignal(this.child.pidfd, SIGKILL);
    if (this.gateOpen && this.child !== undefined) return;
    if ('read' in this.followed.wish && this.givenUp === undefined && this.finished()) {
      this.ending = true;
      this.contents = this.followed.wish.read.map((_, index) => this.contentOf(index));
      this.end(() => this.resolve(undefined));
      return;
    }
    this.ending = true;
    const { child, program } = this;
    if (child === undefined || program.failure !== undefined || this.givenUp !== undefined) {
      const error = this.givenUp ?? this.failure();
      if (child === undefined) this.end(() => this.reject(error));
      else this.afterDeath(child, () => this.end(() => this.reject(error)));
      return;
    }
    this.end(() => this.resolve(child));
  }

  /**
   * The number is from memory that the program's process shares with us until its exec, so it is not believed: it counts
   * when it is a child of ours that is in the container's pid namespace.
   */
  private findChild(): Child | undefined {
    const pid = this.program.pidOf(1);
    if (pid <= 0) return undefined;
    let pidfd: number;
    try {
      pidfd = openPidfd(pid);
    } catch (error) {
      if (error instanceof SyscallError) return undefined;
      throw error;
    }
    if (isOwnChild(pidfd) && pidNamespace(pid) === pidNamespace(this.followed.pid1)) return { pid, pidfd };
    close(pidfd);
    return undefined;
  }

  /** It has come to the end of its table. */
  private finished(): boolean {
    return (
      this.exit !== undefined && this.exit !== 'not-a-child' && this.exit.code === 'exited' && this.exit.status === 0
    );
  }

  private contentOf(index: number): Buffer | null {
    const { arena, awaited } = this.followed;
    const { first, bounds, steps } = awaited;
    const from = bounds[steps.indexOf(`exec.read.${index}`)];
    if (from === undefined || this.program.read(first, from).result < 0) return null;
    const chunks: Buffer[] = [];
    for (const call of READ_CALLS) {
      const length = this.program.read(first, from + call).result;
      if (length <= 0) break;
      chunks.push(Buffer.from(arena.slice(this.program.argument(first, from + call, 1), length)));
    }
    return Buffer.concat(chunks);
  }

  private giveUp(error: CaissonError): void {
    if (this.givenUp !== undefined) return;
    this.givenUp = error;
    // What is left is cleared up when it has ended; a frozen or stuck process does so later than anybody would wait.
    this.reject(error);
    if (this.cloning) sendSignal(this.followed.joined, SIGKILL);
    this.look();
  }

  private late(): CaissonError {
    return new CaissonError('TIMEOUT', `${nameOf(this.followed.wish)} was not executed within ${JOIN_TIMEOUT_MS} ms`, {
      hint: 'a file system inside may not answer, or the process was stopped there',
    });
  }

  private failure(): CaissonError {
    const { spec, wish, awaited } = this.followed;
    const index = this.program.failedIndex(awaited.first);
    const errno = this.program.failure;
    const id = index === undefined ? undefined : awaited.steps[awaited.bounds.findIndex(bound => bound > index) - 1];
    const step = compileWish(spec, this.host.facts, wish).steps.find(step => step.id === id);
    if (errno === undefined || step === undefined)
      return new CaissonError('CHILD_DIED', `${nameOf(wish)} was killed before it was executed`);
    return failureOf(step, new SyscallError(step.action.op, errno));
  }

  private afterDeath(child: Child, act: () => void): void {
    whenEnded(child).then(act, (error: CaissonError) => this.reject(error));
  }

  private end(answer: () => void): void {
    clearTimeout(this.timer);
    this.signal?.removeEventListener('abort', this.abort);
    for (const watching of this.watches) watching.close();
    close(this.followed.gate);
    close(this.followed.joined);
    giveBack(this.host, this.followed.arena);
    answer();
  }
}

/** How a joined process ended; it is reaped, at once: until then PID 1 cannot end. */
export function whenEnded({ pidfd }: Child): Promise<RawExit | 'not-a-child'> {
  return new Promise(resolve => {
    const watching = watch(
      pidfd,
      () => {
        const exit = reap(pidfd);
        if (exit === undefined) return;
        watching.close();
        close(pidfd);
        resolve(exit);
      },
      { ref: true },
    );
  });
}
