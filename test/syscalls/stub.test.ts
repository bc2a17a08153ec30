/**
 * The launcher stub: that its bytes are its listing's, that it does what abi/launch.ts says in real children of this
 * process, and (both architectures, the other one emulated) that it leaves its caller's stack and registers alone.
 */
import { closeSync, openSync, readFileSync, readSync } from 'node:fs';
import process from 'node:process';
import { afterEach, describe, expect, test } from 'vitest';
import { ARENA, ENTRY, PROGRAM } from '#src/syscalls/abi/launch.js';
import { SYSCALLS } from '#src/syscalls/abi/numbers.js';
import { Arena } from '#src/syscalls/arena.js';
import { JOINER } from '#src/syscalls/launcher/joiner.js';
import { launcher, STUB } from '#src/syscalls/launcher/stub.js';
import { ARCH, NR, syscall } from '#src/syscalls/libc.js';
import { CLD, call, killLeftovers, launch, pipe, program, readAll, reap } from './stub/child.ts';
import { IMAGE_FD, Image } from './stub/image.ts';
import { ANY_ERRNO, CLONE, errnos, FAILED_EXIT, Program, PSEUDO, UNTOUCHED } from './stub/program.ts';
import { assemble, listing, runHarness } from './stub/tools.ts';

const EBADF = 9;
const ECHILD = 10;
const EINVAL = 22;
const ENOSYS = 38;
const EOPNOTSUPP = 95;
const SIGCHLD = 17;
/** An address that ends whoever goes there; all its bits are set, should it be taken for more errnos. */
const NOWHERE = -1;
const INT64_MIN = -(2n ** 63n);
const ARCHITECTURES = ['x64', 'arm64'] as const;

const OK = { code: CLD.EXITED, status: 0 };
const FAILED = { code: CLD.EXITED, status: FAILED_EXIT };

afterEach(killLeftovers);

/** The rights of every anonymous executable mapping of this process that begins with `code`. */
function mappingsOf(code: Uint8Array): string[] {
  const memory = openSync('/proc/self/mem', 'r');
  const start = Buffer.alloc(code.length);
  const found = [];
  for (const [, address, rights] of readFileSync('/proc/self/maps', 'utf8').matchAll(
    /^(\w+)-\w+ (..x.) \S+ 00:00 0 *$/gm,
  )) {
    readSync(memory, start, 0, code.length, Number.parseInt(address!, 16));
    if (start.equals(code)) found.push(rights!);
  }
  closeSync(memory);
  return found;
}

describe.each(ARCHITECTURES)('listing for %s', arch => {
  test('assembles to exactly the bytes in stub.ts', () => {
    expect(Buffer.from(assemble(arch)).toString('hex')).toBe(Buffer.from(STUB[arch]).toString('hex'));
  });

  test('has the numbers and offsets of the abi tables', () => {
    const tables: Record<string, Readonly<Record<string, number>>> = {
      SYS: SYSCALLS[arch],
      PROGRAM,
      ENTRY,
      PSEUDO,
      FAILED: { EXIT: FAILED_EXIT },
      CLOCK: { MONOTONIC: 1 },
    };
    const constants = [...listing(arch).matchAll(/^\s*\.equ\s+([A-Z]+)_(\w+), (-?\d+)$/gm)];
    expect(constants).toHaveLength(listing(arch).split('.equ').length - 1);
    for (const [line, table = '', name = '', value] of constants) {
      expect(tables[table]?.[name], line.trim()).toBe(Number(value));
    }
  });
});

describe.each(ARCHITECTURES)('the joiner for %s', arch => {
  test('assembles to exactly the bytes in joiner.ts, after those of the stub', () => {
    const bytes = Buffer.concat([STUB[arch], JOINER[arch]]);
    expect(Buffer.from(assemble(arch, {}, 'joiner')).toString('hex')).toBe(bytes.toString('hex'));
  });

  test('has the numbers and offsets of the abi tables', () => {
    const tables: Record<string, Readonly<Record<string, number>>> = {
      SYS: SYSCALLS[arch],
      ARENA,
      PROT: { READ_WRITE: 3 },
      MAP: { SHARED_FIXED: 0x11 },
    };
    const constants = [...listing(arch, 'joiner').matchAll(/^\s*\.equ\s+([A-Z]+)_(\w+), (\w+)$/gm)];
    expect(constants).toHaveLength(listing(arch, 'joiner').split('.equ').length - 1);
    for (const [line, table = '', name = '', value] of constants) {
      expect(tables[table]?.[name], line.trim()).toBe(Number(value));
    }
  });
});

