/** What all containers of a supervisor share: the workers, the facts, and memory for launches. */
import type { HostFacts } from '../plan/facts.js';
import type { ContainerSpec } from '../spec/container.js';
import { CaissonError } from '../spec/errors.js';
import { Arena } from '../syscalls/arena.js';
import type { WorkerPool } from '../workers/pool.js';
import type { Keeper } from './keeper.js';
import type { Lxcfs } from './lxcfs/lxcfs.js';
import { hostBootId } from './power.js';

/** Launch memory for everything but the words of PID 1: about 25 KB are used by a start with every device and mount. */
const BASE_SIZE = 56 * 1024;
const SMALLEST = 64 * 1024;

/** Bytes of memory that a launch with these words needs, as a power of two, so that arenas can be shared. */
function sizeFor(words: readonly string[], more = 0): number {
  const bytes = words.reduce((sum, word) => sum + Buffer.byteLength(word) + 1 + 8, BASE_SIZE + more);
  let size = SMALLEST;
  while (size < bytes) size *= 2;
  return size;
}

/** Launch arenas in use are as many as starts under way; they are kept for the next ones. */
export class ArenaPool {
  private readonly free = new Map<number, Arena[]>();

  take(spec: ContainerSpec): Arena {
    return this.takeFor([...spec.args, ...Object.entries(spec.environment).map(([name, value]) => `${name}=${value}`)]);
  }

  /** Memory for a launch with these arguments and variables, and `more` bytes. */
  takeFor(words: readonly string[], more = 0): Arena {
    const size = sizeFor(words, more);
    return this.free.get(size)?.pop() ?? Arena.map(size);
  }

  /** Only when no child can still be running in it: after exec, or once reaped. */
  give(arena: Arena): void {
    const arenas = this.free.get(arena.size);
    if (arenas === undefined) this.free.set(arena.size, [arena]);
    else arenas.push(arena);
  }
}

export interface Host {
  readonly pool: WorkerPool;
  readonly facts: HostFacts;
  readonly arenas: ArenaPool;
  readonly lxcfs: Lxcfs;
  /** Which boot of the host this is. */
  readonly bootId: string;
  /** What holds the containers' descriptors for the next supervisor; null where none could be started. */
  keeper: Keeper | null;
  /** Directory for volatile state of all containers of this supervisor. */
  readonly runDir: string;
  /** The uuid of each container that runs, by its name (HST-14). */
  readonly uuids: Map<string, string>;
  /** Fault injection, for tests: errno number by step id. */
  readonly faults: Readonly<Record<string, number>>;
}

export interface HostOptions {
  /** Directory for volatile state. Default: below /run/caisson, named after the state directory. */
  readonly runDir?: string;
  /** For tests: facts that replace what was found. */
  readonly facts?: Partial<HostFacts>;
  /** For tests: steps that fail, errno number by step id. */
  readonly faults?: Readonly<Record<string, number>>;
}

/**
 * What is found out about the host, once.
 * @param id of the state directory
 * @throws CaissonError HOST_UNSUPPORTED
 */
export async function openHost(options: HostOptions, id: string, pool: WorkerPool, lxcfs: Lxcfs): Promise<Host> {
  const found = await pool.facts(`caisson-${id}`);
  const facts = { ...found, lxcfs: await lxcfs.first(), ...options.facts };
  const { major, minor, release } = facts.kernel;
  if (major < 5 || (major === 5 && minor < 9)) {
    throw new CaissonError('HOST_UNSUPPORTED', `Linux ${release} is too old`, {
      hint: 'Linux 5.9 or newer is needed (clone3, close_range)',
    });
  }
  return {
    pool,
    facts,
    arenas: new ArenaPool(),
    lxcfs,
    bootId: await hostBootId(),
    keeper: null,
    runDir: options.runDir ?? `/run/caisson/${id}`,
    uuids: new Map(),
    faults: options.faults ?? {},
  };
}
