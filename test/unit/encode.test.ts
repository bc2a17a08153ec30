/** Init steps as launcher entries: the system calls, their arguments in memory, bounds, tolerances and faults. */
import { describe, expect, test } from 'vitest';
import type { InitAction, InitStep } from '#src/plan/step.js';
import { usedDescriptors } from '#src/plan/step.js';
import { ERRNO } from '#src/spec/errno.js';
import { O } from '#src/syscalls/abi/constants.js';
import { PSEUDO } from '#src/syscalls/abi/launch.js';
import { Arena } from '#src/syscalls/arena.js';
import type { Entry } from '#src/syscalls/launcher/program.js';
import { NR } from '#src/syscalls/libc.js';
import { type Batch, encodeBatch, READ_CALLS } from '#src/workers/init/encode.js';
import { HOSTS } from '../lib/facts.js';
import { planOf, privileged, unprivileged } from './kit.js';

// Mappings are never given back: all tests use one.
const arena = Arena.map(1024 * 1024);
const SLOT = 0x1000;
const slot = (index: number): number => SLOT + 4 * index;

function stepWith(action: InitAction, more: Partial<InitStep> = {}): InitStep {
  return { id: `test.${action.op}`, phase: 'running', executor: 'init', label: action.op, action, ...more };
}

function encode(steps: readonly InitStep[], faults: Readonly<Record<string, number>> = {}): Batch {
  arena.reset();
  return encodeBatch(steps, arena, slot, faults, String);
}

const NAMES = new Map<number, string>([
  ...Object.entries(NR).map(([name, number]) => [number, name] as const),
  [PSEUDO.loadI32, 'LOAD_I32'],
  [PSEUDO.immediate, 'IMMEDIATE'],
]);

/** `name(arg, …)`, where arguments are numbers: `-> entry.argument` when the result goes into a later entry. */
function show({ nr, args, dest }: Entry): string {
  const goes = dest === undefined ? '' : ` -> ${'address' in dest ? dest.address : `${dest.entry}.${dest.argument}`}`;
  return `${NAMES.get(nr) ?? nr}(${args.join(', ')})${goes}`;
}

function textAt(address: number): string {
  const from = address - arena.address;
  return arena.bytes.toString('utf8', from, arena.bytes.indexOf(0, from));
}

/** As `show`, with the arguments at `strings` read as C strings. */
function shown(entry: Entry | undefined, ...strings: number[]): string {
  if (entry === undefined) return 'no entry';
  const args = entry.args.map((value, index) =>
    strings.includes(index) && value !== 0 ? (JSON.stringify(textAt(Number(value))) as unknown as number) : value,
  );
  return show({ ...entry, args });
}

/** The strings of a NULL-terminated array. */
function listAt(address: number): string[] {
  const out: string[] = [];
  for (let at = address; arena.getI64(at) !== 0; at += 8) out.push(textAt(arena.getI64(at)));
  return out;
}

const one = (action: InitAction): readonly Entry[] => encode([stepWith(action)]).entries;

