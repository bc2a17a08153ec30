/** Host id ranges for user namespaces: each container has one of its own (HST-53), remembered in its record. */
import type { IdMap } from '../spec/container.js';
import { CaissonError } from '../spec/errors.js';

export interface IdPool {
  /** First host id that may be given out. */
  readonly first: number;
  /** How many ids from there. */
  readonly size: number;
}

/** The range Incus gives root; above every id that distributions hand to people. */
export const DEFAULT_ID_POOL: IdPool = { first: 1_000_000, size: 1_000_000_000 };
export const IDS_PER_CONTAINER = 65_536;

export class IdAllocator {
  private readonly taken = new Map<string, IdMap>();

  constructor(private readonly pool: IdPool) {}

  claim(owner: string, range: IdMap): void {
    this.taken.set(owner, range);
  }

  release(owner: string): void {
    this.taken.delete(owner);
  }

  /** The lowest free range. @throws CaissonError ID_RANGE_EXHAUSTED */
  allocate(): IdMap {
    const { first, size } = this.pool;
    const ranges = [...this.taken.values()].sort((a, b) => a.first - b.first);
    let candidate = first;
    for (const range of ranges) {
      if (range.first + range.count <= candidate) continue;
      if (range.first >= candidate + IDS_PER_CONTAINER) break;
      candidate = range.first + range.count;
    }
    if (candidate + IDS_PER_CONTAINER > first + size) {
      throw new CaissonError(
        'ID_RANGE_EXHAUSTED',
        `all ${Math.floor(size / IDS_PER_CONTAINER)} id ranges of the pool are taken`,
        { hint: 'give the supervisor a larger idPool, or remove containers' },
      );
    }
    return { first: candidate, count: IDS_PER_CONTAINER };
  }
}
