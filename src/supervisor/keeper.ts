/**
 * The keeper of this supervisor (design §5): one small process that holds, for every container, what must outlive us.
 * The next supervisor takes it out of there, hands it to a keeper of its own, and ends the old one.
 */
import { readFile, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { KEPT_FROM, LOG_PLACE, LOG_REGISTERS } from '../plan/kept.js';
import type { Kept } from '../plan/record.js';
import { asCaissonError, CaissonError } from '../spec/errors.js';
import { O } from '../syscalls/abi/constants.js';
import { leaveChild, takeChildBack } from '../syscalls/children.js';
import { close, duplicate } from '../syscalls/fs.js';
import {
  type KeeperProcess,
  keeperAnswer,
  launchKeeper,
  pingKeeper,
  SLOTS,
  takeHeld,
} from '../syscalls/keeper/keeper.js';
import { SyscallError, trySyscall } from '../syscalls/libc.js';
import { pidOf, reap, sendSignal } from '../syscalls/process.js';
import { type Watch, watch } from '../syscalls/watch.js';
import type { Registers } from '../workers/context.js';
import { startTimeOf } from '../workers/host/record.js';
import { type Alive, findAlive } from './adoption.js';
import { writeAtomic } from './store.js';

const SIGKILL = 9;
const PATIENCE_MS = 5000;
/** One that dies again and again is given up. */
const MOST_RESTARTS = 10;

export interface KeeperEvents {
  /** A new one is there in place of one that died: it holds nothing yet. */
  replaced(): void;
  /** There is none any more: whatever dies with this supervisor is lost. */
  lost(error: CaissonError): void;
}

export class Keeper {
  /** How many there have been: whoever was handed something in between was not heard. */
  generation = 0;
  private readonly slots = new Map<string, number>();
  private readonly taken = new Set<number>();
  private own: KeeperProcess | undefined;
  private former: (Alive & { readonly record: string })[] = [];
  private watching: Watch[] = [];
  private answered: (() => void)[] = [];
  private closed = false;

  private constructor(
    private readonly file: string,
    private readonly events: KeeperEvents,
  ) {}

  /** Finds those of earlier supervisors, and starts one. `runDir` exists. */
  static async open(runDir: string, events: KeeperEvents): Promise<Keeper> {
    const keeper = new Keeper(join(runDir, '.keeper'), events);
    const records = await readFile(keeper.file, 'utf8').catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT') throw error;
      return '';
    });
    for (const line of records.split('\n').filter(text => text !== '')) {
      const alive = await findAlive(`${line}\n`);
      if (alive !== undefined) keeper.former.push({ ...alive, record: line });
    }
    await keeper.launch();
    return keeper;
  }

  /** What steps need to reach it; empty when there is none. */
  registersOf(name: string): Registers {
    if (this.own === undefined) return {};
    const slot = this.slotOf(name);
    return slot === undefined ? {} : { keeper: this.own.socket, slot };
  }

  /** Before any place is given away: whose record names one has it. */
  reserve(name: string, { slot }: Kept): void {
    if (this.taken.has(slot)) return;
    this.slots.set(name, slot);
    this.taken.add(slot);
  }

  /**
   * Copies of what an earlier supervisor's keeper holds of the life of `pid`. There are several keepers where a supervisor
   * has died while it took over: the newest that knows this life is right, since in the same place of an older one there
   * may be the life before.
   */
  take(pid: number, { slot, registers }: Kept): Registers {
    const places = [
      ...[...registers.slice(0, LOG_PLACE).entries()],
      ...LOG_REGISTERS.map((register, index) => [LOG_PLACE + index, register] as const),
    ];
    for (const { pidfd: keeper } of this.former.toReversed()) {
      const found: Registers = {};
      for (const [place, register] of places) {
        const fd = takeHeld(keeper, slot, place);
        if (fd !== undefined) found[register] = raised(fd);
      }
      const pidfd = found['fd:pidfd'];
      const known = pidfd === undefined ? undefined : pidOf(pidfd);
      // One that has been reaped has no number any more.
      if (known === pid || known === -1) return found;
      for (const fd of Object.values(found)) close(fd);
    }
    return {};
  }

  /** The container is removed: its place is another's. */
  forget(name: string): void {
    const slot = this.slots.get(name);
    if (slot === undefined) return;
    this.slots.delete(name);
    this.taken.delete(slot);
  }

  /** Everything handed over so far is held; and every end that came before it is written down. */
  async settled(): Promise<void> {
    const { own } = this;
    if (own === undefined) return;
    await new Promise<void>(resolve => {
      // A watch alone does not keep the process from ending; and one that was stopped is not waited for.
      const patience = setTimeout(resolve, PATIENCE_MS);
      this.answered.push(() => {
        clearTimeout(patience);
        resolve();
      });
      try {
        pingKeeper(own.socket);
      } catch {
        // It has died, which its watch tells: nobody is to wait for it.
        this.answerAll();
      }
    });
  }

  /** All that lives has been handed to our own: the earlier ones may go. */
  async endFormer(): Promise<void> {
    await this.settled();
    for (const { pid, pidfd } of this.former.splice(0)) {
      takeChildBack(pid);
      sendSignal(pidfd, SIGKILL);
      await ended(pidfd);
      close(pidfd);
    }
    await this.record();
  }

  /** @param needed something lives on, and it holds that until the next supervisor comes. */
  async close(needed: boolean): Promise<void> {
    this.closed = true;
    for (const each of this.watching.splice(0)) each.close();
    this.answerAll();
    const { own } = this;
    if (own === undefined) return;
    this.own = undefined;
    if (!needed) {
      sendSignal(own.pidfd, SIGKILL);
      await ended(own.pidfd);
      await unlink(this.file).catch((error: NodeJS.ErrnoException) => {
        if (error.code !== 'ENOENT') throw error;
      });
    } else leaveChild(own.pid);
    close(own.socket);
    close(own.pidfd);
  }

  private slotOf(name: string): number | undefined {
    const known = this.slots.get(name);
    if (known !== undefined) return known;
    let slot = 0;
    while (this.taken.has(slot)) slot++;
    if (slot >= SLOTS) return undefined;
    this.slots.set(name, slot);
    this.taken.add(slot);
    return slot;
  }

  /** A new one takes over the number of the last one's socket: a worker may be about to write there. */
  private async launch(): Promise<void> {
    const before = this.own;
    const { pid, pidfd, socket, settled } = launchKeeper();
    if (before !== undefined) {
      trySyscall('dup3', socket, before.socket, O.O_CLOEXEC);
      close(socket);
    }
    const own = { pid, pidfd, socket: before?.socket ?? socket };
    this.own = own;
    this.generation++;
    this.watching = [watch(own.socket, () => this.heard(own)), watch(own.pidfd, () => this.died(own))];
    try {
      await this.settled();
      await this.record();
    } finally {
      settled();
    }
  }

  private heard(own: KeeperProcess): void {
    const answer = keeperAnswer(own.socket);
    if (answer === undefined) return;
    // End of file: what is to be done about it is up to the watch of its process.
    if (answer === null) this.watching.shift()?.close();
    else this.answered.shift()?.();
  }

  private died(own: KeeperProcess): void {
    if (reap(own.pidfd) === undefined) return;
    for (const each of this.watching.splice(0)) each.close();
    close(own.pidfd);
    this.answerAll();
    if (this.closed) return;
    this.replace().catch((error: unknown) => this.giveUp(error));
  }

  private async replace(): Promise<void> {
    if (this.generation > MOST_RESTARTS)
      throw new CaissonError('INTERNAL', `the keeper has died ${this.generation} times`);
    await this.launch();
    this.events.replaced();
  }

  private giveUp(error: unknown): void {
    const { own } = this;
    this.own = undefined;
    if (own !== undefined) close(own.socket);
    this.events.lost(asCaissonError(error));
  }

  private answerAll(): void {
    for (const resolve of this.answered.splice(0)) resolve();
  }

  /** Those that hold something: were we to die while handing over, the next supervisor asks all of them. */
  private async record(): Promise<void> {
    const { own } = this;
    if (own === undefined || this.closed) return;
    const records = [...this.former.map(({ record }) => record), `${own.pid} ${startTimeOf(own.pid)}`];
    await writeAtomic(this.file, records.map(record => `${record}\n`).join(''));
  }
}

/** With a high number: the low ones are for launches, which copy what is below them. */
function raised(fd: number): number {
  try {
    const high = duplicate(fd, KEPT_FROM);
    close(fd);
    return high;
  } catch (error) {
    // EINVAL: the limit on descriptors is lower.
    if (error instanceof SyscallError) return fd;
    throw error;
  }
}

/** Resolves when the process behind `pidfd` is dead; and reaped, where it is a child of ours. */
function ended(pidfd: number): Promise<void> {
  return new Promise(resolve => {
    const watching = watch(
      pidfd,
      () => {
        if (reap(pidfd) === undefined) return;
        watching.close();
        resolve();
      },
      { ref: true },
    );
  });
}