/** Each action's calls. The type asks for a row for each: a new action without a test does not compile. */
const CALLS: { readonly [K in InitAction['op']]: () => void } = {
  write: () => {
    const entries = one({ op: 'write', fd: 'fd:a', text: 'grün' });
    expect(entries.map(show)).toEqual([`LOAD_I32(${SLOT}) -> 1.0`, `write(0, ${entries[1]?.args[1]}, 5)`]);
    expect(arena.slice(Number(entries[1]?.args[1]), 5).toString()).toBe('grün');
  },
  unshare: () => {
    expect(one({ op: 'unshare', flags: ['CLONE_NEWCGROUP'] }).map(show)).toEqual([`unshare(${0x2000000})`]);
  },
  mount: () => {
    const full = one({
      op: 'mount',
      source: 'tmpfs',
      target: '/dev/shm',
      fstype: 'tmpfs',
      flags: ['MS_NOSUID', 'MS_NODEV'],
      data: 'mode=1777',
    });
    expect(full.map(entry => shown(entry, 0, 1, 2, 4))).toEqual([
      'mount("tmpfs", "/dev/shm", "tmpfs", 6, "mode=1777")',
    ]);
    const bare = one({ op: 'mount', source: null, target: '/', fstype: null, flags: ['MS_REC', 'MS_PRIVATE'] });
    expect(bare.map(entry => shown(entry, 0, 1, 2, 4))).toEqual([`mount(0, "/", 0, ${0x4000 + 0x40000}, 0)`]);
  },
  move_mount: () => {
    const entries = one({ op: 'move_mount', mount: 'fd:m', target: '/dev' });
    expect(entries.map(entry => shown(entry, ...(entry.nr === NR.move_mount ? [1, 3] : [])))).toEqual([
      `LOAD_I32(${SLOT}) -> 1.0`,
      'move_mount(0, "", -100, "/dev", 4)',
    ]);
  },
  'root.check': () => {
    const [open] = one({ op: 'root.check' });
    expect(shown(open, 1)).toMatch(/^openat2\(-100, "\/\.\.", \d+, 24\)$/);
    // RESOLVE_NO_XDEV.
    expect(arena.getI64(Number(open?.args[2]) + 16)).toBe(1);
  },
  umount: () => {
    expect(one({ op: 'umount', target: '.', flags: ['MNT_DETACH'] }).map(entry => shown(entry, 0))).toEqual([
      'umount2(".", 2)',
    ]);
  },
  fchdir: () => {
    expect(one({ op: 'fchdir', fd: 'fd:r' }).map(show)).toEqual([`LOAD_I32(${SLOT}) -> 1.0`, 'fchdir(0)']);
  },
  chdir: () => {
    expect(one({ op: 'chdir', path: '/' }).map(entry => shown(entry, 0))).toEqual(['chdir("/")']);
  },
  pivot_root: () => {
    expect(one({ op: 'pivot_root', newRoot: '.', putOld: '.' }).map(entry => shown(entry, 0, 1))).toEqual([
      'pivot_root(".", ".")',
    ]);
  },
  close_from: () => {
    expect(one({ op: 'close_from', from: 4 }).map(show)).toEqual(['close_range(4, 4294967295, 0)']);
  },
  controlling_stdin: () => {
    expect(one({ op: 'controlling_stdin' }).map(show)).toEqual([`ioctl(0, ${0x540e}, 0)`]);
  },
  limits: () => {
    const entries = one({ op: 'limits', limits: { nofile: [1024, null] } });
    const limit = Number(entries[0]?.args[2]);
    expect(entries.map(show)).toEqual([`prlimit64(0, 7, ${limit}, 0)`]);
    expect([arena.getI64(limit), arena.getI64(limit + 8)]).toEqual([1024, -1]);
  },
  setns: () => {
    expect(one({ op: 'setns', fd: 'fd:p', namespaces: ['CLONE_NEWNS', 'CLONE_NEWPID'] }).map(show)).toEqual([
      `LOAD_I32(${SLOT}) -> 1.0`,
      `setns(0, ${0x20020000})`,
    ]);
  },
  fork: () => {
    const into = one({ op: 'fork', child: 1, cgroup: 'fd:c' });
    const args = Number(into[1]?.args[0]);
    expect(into.map(show)).toEqual([`LOAD_I32(${SLOT}) -> ${args + 80}`, `clone3(${args}, 88)`, 'exit_group(0)']);
    // Our own child, whose number the kernel tells before it runs; born into the cgroup.
    expect(arena.getI64(args)).toBe(0x2_0010_8000);
    expect(arena.getI64(args + 24)).toBe(arena.address + 24);
    // In the child, where the call returns 0, the walk goes on after the parent's end.
    expect(into[1]).toMatchObject({ min: 1, tolerated: { errnos: [0], next: 3 } });
    expect(one({ op: 'fork', child: 0, cgroup: null })[0]).toMatchObject({ tolerated: { errnos: [0], next: 2 } });
  },
  user: () => {
    const entries = one({ op: 'user', uid: 33, gid: 44, groups: [5, 6] });
    const list = Number(entries[0]?.args[1]);
    expect(entries.map(show)).toEqual([`setgroups(2, ${list})`, 'setresgid(44, 44, 44)', 'setresuid(33, 33, 33)']);
    expect([arena.getU32(list), arena.getU32(list + 4)]).toEqual([5, 6]);
  },
  read: () => {
    const entries = one({ op: 'read', path: 'etc/passwd' });
    const how = Number(entries[0]?.args[2]);
    const opened = entries[0]?.dest;
    expect(shown(entries[0], 1)).toMatch(/^openat2\(-100, "etc\/passwd", \d+, 24\) -> \d+$/);
    // No wait for a FIFO, and no way out of the root.
    expect([arena.getI64(how), arena.getI64(how + 16)]).toEqual([O.O_CLOEXEC + O.O_NONBLOCK + O.O_NOCTTY, 16 + 2]);
    expect(READ_CALLS.map(call => entries[call]?.nr)).toEqual(READ_CALLS.map(() => NR.pread64));
    expect(entries[1]).toMatchObject({ args: [opened !== undefined && 'address' in opened ? opened.address : 0] });
    const [, buffer] = entries[2]?.args ?? [];
    expect(entries[4]?.args).toEqual([0, Number(buffer) + 65_536, 65_536, 65_536]);
  },
  exit: () => {
    expect(one({ op: 'exit' }).map(show)).toEqual(['exit_group(0)']);
  },
  undumpable: () => {
    expect(one({ op: 'undumpable' }).map(show)).toEqual(['prctl(4, 0)']);
  },
  mkdir: () => {
    expect(one({ op: 'mkdir', path: '/a', mode: 0o755 }).map(entry => shown(entry, 1))).toEqual([
      'mkdirat(-100, "/a", 493)',
    ]);
  },
  symlink: () => {
    expect(one({ op: 'symlink', path: '/a', target: 'b' }).map(entry => shown(entry, 0, 2))).toEqual([
      'symlinkat("b", -100, "/a")',
    ]);
  },
  'link.up': () => {
    const entries = one({ op: 'link.up', name: 'lo' });
    const request = Number(entries[1]?.args[2]);
    expect(entries.map(show)).toEqual([`socket(2, ${2 | 0o2000000}, 0) -> 1.0`, `ioctl(0, ${0x8914}, ${request})`]);
    expect(textAt(request)).toBe('lo');
    expect(arena.getU32(request + 16) & 0xffff).toBe(0x41);
  },
  sethostname: () => {
    expect(one({ op: 'sethostname', name: 'web' }).map(entry => shown(entry, 0))).toEqual(['sethostname("web", 3)']);
  },
  setsid: () => {
    expect(one({ op: 'setsid' }).map(show)).toEqual(['setsid()']);
  },
  dup: () => {
    // dup3 clears close-on-exec, which descriptors 0 to 2 must not have.
    expect(one({ op: 'dup', fd: 'fd:c', to: 2 }).map(show)).toEqual([`LOAD_I32(${SLOT}) -> 1.0`, 'dup3(0, 2, 0)']);
  },
  controlling_tty: () => {
    expect(one({ op: 'controlling_tty', fd: 'fd:c' }).map(show)).toEqual([
      `LOAD_I32(${SLOT}) -> 1.0`,
      `ioctl(0, ${0x540e}, 0)`,
    ]);
  },
  capabilities: () => {
    const entries = one({
      op: 'capabilities',
      keep: ['chown', 'sys_admin', 'checkpoint_restore'],
      drop: ['sys_time', 'mac_admin'],
    });
    expect(entries.slice(0, 2).map(show)).toEqual(['prctl(24, 25)', 'prctl(24, 33)']);
    const [header, data] = (entries[2]?.args ?? []).map(Number);
    expect(NAMES.get(entries[2]?.nr ?? 0)).toBe('capset');
    expect(arena.getU32(header ?? 0)).toBe(0x20080522);
    expect(arena.getU32((header ?? 0) + 4)).toBe(0);
    // effective, permitted, inheritable of the low half, then of the high one.
    const words = Array.from({ length: 6 }, (_, index) => arena.getU32((data ?? 0) + 4 * index));
    const low = 1 | (1 << 21);
    expect(words).toEqual([low, low, 0, 1 << 8, 1 << 8, 0]);
  },
  'file.write': () => {
    const [open, write, ...more] = one({ op: 'file.write', path: '/proc/sys/net/x', text: '1 é' });
    expect(more).toEqual([]);
    const flags = 1 + 0o2000000 + (process.arch === 'arm64' ? 0o100000 : 0o400000);
    expect(shown(open, 1)).toBe(`openat(-100, "/proc/sys/net/x", ${flags}) -> 1.0`);
    expect(NAMES.get(write?.nr ?? 0)).toBe('write');
    expect(write?.args[2]).toBe(4);
    expect(arena.slice(Number(write?.args[1]), 4).toString()).toBe('1 é');
  },
  setdomainname: () => {
    const [entry] = one({ op: 'setdomainname', name: 'example' });
    expect(shown(entry, 0)).toBe('setdomainname("example", 7)');
  },
  session_keyring: () => {
    // KEYCTL_JOIN_SESSION_KEYRING, of no name: an anonymous new one.
    expect(one({ op: 'session_keyring' }).map(show)).toEqual(['keyctl(1, 0)']);
  },
  seccomp: () => {
    const program = [0x20, 0, 0, 0, 4, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0xff, 0x7f];
    const [entry, ...more] = one({ op: 'seccomp', program });
    expect(more).toEqual([]);
    const [operation, flags, header] = (entry?.args ?? []).map(Number);
    // SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_SPEC_ALLOW; struct sock_fprog {u16 len; struct sock_filter *filter}.
    expect([NAMES.get(entry?.nr ?? 0), operation, flags]).toEqual(['seccomp', 1, 4]);
    expect(arena.getU32(header ?? 0)).toBe(2);
    const code = arena.getI64((header ?? 0) + 8);
    expect(code % 8).toBe(0);
    expect([...arena.slice(code, 16)]).toEqual(program);
  },
  identity: () => {
    expect(one({ op: 'identity', uid: 0, gid: 0 }).map(show)).toEqual([
      'setgroups(0, 0)',
      'setresgid(0, 0, 0)',
      'setresuid(0, 0, 0)',
    ]);
  },
  umask: () => {
    expect(one({ op: 'umask', mask: 0o022 }).map(show)).toEqual(['umask(18)']);
  },
  default_signals: () => {
    const entries = one({ op: 'default_signals', signals: ['13', '25'] });
    const action = Number(entries[0]?.args[1]);
    expect(entries.map(show)).toEqual([`rt_sigaction(13, ${action}, 0, 8)`, `rt_sigaction(25, ${action}, 0, 8)`]);
    // struct sigaction of zeros: SIG_DFL, no flags, no restorer, empty mask.
    expect(arena.slice(action, 32).equals(Buffer.alloc(32))).toBe(true);
  },
  unblock_signals: () => {
    const entries = one({ op: 'unblock_signals' });
    const mask = Number(entries[0]?.args[1]);
    expect(entries.map(show)).toEqual([`rt_sigprocmask(2, ${mask}, 0, 8)`]);
    expect(arena.getI64(mask)).toBe(0);
  },
  close_on_exec: () => {
    expect(one({ op: 'close_on_exec', from: 3 }).map(show)).toEqual(['close_range(3, 4294967295, 4)']);
  },
  execve: () => {
    const entries = one({
      op: 'execve',
      path: '/sbin/init',
      argv: ['/sbin/init', '', 'é b'],
      env: ['container=lxc', 'A='],
    });
    const [path, argv, env] = (entries[0]?.args ?? []).map(Number);
    expect(entries).toHaveLength(1);
    expect(NAMES.get(entries[0]?.nr ?? 0)).toBe('execve');
    expect(textAt(path ?? 0)).toBe('/sbin/init');
    expect(listAt(argv ?? 0)).toEqual(['/sbin/init', '', 'é b']);
    expect(listAt(env ?? 0)).toEqual(['container=lxc', 'A=']);
  },
};

