/**
 * Fills the launcher's memory (abi/launch.ts): entries, gates, the clone3 arguments. A child is cloned and parked at
 * its first gate before it is known what it will run; batches of entries are written later and entered through the
 * gate, with the descriptors they need sent along.
 */
import { CLONE, PR } from '../abi/constants.js';
import { ARENA, ENTRY, PROGRAM, PSEUDO } from '../abi/launch.js';
import type { Arena } from '../arena.js';
import { NR, syscall, type Word } from '../libc.js';
import { MSG_CMSG_CLOEXEC, MSG_NOSIGNAL, rightsSpace } from '../socket.js';
import { launcher } from './stub.js';

/** Where a result goes: an argument of a later entry of the same batch, or 64 bits at an address. */
export type Destination = { readonly entry: number; readonly argument: number } | { readonly address: number };

/** One entry to be written. */
export interface Entry {
  readonly nr: number;
  readonly args: readonly Word[];
  readonly dest?: Destination;
  /** Tolerated errnos, and the index of the entry to go on with. */
  readonly tolerated?: { readonly errnos: readonly number[]; readonly next: number };
  /** Smallest result that is not an error; 0 by default. */
  readonly min?: number;
}

/** The descriptor that the child's end of the socket pair has in the child. */
export const SYNC_FD = 3;

/** Most descriptors sent through one gate. */
const MAX_DESCRIPTORS = 64;
const SIG_SETMASK = 2;
const CLOSE_RANGE_UNSHARE = 2;
const F_SETFD = 2;
const FD_CLOEXEC = 1;

export class Program {
  private readonly header: number;
  private readonly messageByte: number;
  /** The entry the child waits in, whose `next` the parent may write. */
  private gate: number;
  private readyFrom = 0;

  private constructor(
    readonly memory: Arena,
    header: number,
    gate: number,
  ) {
    this.header = header;
    this.gate = gate;
    this.messageByte = header + PROGRAM.size;
  }

  /** A program that reports and parks at a gate as its first act. The arena is emptied first. */
  static park(arena: Arena, sync: number): Program {
    arena.reset();
    const header = arena.alloc(PROGRAM.size);
    arena.alloc(8);
    const program = new Program(arena, header, 0);
    // The child begins with our descriptor table, not a copy: copying the thousands a supervisor of many containers
    // has, only to close them, would cost milliseconds. It takes a copy of its own up to the gate, which therefore
    // should have a low number, and reports; until then `sync` must stay open here. Nothing but the gate stays open
    // in it: a copy of another child's gate would hide our death from that one.
    const first = program.write([
      { nr: NR.close_range, args: [sync + 1, 0xffffffff, CLOSE_RANGE_UNSHARE] },
      { nr: NR.dup3, args: [sync, SYNC_FD, 0o2000000] },
      { nr: NR.close_range, args: [SYNC_FD + 1, 0xffffffff, 0] },
      program.reportEntry(),
      program.gateEntry(),
    ]);
    program.gate = first + 4 * ENTRY.size;
    program.readyFrom = first + 3 * ENTRY.size;
    arena.setU64(header + PROGRAM.first, first);
    return program;
  }

  /**
   * What the joiner walks, in memory that it shares with us: it lets go of that memory's descriptor, becomes unreadable
   * to anybody but the host's root, and parks at a gate. Its end of the gate is `SYNC_FD`.
   */
  static joiner(arena: Arena): Program {
    arena.reset();
    arena.alloc(ARENA.program);
    arena.setU64(arena.address + ARENA.address, arena.address);
    arena.setU64(arena.address + ARENA.length, arena.size);
    const header = arena.alloc(PROGRAM.size);
    arena.alloc(8);
    const program = new Program(arena, header, 0);
    const first = program.write([
      { nr: NR.fcntl, args: [SYNC_FD, F_SETFD, FD_CLOEXEC] },
      { nr: NR.close, args: [ARENA.fd] },
      { nr: NR.prctl, args: [PR.PR_SET_DUMPABLE, 0] },
      program.gateEntry(),
    ]);
    program.gate = first + 3 * ENTRY.size;
    arena.setU64(header + PROGRAM.first, first);
    return program;
  }