describe(`in a child of this process (${ARCH})`, () => {
  test('a clone3 that fails returns -errno and starts nothing', () => {
    const arena = Arena.map(4096);
    const { program: table } = program(arena);
    table.rawCloneArgs(0, 0);
    expect(call(table.address)).toBe(-EINVAL);
    expect(table.started).toBe(0n);
  });

  test('the code is mapped once per thread, and is not writable where it is executable', () => {
    expect(launcher()).toBe(launcher());
    expect(mappingsOf(STUB[ARCH])).toEqual(['r-xp']);
  });

  test('an empty table exits with 0', () => {
    const arena = Arena.map(4096);
    const made = program(arena);
    expect(reap(launch(arena, made))).toEqual(OK);
    expect(made.program.started).toBeGreaterThan(0n);
    expect(made.program.failed).toBe(0);
  });

  test('system calls run in order, in the namespaces clone3 was asked for', () => {
    const arena = Arena.map(16384);
    const made = program(arena, CLONE.NEWPID + (process.getuid?.() === 0 ? 0 : CLONE.NEWUSER));
    const table = made.program;
    const word = arena.alloc(8);
    const [readEnd, writeEnd] = pipe();
    const getpid = table.add(NR.getpid, [], { dest: word });
    const write = table.add(NR.write, [writeEnd, word, 8]);
    const again = table.add(NR.write, [writeEnd, arena.cstring('done'), 4]);

    const child = launch(arena, made);
    expect(child.pid).toBeGreaterThan(1);
    expect(reap(child)).toEqual(OK);
    syscall('close', writeEnd);
    expect([getpid, write, again].map(entry => table.result(entry))).toEqual([1, 8, 4]);
    expect(readAll(arena, readEnd)).toEqual(Buffer.from('\x01\0\0\0\0\0\0\0done'));
    expect(table.current).toBe(again);
    syscall('close', readEnd);
  });

  test('results and loaded words become arguments of later entries', () => {
    const arena = Arena.map(16384);
    const made = program(arena);
    const table = made.program;
    const [readEnd, writeEnd] = pipe();
    const inner = arena.alloc(8);
    const buffer = arena.alloc(64);
    // A pipe of the child's own: its fds are two 32-bit words, the length read from it is the length passed on.
    const report = table.detached(NR.write, [writeEnd, buffer, 0]);
    const read = table.detached(NR.read, [0, buffer, 64], { dest: Program.arg(report, 2) });
    const write = table.detached(NR.write, [0, arena.cstring('through the child'), 17]);
    table.add(NR.pipe2, [inner, 0]);
    table.add(PSEUDO.loadI32, [inner], { dest: Program.arg(read, 0) });
    table.add(PSEUDO.loadI32, [inner + 4], { dest: Program.arg(write, 0) });
    for (const entry of [write, read, report]) table.link(entry);

    expect(reap(launch(arena, made))).toEqual(OK);
    syscall('close', writeEnd);
    expect(readAll(arena, readEnd).toString()).toBe('through the child');
    syscall('close', readEnd);
  });

  test('all six arguments reach the kernel', () => {
    const arena = Arena.map(16384);
    const made = program(arena);
    const table = made.program;
    const fd = syscall('memfd_create', arena.cstring('six'), 1);
    syscall('ftruncate', fd, 8192);
    syscall('lseek', fd, 4096, 0);
    syscall('write', fd, arena.cstring('page two'), 8);
    // The mapping appears in memory shared with us, so the child removes it again.
    const munmap = table.detached(NR.munmap, [0, 4096]);
    const load = table.detached(PSEUDO.loadI64, [0], { dest: arena.alloc(8) });
    const give = table.detached(PSEUDO.immediate, [0], { dest: Program.arg(munmap, 0) });
    const keep = table.detached(PSEUDO.loadI64, [Program.arg(load, 0)], { dest: Program.arg(give, 0) });
    table.add(NR.mmap, [0, 4096, 1, 1, fd, 4096], { dest: Program.arg(load, 0) });
    for (const entry of [keep, give, load, munmap]) table.link(entry);

    expect(reap(launch(arena, made))).toEqual(OK);
    expect(arena.slice(load + ENTRY.result, 8).toString()).toBe('page two');
    syscall('close', fd);
  });

  test('pseudo entries: IMMEDIATE, LOAD_I32 with its sign, LOAD_I64; they bear no stamp', () => {
    const arena = Arena.map(16384);
    const made = program(arena);
    const table = made.program;
    const words = arena.alloc(16);
    arena.setU32(words, 0xffff_fffe);
    arena.setU32(words + 4, 0x7fff_ffff);
    arena.setU64(words + 8, 0x1234_5678_9abc);
    const dest = arena.alloc(8);
    const entries = [
      table.add(PSEUDO.immediate, [0x1_0000_0001], { dest }),
      table.add(PSEUDO.immediate, [-7], { min: -7 }),
      table.add(PSEUDO.loadI32, [words], { min: -2 }),
      table.add(PSEUDO.loadI32, [words + 4]),
      table.add(PSEUDO.loadI64, [words + 8]),
    ];
    expect(reap(launch(arena, made))).toEqual(OK);
    expect(entries.map(entry => table.result(entry))).toEqual([0x1_0000_0001, -7, -2, 0x7fff_ffff, 0x1234_5678_9abc]);
    expect(arena.getI64(dest)).toBe(0x1_0000_0001);
    expect(entries.map(entry => table.stamp(entry))).toEqual(entries.map(() => 0n));
  });

  test('a tolerated errno goes to onError and writes no dest: EBADF (below 64), EOPNOTSUPP (above)', () => {
    const arena = Arena.map(16384);
    const made = program(arena);
    const table = made.program;
    const dest = arena.alloc(8);
    arena.setU64(dest, 77);
    const badFd = table.add(NR.close, [-1], { tolerated: errnos(EBADF), dest });
    const skipped = table.add(NR.getpid);
    const socket = table.detached(NR.socket, [1, 2, 0]); // AF_UNIX, SOCK_DGRAM: cannot listen
    const listen = table.detached(NR.listen, [0, 1], { tolerated: errnos(EOPNOTSUPP), dest });
    table.setOnError(badFd, socket);
    arena.setU64(socket + ENTRY.dest, Program.arg(listen, 0));
    table.setNext(socket, listen);
    const last = table.detached(NR.getuid);
    table.setOnError(listen, last);

    expect(reap(launch(arena, made))).toEqual(OK);
    expect(table.result(badFd)).toBe(-EBADF);
    expect(table.result(skipped)).toBe(UNTOUCHED);
    expect(table.result(listen)).toBe(-EOPNOTSUPP);
    expect(table.result(last)).toBe(process.getuid?.());
    expect(arena.getI64(dest)).toBe(77);
    expect(table.failed).toBe(0);
  });

  test('each errno from 1 to 127 has its own bit', () => {
    const arena = Arena.map(32768);
    const made = program(arena);
    const table = made.program;
    const entries = Array.from({ length: 127 }, (_, index) =>
      table.detached(PSEUDO.immediate, [-(index + 1)], { tolerated: errnos(index + 1) }),
    );
    entries.forEach((entry, index) => {
      table.setOnError(entry, entries[index + 1] ?? 0);
    });
    table.link(entries[0]!);
    expect(reap(launch(arena, made))).toEqual(OK);
    expect(entries.map(entry => table.result(entry))).toEqual(entries.map((_, index) => -(index + 1)));
  });

  test.each([1, 9, 62, 63, 64, 65, 126, 127])('errno %i is not tolerated by the bits of all others', errno => {
    const arena = Arena.map(4096);
    const made = program(arena);
    const others = errnos(...Array.from({ length: 128 }, (_, index) => index).filter(index => index !== errno));
    const entry = made.program.add(PSEUDO.immediate, [-errno], { tolerated: others });
    expect(reap(launch(arena, made))).toEqual(FAILED);
    expect(made.program.failed).toBe(entry);
  });

  test.each([
    ['an errno of 128', -128, 0],
    ['the greatest errno', -4095, 0],
    ['the least of all words', INT64_MIN, 0],
    ['zero below min 1', 0, 1],
    ['a positive result below min', 5, 6],
  ])('%s ends the child even where all errnos are tolerated', (_, value, min) => {
    const arena = Arena.map(4096);
    const made = program(arena);
    const entry = made.program.add(PSEUDO.immediate, [value], { min, tolerated: ANY_ERRNO, onError: NOWHERE });
    expect(reap(launch(arena, made))).toEqual(FAILED);
    expect(made.program.failed).toBe(entry);
    expect(made.program.result(entry)).toBe(Number(value));
  });

  test('an errno that is not tolerated ends the child: failed tells the entry, status 125, nothing after it runs', () => {
    const arena = Arena.map(16384);
    const made = program(arena);
    const table = made.program;
    table.add(NR.getpid);
    const bad = table.add(NR.close, [-1], { tolerated: errnos(EINVAL) });
    const never = table.add(NR.getpid);
    arena.setU64(bad + ENTRY.onError, never);

    expect(reap(launch(arena, made))).toEqual(FAILED);
    expect(table.failed).toBe(bad);
    expect(table.current).toBe(bad);
    expect(table.result(bad)).toBe(-EBADF);
    expect(table.result(never)).toBe(UNTOUCHED);
  });

  test('clone3 as an entry: the parent goes on at next, the child at onError; both have a program', () => {
    const arena = Arena.map(8192);
    const [read, write] = pipe();
    const made = program(arena);
    const args = arena.alloc(88);
    arena.setU64(args + 32, SIGCHLD);
    const text = (word: string) => [write, arena.cstring(word), word.length] as const;
    const child = made.program.detached(NR.write, text('child '));
    made.program.setNext(child, made.program.detached(NR.exit_group, [0]));
    made.program.add(NR.clone3, [args, 88], { min: 1, tolerated: errnos(0), onError: child });
    made.program.add(NR.wait4, [-1, 0, 0, 0]);
    made.program.add(NR.write, text('parent'));
    expect(reap(launch(arena, made))).toEqual(OK);
    closeSync(write);
    expect(readAll(arena, read).toString()).toBe('child parent');
    closeSync(read);
  });

  test('a read that must not meet the end of file (min 1) ends the child there', () => {
    const arena = Arena.map(16384);
    const made = program(arena);
    const table = made.program;
    const [readEnd, writeEnd] = pipe();
    table.add(NR.close, [writeEnd]); // the child's copy: else it would wait for itself
    const gate = table.add(NR.read, [readEnd, arena.alloc(8), 1], { min: 1 });
    const never = table.add(NR.getpid);

    const child = launch(arena, made);
    syscall('close', writeEnd);
    expect(reap(child)).toEqual(FAILED);
    expect(table.failed).toBe(gate);
    expect(table.result(gate)).toBe(0);
    expect(table.result(never)).toBe(UNTOUCHED);
    syscall('close', readEnd);
  });

  test('execve of /bin/true', () => {
    const arena = Arena.map(16384);
    const made = program(arena);
    const path = arena.cstring('/bin/true');
    const argv = arena.alloc(16);
    arena.setU64(argv, path);
    const exec = made.program.add(NR.execve, [path, argv, argv + 8]);

    expect(reap(launch(arena, made))).toEqual(OK);
    expect(made.program.result(exec)).toBe(UNTOUCHED); // an execve that returns has failed
    expect(made.program.failed).toBe(0);
  });

  test('execve of a program whose end is told apart from the stub’s own', () => {
    const arena = Arena.map(16384);
    const made = program(arena);
    const argv = arena.alloc(32);
    ['sh', '-c', 'exit 42'].forEach((arg, index) => {
      arena.setU64(argv + 8 * index, arena.cstring(arg));
    });
    made.program.add(NR.execve, [arena.cstring('/bin/sh'), argv, argv + 24]);
    expect(reap(launch(arena, made))).toEqual({ code: CLD.EXITED, status: 42 });
  });

  test('what the parent changes while the child waits in a read takes effect after it', async () => {
    const arena = Arena.map(16384);
    const made = program(arena);
    const table = made.program;
    const [readEnd, writeEnd] = pipe();
    const dest = arena.alloc(8);
    const gate = table.add(NR.read, [readEnd, arena.alloc(8), 1], { min: 1 });
    const first = table.add(NR.getpid);
    const second = table.detached(NR.getpid);

    const child = launch(arena, made);
    const sleeps = () => readFileSync(`/proc/${child.pid}/stat`, 'utf8').includes(') S ');
    await expect.poll(() => table.current === gate && sleeps(), { interval: 1 }).toBe(true);
    table.setNext(gate, second);
    arena.setU64(gate + ENTRY.dest, dest);
    syscall('write', writeEnd, arena.cstring('x'), 1);

    expect(reap(child)).toEqual(OK);
    expect(arena.getI64(dest)).toBe(1);
    expect(table.result(first)).toBe(UNTOUCHED);
    expect(table.result(second)).toBe(child.pid);
    for (const fd of [readEnd, writeEnd]) syscall('close', fd);
  });

  test('stamps are monotonic, and of the same clock as the parent’s', () => {
    const arena = Arena.map(16384);
    const made = program(arena);
    const table = made.program;
    const pause = arena.alloc(16);
    arena.setU64(pause + 8, 2_000_000);
    const getpid = table.add(NR.getpid);
    const sleep = table.add(NR.nanosleep, [pause, 0]);
    const bad = table.add(NR.close, [-1]);

    const before = process.hrtime.bigint();
    expect(reap(launch(arena, made))).toEqual(FAILED);
    const after = process.hrtime.bigint();
    const times = [before, table.started, table.stamp(getpid), table.stamp(sleep), table.stamp(bad), after];
    expect(times).toEqual([...times].sort((a, b) => (a < b ? -1 : a > b ? 1 : 0)));
    expect(table.stamp(sleep) - table.stamp(getpid)).toBeGreaterThanOrEqual(2_000_000n);
  });

  test('1,000 launches from deep in the stack, many alive at once, leave the stack as it was', () => {
    const arena = Arena.map(64 * 1024);
    const programs = Array.from({ length: 20 }, () => {
      const made = program(arena);
      made.program.add(NR.getpid);
      made.program.add(NR.getuid);
      return made;
    });
    let launches = 0;
    const launchAll = () => {
      const children = programs.map(made => launch(arena, made));
      launches += children.length;
      for (const child of children) expect(reap(child)).toEqual(OK);
    };
    // Each frame holds values of its own, as integers and floats, across the launches made below it.
    const descend = (depth: number): number => {
      const whole = depth * 3;
      const half = depth / 2;
      launchAll();
      const below = depth === 0 ? 0 : descend(depth - 1);
      return below + whole + half;
    };
    expect(descend(49)).toBe((49 * 50 * 3.5) / 2);
    expect(launches).toBe(1000);
  });
});