describe('one action', () => {
  test.each(Object.entries(CALLS))('%s', (_, check) => {
    check();
  });

  test("the kernel's numbers on this architecture are in the table", () => {
    // setsid is 112 on x64 and 157 on arm64.
    expect(NR.setsid).toBe(process.arch === 'arm64' ? 157 : 112);
  });

  test('a flag nobody knows is a mistake in the plan, not zero', () => {
    expect(() => one({ op: 'mount', source: null, target: '/', fstype: null, flags: ['MS_NOSUCH'] })).toThrow(
      /unknown flag MS_NOSUCH/,
    );
  });

  test('NUL in a string for the kernel is refused rather than cut', () => {
    expect(() => one({ op: 'chdir', path: '/a\0b' })).toThrow(/NUL/);
    expect(() => one({ op: 'execve', path: '/a', argv: ['b\0c'], env: [] })).toThrow(/NUL/);
  });

  test('an interface name is cut to what fits into a request, NUL included', () => {
    const entries = one({ op: 'link.up', name: 'x'.repeat(40) });
    expect(textAt(Number(entries[1]?.args[2]))).toBe('x'.repeat(15));
  });

  test('memory that does not suffice is an error, never a write beyond it', () => {
    const small = Arena.at(arena.address, 64);
    const step = stepWith({ op: 'execve', path: '/a', argv: ['x'.repeat(64)], env: [] });
    expect(() => encodeBatch([step], small, slot, {}, String)).toThrow(/arena of 64 bytes is full/);
  });
});