  /** The program of a joiner, as another thread wrote it: to read what became of it. */
  static ofJoiner(arena: Arena): Program {
    return new Program(arena, arena.address + ARENA.program, 0);
  }

  /** Process id of the n-th process that the joiner became; 0 while it has not. */
  pidOf(index: number): number {
    return this.memory.getI32(this.memory.address + ARENA.pids + 8 * index);
  }

  /** A program without gates: the child goes through what `write` makes at once, and ends unless the last is an exec. */
  static ready(
    arena: Arena,
    write: (arena: Arena) => readonly Entry[],
  ): { readonly program: Program; readonly first: number } {
    arena.reset();
    const header = arena.alloc(PROGRAM.size);
    const program = new Program(arena, header, 0);
    const first = program.write(write(arena));
    arena.setU64(header + PROGRAM.first, first);
    return { program, first };
  }

  /** clone3 with memory shared and signals blocked. `flags`: namespaces, and how else. Returns pid and pidfd. */
  launch(flags: number, cgroup: number | null): { pid: number; pidfd: number } | { errno: number } {
    const { memory: arena, header } = this;
    const args = arena.alloc(88);
    const pidfd = arena.alloc(8);
    arena.setU64(
      args,
      flags +
        CLONE.CLONE_VM +
        CLONE.CLONE_FILES +
        CLONE.CLONE_CLEAR_SIGHAND +
        CLONE.CLONE_PIDFD +
        (cgroup === null ? 0 : CLONE.CLONE_INTO_CGROUP),
    );
    arena.setU64(args + 8, pidfd);
    if (cgroup !== null) arena.setU64(args + 80, cgroup);
    arena.setU64(header + PROGRAM.cloneArgs, args);
    arena.setU64(header + PROGRAM.cloneArgsSize, 88);
    const all = arena.alloc(8);
    arena.setU64(all, -1n);
    const before = arena.alloc(8);
    // A signal handler run in the child would run on our stack.
    syscall('rt_sigprocmask', SIG_SETMASK, all, before, 8);
    try {
      const pid = launcher()(header);
      return pid < 0 ? { errno: -pid } : { pid, pidfd: arena.getU32(pidfd) };
    } finally {
      syscall('rt_sigprocmask', SIG_SETMASK, before, 0, 8);
    }
  }

  /** Address of the i-th descriptor that comes through the next gate opening. */
  descriptorAddress(index: number): number {
    return this.memory.getI64(this.gateMessage() + 32) + 16 + 4 * index;
  }

  /**
   * Writes a batch and makes the open gate lead to it. Unless it ends in exec, the child then parks at the next gate.
   * @returns the address of the first entry, for `read`.
   */
  arm(entries: readonly Entry[], final: boolean): number {
    const tail = final ? [] : [this.gateEntry()];
    const first = this.write([...entries, ...tail]);
    this.memory.setU64(this.gate + ENTRY.next, first);
    if (!final) this.gate = first + entries.length * ENTRY.size;
    return first;
  }

  /** Result and CLOCK_MONOTONIC stamp (ns, 0 when not reached) of an entry of a batch. */
  read(first: number, index: number): { result: number; stamp: number } {
    const { memory: arena } = this;
    const address = first + index * ENTRY.size;
    return { result: arena.getI64(address + ENTRY.result), stamp: this.timespec(address + ENTRY.stamp) };
  }

  /** An argument of an entry of a batch. */
  argument(first: number, index: number, position: number): number {
    return this.memory.getI64(first + index * ENTRY.size + ENTRY.args + 8 * position);
  }