/**
 * A process of its own on each architecture (harness.<arch>.s), whose stack lies in the memory that it shares with
 * the child. On this machine's architecture the stub's own bytes run, with CLONE_VM as in production, and CLONE_VFORK
 * so that the child is done when the parent looks. For the other one qemu-user (7.2) has no clone3 and no CLONE_VM:
 * there one instruction's number is replaced by clone's, which reads the same two registers as (flags, stack); the
 * child is then a fork, of which only program and stack are shared. Not exercised there: clone3 itself, a child that
 * runs in its parent's memory, namespaces, signals.
 */
describe.each(ARCHITECTURES)('in a process of its own, on %s', arch => {
  const nr = SYSCALLS[arch];
  const native = arch === ARCH;
  const SYS_clone = { x64: 56, arm64: 220 }[arch];

  function start(build: (image: Image, table: Program) => void) {
    const image = new Image();
    const table = new Program(image);
    if (native) table.cloneArgs(CLONE.VM + CLONE.VFORK + CLONE.CLEAR_SIGHAND, 0, SIGCHLD);
    else table.rawCloneArgs(SIGCHLD, 0);
    build(image, table);
    const { stderr, ...outcome } = runHarness(
      arch,
      native ? STUB[arch] : assemble(arch, { SYS_clone3: SYS_clone }),
      image,
    );
    expect(outcome, stderr).toEqual({ status: 0, signal: null });
    return { image, table, stderr };
  }

  /** The return address that x64's call instruction pushes; arm64's goes to a register. */
  const callersOwn = arch === 'x64' ? [-8] : [];

  function expectUntouchedCaller(image: Image) {
    expect(image.registersKept).toBe(true);
    expect(image.stackWrites).toEqual(callersOwn);
  }

  if (!native) {
    test('differs from the real stub by nothing but the number of clone3', () => {
      const replaced = assemble(arch, { SYS_clone3: SYS_clone });
      const differing = [...STUB[arch].keys()].filter(index => STUB[arch][index] !== replaced[index]);
      expect(replaced).toHaveLength(STUB[arch].length);
      expect(differing.length).toBeGreaterThan(0);
      expect(differing.at(-1)! - differing[0]!).toBeLessThan(4);
    });
  }

  test('the exact bytes, refused by the kernel: -errno, no child, registers and stack kept', () => {
    const image = new Image();
    new Program(image).rawCloneArgs(0, 0);
    expect(runHarness(arch, STUB[arch], image)).toEqual({ status: 0, signal: null, stderr: '' });
    expect([-EINVAL, -ENOSYS]).toContain(image.returned);
    expect(image.waited).toBe(-ECHILD);
    expectUntouchedCaller(image);
  });

  test('walks to the end: calls, pseudo entries, dest, tolerated errnos', () => {
    let entries: number[] = [];
    let skipped = 0;
    const { image, table, stderr } = start((memory, made) => {
      const words = memory.alloc(16);
      memory.setU64(words, 0xffff_fff6); // -10 as a 32-bit word
      memory.setU64(words + 8, 6);
      const text = memory.cstring('hello, child\n');
      const second = made.detached(nr.write, [0, text + 7, 0]);
      const last = made.detached(nr.close, [-1], { tolerated: errnos(EBADF) });
      entries = [
        made.add(nr.write, [2, text, 7]),
        made.add(PSEUDO.immediate, [2], { dest: Program.arg(second, 0) }),
        made.add(PSEUDO.loadI64, [words + 8], { dest: Program.arg(second, 2) }),
        made.add(PSEUDO.loadI32, [words], { min: -10 }),
        made.link(second),
        made.add(PSEUDO.immediate, [-EOPNOTSUPP], { tolerated: errnos(EOPNOTSUPP), onError: last }),
        last,
      ];
      skipped = made.add(nr.write, [2, text, 13]);
    });
    expect(stderr).toBe('hello, child\n');
    expect(entries.map(entry => table.result(entry))).toEqual([7, 2, 6, -10, 6, -EOPNOTSUPP, -EBADF]);
    expect(table.result(skipped)).toBe(UNTOUCHED);
    expect(table.failed).toBe(0);
    const stamps = [table.started, ...[0, 4, 6].map(index => table.stamp(entries[index]!))];
    expect(stamps).toEqual([...stamps].sort((a, b) => (a < b ? -1 : a > b ? 1 : 0)));
    expect(stamps[0]).toBeGreaterThan(0n);
    expect(table.stamp(entries[1]!)).toBe(0n);
    expect(image.returned).toBeGreaterThan(0);
    expect(image.waited).toBe(image.returned);
    expect(image.waitStatus).toBe(0);
    expectUntouchedCaller(image);
  });

  test('all six arguments reach the kernel', () => {
    const PAGE = 4096;
    const elsewhere = 0x3000_0000;
    let load = 0;
    const { table } = start((memory, made) => {
      const marker = memory.alloc(2 * PAGE) + PAGE; // beyond the file's first page, so that the offset counts
      memory.setU64(marker, 0x1122_3344_5566);
      const offset = Image.fileOffset(marker);
      made.add(nr.mmap, [elsewhere, PAGE, 1, 0x11, IMAGE_FD, offset - (offset % PAGE)]); // read, MAP_SHARED | MAP_FIXED
      load = made.add(PSEUDO.loadI64, [elsewhere + (offset % PAGE)]);
    });
    expect(table.result(load)).toBe(0x1122_3344_5566);
  });

  // The call overwrites the second half of its own entry: what the parent might do meanwhile, without a race.
  test.each([
    ['goes on by', 0],
    ['fails by', 1],
  ])('%s the dest, next and min that stand there after the call, not before it', (_, missing) => {
    const length = ENTRY.size - ENTRY.dest;
    let gate = 0;
    let before = 0;
    let after = 0;
    let dest = 0;
    const { image, table } = start((memory, made) => {
      const tail = memory.alloc(length);
      dest = memory.alloc(8);
      made.add(nr.lseek, [IMAGE_FD, Image.fileOffset(tail), 0]);
      gate = made.detached(nr.read, [IMAGE_FD, 0, length]);
      memory.setU64(Program.arg(gate, 1), gate + ENTRY.dest);
      made.link(gate);
      before = made.add(nr.getpid);
      after = made.detached(nr.getpid);
      memory.setU64(tail, dest);
      memory.setU64(tail + ENTRY.next - ENTRY.dest, after);
      memory.setU64(tail + ENTRY.min - ENTRY.dest, length + missing);
    });
    expect(table.result(gate)).toBe(length);
    expect(table.result(before)).toBe(UNTOUCHED);
    expect(table.failed).toBe(missing === 0 ? 0 : gate);
    expect(image.getI64(dest)).toBe(missing === 0 ? length : 0);
    expect(table.result(after)).toBe(missing === 0 ? image.returned : UNTOUCHED);
  });

  test('each errno from 1 to 127 has its own bit', () => {
    let entries: number[] = [];
    const { image, table } = start((_, made) => {
      entries = Array.from({ length: 127 }, (_, index) =>
        made.detached(PSEUDO.immediate, [-(index + 1)], { tolerated: errnos(index + 1) }),
      );
      entries.forEach((entry, index) => {
        made.setOnError(entry, entries[index + 1] ?? 0);
      });
      made.link(entries[0]!);
    });
    expect(entries.map(entry => table.result(entry))).toEqual(entries.map((_, index) => -(index + 1)));
    expect(image.waitStatus).toBe(0);
  });

  test.each([
    ['an errno that is not tolerated', -EBADF, 0, errnos(EBADF - 1, EBADF + 1, EBADF + 64)],
    ['one of 64 or more', -EOPNOTSUPP, 0, errnos(EOPNOTSUPP - 64, EOPNOTSUPP - 1, EOPNOTSUPP + 1)],
    ['one of 128', -128, 0, ANY_ERRNO],
    ['the least of all words', INT64_MIN, 0, ANY_ERRNO],
    ['zero below min 1', 0, 1, ANY_ERRNO],
    ['a positive result below min', 5, 6, ANY_ERRNO],
  ])('%s ends the child with status 125', (_, value, min, tolerated) => {
    let bad = 0;
    let never = 0;
    const { image, table } = start((_, made) => {
      bad = made.add(PSEUDO.immediate, [value], { min, tolerated, onError: NOWHERE });
      never = made.add(nr.getpid);
    });
    expect(table.failed).toBe(bad);
    expect(table.result(bad)).toBe(Number(value));
    expect(table.result(never)).toBe(UNTOUCHED);
    expect(image.waited).toBe(image.returned);
    expect(image.waitStatus).toBe(FAILED_EXIT << 8);
    expectUntouchedCaller(image);
  });
});