describe('a batch', () => {
  const STEPS: InitStep[] = [
    stepWith({ op: 'write', fd: 'fd:b', text: '0' }),
    stepWith({ op: 'setsid' }),
    stepWith(
      { op: 'identity', uid: 0, gid: 0 },
      {
        id: 'test.tolerant',
        tolerate: [
          { errno: 'EPERM', why: 'x' },
          { errno: 'ENOENT', why: 'y' },
        ],
      },
    ),
    stepWith({ op: 'dup', fd: 'fd:a', to: 0 }, { id: 'test.dup0' }),
    stepWith({ op: 'dup', fd: 'fd:b', to: 1 }, { id: 'test.dup1' }),
    stepWith({ op: 'setsid' }, { id: 'test.last' }),
  ];

  test("bounds: where each step's entries begin, and after the last one their number", () => {
    const { bounds, entries } = encode(STEPS);
    expect(bounds).toEqual([0, 2, 3, 6, 8, 10, 11]);
    expect(entries).toHaveLength(11);
    expect(encode([])).toEqual({ entries: [], descriptors: [], bounds: [0] });
  });

  test('descriptors are sent once each, in the order of their first use', () => {
    const { descriptors, entries } = encode(STEPS);
    expect(descriptors).toEqual(['fd:b', 'fd:a']);
    const loads = entries.filter(({ nr }) => nr === PSEUDO.loadI32).map(({ args }) => args[0]);
    expect(loads).toEqual([slot(0), slot(1), slot(0)]);
  });

  test('a result goes into the entry after it, counted from the start of the batch', () => {
    const { entries } = encode(STEPS);
    expect(
      entries.flatMap(({ dest }, index) =>
        dest === undefined || 'address' in dest ? [] : [[index, dest.entry, dest.argument]],
      ),
    ).toEqual([
      [0, 1, 0],
      [6, 7, 0],
      [8, 9, 0],
    ]);
  });

  test('tolerated errnos lead from any entry of a step to the first of the next', () => {
    const { entries } = encode(STEPS);
    expect(entries.map(({ tolerated }) => tolerated)).toEqual([
      ...Array(3).fill(undefined),
      ...Array(3).fill({ errnos: [ERRNO.EPERM, ERRNO.ENOENT], next: 6 }),
      ...Array(5).fill(undefined),
    ]);
  });

  test('tolerated at the end leads past the last entry, where the report is', () => {
    const last = stepWith({ op: 'setsid' }, { tolerate: [{ errno: 'EPERM', why: 'x' }] });
    expect(encode([stepWith({ op: 'umask', mask: 0 }), last]).entries[1]?.tolerated).toEqual({ errnos: [1], next: 2 });
  });

  test('a fault replaces the calls of its step by that errno', () => {
    const { entries, bounds } = encode(STEPS, { 'test.dup0': 28 });
    expect(bounds).toEqual([0, 2, 3, 6, 7, 9, 10]);
    expect(show(entries[6]!)).toBe('IMMEDIATE(-28)');
    expect(entries.filter(({ nr }) => nr === NR.dup3)).toHaveLength(1);
    // What follows still finds its place.
    expect(entries[7]?.dest).toEqual({ entry: 8, argument: 0 });
  });

  test('a fault may be tolerated like the real error', () => {
    const { entries } = encode(STEPS, { 'test.tolerant': ERRNO.EPERM });
    expect(show(entries[3]!)).toBe('IMMEDIATE(-1)');
    expect(entries[3]?.tolerated).toEqual({ errnos: [ERRNO.EPERM, ERRNO.ENOENT], next: 4 });
  });

  test('a fault for a step that is not in the batch changes nothing', () => {
    expect(encode(STEPS, { 'other.step': 1 })).toEqual(encode(STEPS));
  });
});