  /** True once the child has gone past the first `count` entries of the batch at `first`: later ones lie higher. */
  isBeyond(first: number, count: number): boolean {
    return this.memory.getI64(this.header + PROGRAM.current) >= first + count * ENTRY.size;
  }

  /** True once the child has a descriptor table of its own, and is about to report it or has done so. */
  get ready(): boolean {
    return this.memory.getI64(this.header + PROGRAM.current) >= this.readyFrom;
  }

  /** Index in the batch at `first` of the entry that ended the child, or undefined. */
  failedIndex(first: number): number | undefined {
    const failed = this.memory.getI64(this.header + PROGRAM.failed);
    return failed === 0 ? undefined : (failed - first) / ENTRY.size;
  }

  /** The errno of the entry that ended the child, or undefined. */
  get failure(): number | undefined {
    const failed = this.memory.getI64(this.header + PROGRAM.failed);
    return failed === 0 ? undefined : -this.memory.getI64(failed + ENTRY.result);
  }

  /** CLOCK_MONOTONIC of the child's first instruction, in ns; 0 before it. */
  get started(): number {
    return this.timespec(this.header + PROGRAM.started);
  }

  private timespec(address: number): number {
    return this.memory.getI64(address) * 1e9 + this.memory.getI64(address + 8);
  }

  private gateMessage(): number {
    return this.memory.getI64(this.gate + ENTRY.args + 8);
  }

  /** One byte to the parent. */
  private reportEntry(): Entry {
    return { nr: NR.sendto, args: [SYNC_FD, this.messageByte, 1, MSG_NOSIGNAL, 0, 0] };
  }

  private gateEntry(): Entry {
    const { memory: arena } = this;
    const iov = arena.alloc(16);
    arena.setU64(iov, this.messageByte);
    arena.setU64(iov + 8, 1);
    const control = arena.alloc(rightsSpace(MAX_DESCRIPTORS));
    const message = arena.alloc(56);
    arena.setU64(message + 16, iov);
    arena.setU64(message + 24, 1);
    arena.setU64(message + 32, control);
    arena.setU64(message + 40, rightsSpace(MAX_DESCRIPTORS));
    // End of file means a dead supervisor: the child must end.
    return { nr: NR.recvmsg, args: [SYNC_FD, message, MSG_CMSG_CLOEXEC], min: 1 };
  }

  private write(entries: readonly Entry[]): number {
    const { memory: arena } = this;
    const first = arena.alloc(entries.length * ENTRY.size);
    entries.forEach((entry, index) => {
      const address = first + index * ENTRY.size;
      arena.setU64(address + ENTRY.nr, entry.nr);
      entry.args.forEach((argument, position) => {
        arena.setU64(address + ENTRY.args + 8 * position, argument);
      });
      if (entry.dest !== undefined) {
        arena.setU64(
          address + ENTRY.dest,
          'address' in entry.dest
            ? entry.dest.address
            : first + entry.dest.entry * ENTRY.size + ENTRY.args + 8 * entry.dest.argument,
        );
      }
      if (index + 1 < entries.length) arena.setU64(address + ENTRY.next, address + ENTRY.size);
      if (entry.tolerated !== undefined) {
        const masks = [0n, 0n];
        for (const errno of entry.tolerated.errnos) {
          const word = errno >> 6;
          masks[word] = (masks[word] ?? 0n) | (1n << BigInt(errno & 63));
        }
        arena.setU64(address + ENTRY.tolerated, masks[0] ?? 0n);
        arena.setU64(address + ENTRY.tolerated + 8, masks[1] ?? 0n);
        arena.setU64(address + ENTRY.onError, first + entry.tolerated.next * ENTRY.size);
      }
      if (entry.min !== undefined) arena.setU64(address + ENTRY.min, entry.min);
    });
    return first;
  }
}

/** An entry that fails with `errno` without calling the kernel: fault injection. */
export function faultEntry(errno: number): Entry {
  return { nr: PSEUDO.immediate, args: [-errno] };
}