describe('real plans', () => {
  const cases = Object.entries(HOSTS).flatMap(([host, facts]) => [
    [host, 'unprivileged', unprivileged(), facts] as const,
    ...(host === 'nested' ? [] : [[host, 'privileged', privileged(), facts] as const]),
  ]);

  test.each(cases)('on %s, %s: every batch can be encoded, and fits', (_host, _mode, spec, facts) => {
    const batches: InitStep[][] = [];
    for (const [index, step] of planOf(spec, facts).steps.entries()) {
      if (step.executor !== 'init') continue;
      const before = planOf(spec, facts).steps[index - 1];
      if (before?.executor === 'init' && before.phase === step.phase) batches.at(-1)?.push(step);
      else batches.push([step]);
    }
    expect(batches.length).toBeGreaterThanOrEqual(5);
    let used = 0;
    for (const steps of batches) {
      const { entries, bounds, descriptors } = encode(steps);
      used += arena.used;
      expect(bounds).toHaveLength(steps.length + 1);
      expect([...bounds].sort((a, b) => a - b)).toEqual(bounds);
      expect(bounds.at(-1)).toBe(entries.length);
      for (const { dest } of entries)
        if (dest !== undefined && 'entry' in dest) expect(dest.entry).toBeLessThan(entries.length);
      // A message carries at most 64 of ours (launcher/program.ts).
      expect(descriptors.length).toBeLessThanOrEqual(64);
      expect(descriptors).toEqual([...new Set(steps.flatMap(({ action }) => usedDescriptors(action)))]);
    }
    // Strings and structures; entries take 128 bytes each on top, in 64 KiB altogether (supervisor/host.ts).
    expect(used).toBeLessThan(16 * 1024);
  });
});
