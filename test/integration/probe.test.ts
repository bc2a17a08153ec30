/**
 * What PID 1 finds when it is executed, field by field, against the page container-environment.md, in one table: the
 * image's own /sbin/init is a program that prints all it can see.
 */
import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import type { Container } from 'caisson';
import { beforeAll, describe, expect, test } from 'vitest';
import { CAPABILITIES } from '#src/spec/capabilities.js';
import { capRlimit, defaultRlimits, RLIMIT_NAMES, type Rlimit } from '#src/spec/rlimits.js';
import { type Found, installProbe, parseProbe } from '../lib/probe.ts';
import { mountAt } from '../lib/report.ts';
import { finish, MODES, type Mode, useRig } from '../lib/rig.ts';

const rig = useRig({ prepare: installProbe });

interface Life {
  readonly mode: Mode;
  readonly found: Found;
  readonly container: Container;
  /** What its last start said it did without. */
  readonly degraded: readonly string[];
}

/** Ids of the page; what is looked at; what was found; what the page says. */
type Row = [ids: string, what: string, found: (life: Life) => unknown, expected: (life: Life) => unknown];

const either =
  <T>(unprivileged: T, privileged: T) =>
  ({ mode }: Life): T =>
    mode === 'unprivileged' ? unprivileged : privileged;
const always =
  <T>(value: T) =>
  (): T =>
    value;

/** A line `path|kind|number|mode|owner|target, or whether it opens`. */
const node =
  (path: string) =>
  ({ found }: Life): string | undefined =>
    found
      .lines('nodes')
      .find(line => line.startsWith(`/dev/${path}|`))
      ?.slice(`/dev/${path}|`.length);
const word =
  (section: string, name: string) =>
  ({ found }: Life): string | undefined =>
    found.word(section, name);
const lines =
  (section: string) =>
  ({ found }: Life): string[] =>
    found.lines(section);

/** Type, root, and those of the options that a page may ask for. */
const mount =
  (point: string) =>
  ({ found }: Life): string => {
    const { type, root, options } = mountAt(found.mounts, point);
    const known = ['ro', 'rw', 'nosuid', 'nodev', 'noexec'].filter(option => options.includes(option));
    return `${type} ${root} ${known.join(',')}`;
  };
const superOption =
  (point: string, name: string) =>
  ({ found }: Life): string | undefined =>
    mountAt(found.mounts, point).superOptions.find(option => option === name || option.startsWith(`${name}=`));

const hasProc = (name: string): boolean => existsSync(`/proc/${name}`);
/** What reading a file of /proc says that tells of the host. AppArmor's profile does not even let it be opened. */
function masked(name: string): string {
  if (!hasProc(name)) return 'ENOENT';
  const confined = typeof rig.supervisor.facts.apparmor?.parser === 'string';
  return name === 'kcore' && confined ? 'EACCES' : 'empty';
}
const v2Only = (): boolean => rig.supervisor.facts.cgroups.v1.length === 0;

/** §3.1: path, number; all of mode 0666, of container root, and they work. */
const NODES = {
  null: '1:3',
  zero: '1:5',
  full: '1:7',
  random: '1:8',
  urandom: '1:9',
  tty: '5:0',
  fuse: '10:229',
  'net/tun': '10:200',
};
const LINKS = { fd: '/proc/self/fd', stdin: '/proc/self/fd/0', stdout: '/proc/self/fd/1', stderr: '/proc/self/fd/2' };
const NAMESPACES = ['mnt', 'pid', 'uts', 'ipc', 'net', 'cgroup'];
const DROPPED = { unprivileged: ['audit_control', 'audit_read', 'audit_write'] };
const PRIVILEGED_DROPPED = [
  ...DROPPED.unprivileged,
  'sys_time',
  'sys_module',
  'sys_rawio',
  'mac_admin',
  'mac_override',
];

/** As hexadecimal digits: the whole set of a user namespace, or what the supervisor has, but for what is dropped. */
function capabilities({ mode }: Life): string {
  const last = Number(readFileSync('/proc/sys/kernel/cap_last_cap', 'utf8'));
  const bounding = /^CapBnd:\s*(\w+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? '0';
  const all = mode === 'unprivileged' ? (1n << BigInt(last + 1)) - 1n : BigInt(`0x${bounding}`);
  const dropped = mode === 'unprivileged' ? DROPPED.unprivileged : PRIVILEGED_DROPPED;
  const mask = dropped.reduce(
    (bits, name) => bits | (1n << BigInt((CAPABILITIES as readonly string[]).indexOf(name))),
    0n,
  );
  return (all & ~mask).toString(16).padStart(16, '0');
}

/** The page's limits, below what a supervisor without CAP_SYS_RESOURCE can give. */
function limit(index: number): string {
  const { facts } = rig.supervisor;
  const name = RLIMIT_NAMES[index] ?? 'cpu';
  const wanted = defaultRlimits({ nrOpen: facts.nrOpen, ...facts.pid1Rlimits })[name];
  const got = facts.capabilities.includes('sys_resource') ? wanted : capRlimit(wanted, facts.rlimits[name]);
  const text = (value: Rlimit['soft']): string => (value === null ? 'unlimited' : String(value));
  return `${text(got.soft)} ${text(got.hard)}`;
}

const TABLE: Row[] = [
  // 1. Root file system
  ['ENV-09', '/ is a mount of its own', ({ found }) => mountAt(found.mounts, '/').type, always('overlay')],
  ['ENV-09', "the root of the mount is the container's", word('process', '/proc/self/root'), always('/')],
  // 2. Namespaces
  ...NAMESPACES.map(
    (kind): Row => [
      'ENV-10',
      `a new ${kind} namespace`,
      ({ found }) => found.word('namespaces', kind) !== readlinkSync(`/proc/self/ns/${kind}`),
      always(true),
    ],
  ),
  [
    'ENV-10',
    'a new user namespace when unprivileged',
    ({ found }) => found.word('namespaces', 'user') !== readlinkSync('/proc/self/ns/user'),
    either(true, false),
  ],
  [
    'ENV-11',
    'the root of each hierarchy of cgroups',
    ({ found }) => [...new Set(found.lines('/proc/1/cgroup').map(line => line.replace(/^.*:/, '')))],
    always(['/']),
  ],
  [
    'ENV-12, ENV-65',
    'its own links only, but for fallback devices of the kernel',
    ({ found }) =>
      found
        .lines('/sys/class/net')
        .filter(name => !/^(tunl|gre|gretap|erspan|ip_vti|ip6_vti|sit|ip6tnl|ip6gre)0$/.test(name)),
    always(['lo']),
  ],
  ['ENV-65', 'lo is up', lines('loopback'), always(['up'])],
  ['ENV-13', 'host name', lines('uts'), ({ container }) => [container.name]],
  // 3. /dev
  ['ENV-14', '/dev', mount('/dev'), always('tmpfs / rw,nosuid')],
  ['ENV-14', 'mode and owner of /dev', ({ found }) => found.lines('nodes')[0], always('/dev|dir|0:0|0755|0:0|')],
  ['ENV-14', 'size of /dev', ({ found }) => Number(found.word('file systems', '/dev')?.split(' ')[1]), always(503_808)],
  ...Object.entries(NODES).map(
    ([path, number]): Row => [
      'ENV-15, ENV-16, ENV-17, ENV-18, ENV-21',
      `/dev/${path}`,
      node(path),
      always(`char|${number}|0666|0:0|ok`),
    ],
  ),
  ['§3.1', '/dev/net', node('net'), always('dir|0:0|0755|0:0|')],
  ['ENV-24', '/dev/pts', mount('/dev/pts'), always('devpts / rw,nosuid,noexec')],
  ...(['ptmxmode=666', 'mode=620', 'max=1024'] as const).map(
    (option): Row => [
      'ENV-24',
      `/dev/pts: ${option}`,
      superOption('/dev/pts', option.replace(/=.*/, '')),
      always(option),
    ],
  ),
  // The kernel shows the host's number of the group.
  [
    'ENV-24',
    '/dev/pts: gid',
    superOption('/dev/pts', 'gid'),
    ({ container }) => `gid=${5 + (container.spec.idmap?.first ?? 0)}`,
  ],
  ['§3.1', '/dev/pts/ptmx', node('pts/ptmx'), always('char|5:2|0666|0:0|ok')],
  ['§3.1', '/dev/ptmx', node('ptmx'), always('link|0:0|0777|0:0|pts/ptmx')],
  ['ENV-25', '/dev/console', node('console'), always('char|136:0|0620|0:5|ok')],
  ['ENV-25', '/dev/console is a mount of a pty', mount('/dev/console'), always('devpts /0 rw,nosuid,noexec')],
  ...Object.entries(LINKS).map(
    ([path, target]): Row => ['§3.1', `/dev/${path}`, node(path), always(`link|0:0|0777|0:0|${target}`)],
  ),
  ['ENV-28', '/dev/mqueue', mount('/dev/mqueue'), always('mqueue / rw,nosuid,nodev,noexec')],
  ['ENV-28', 'mode of /dev/mqueue', life => node('mqueue')(life)?.split('|')[2], always('1777')],
  ['ENV-29', '/dev/shm', mount('/dev/shm'), always('tmpfs / rw,nosuid,nodev')],
  ['ENV-29', 'mode and owner of /dev/shm', node('shm'), always('dir|0:0|1777|0:0|')],
  [
    'ENV-26, HST-47, HST-48',
    'no kmsg, mem, kcore, terminals of the host, disks',
    ({ found }) => found.lines('nodes').filter(line => /^\/dev\/(kmsg|mem|kcore|port|tty\d|vcs)|\|block\|/.test(line)),
    always([]),
  ],
  ['ENV-21, ENV-23', 'a node of the table, made by itself', word('calls', 'mknod c 1 3'), either('EPERM', 'ok ok')],
  ['ENV-21', 'a disk', word('calls', 'mknod b 8 0'), either('EPERM', 'ok EPERM')],
  ['ENV-21', 'memory', word('calls', 'mknod c 1 1'), either('EPERM', 'ok EPERM')],
  // 4. Kernel file systems
  ['ENV-31', '/proc', mount('/proc'), always('proc / rw,nosuid,nodev,noexec')],
  [
    'ENV-31, ENV-33',
    '/proc/sys',
    life => (life.mode === 'privileged' ? mount('/proc/sys')(life) : 'not a mount'),
    either('not a mount', 'proc /sys ro,nosuid,nodev,noexec'),
  ],
  [
    'ENV-31, HST-03',
    '/proc/sys/net',
    life => (life.mode === 'privileged' ? mount('/proc/sys/net')(life) : 'not a mount'),
    either('not a mount', 'proc /sys/net rw,nosuid,nodev,noexec'),
  ],
  ['ENV-33, HST-03', 'net.ipv4.ip_forward', word('writes', '/proc/sys/net/ipv4/ip_forward'), always('ok')],
  ['ENV-33', 'kernel.msgmax', word('writes', '/proc/sys/kernel/msgmax'), either('ok', 'EROFS')],
  ['ENV-33, HST-03', 'kernel.panic', word('writes', '/proc/sys/kernel/panic'), either('EACCES', 'EROFS')],
  [
    'ENV-31, ENV-34',
    '/proc/sysrq-trigger',
    word('writes', '/proc/sysrq-trigger'),
    life => (hasProc('sysrq-trigger') ? either('EACCES', 'EROFS')(life) : 'ENOENT'),
  ],
  ['ENV-31, ENV-32', '/sys', mount('/sys'), always('sysfs / ro,nosuid,nodev,noexec')],
  ['ENV-32, HST-51', 'a directory in /sys', word('writes', '/sys'), always('EROFS')],
  ['ENV-32', 'a setting of the host in /sys', word('writes', '/sys/kernel/mm/ksm/run'), either('EACCES', 'EROFS')],
  [
    'ENV-31, HST-51',
    '/sys/devices/virtual/net',
    mount('/sys/devices/virtual/net'),
    always('sysfs /devices/virtual/net rw,nosuid,nodev,noexec'),
  ],
  ...['kcore', 'kallsyms', 'keys', 'timer_list'].map(
    (name): Row => ['ENV-34', `/proc/${name}`, word('masks', name), () => masked(name)],
  ),
  [
    'ENV-36',
    'a boot id of its own',
    ({ found }) =>
      found.lines('/proc/sys/kernel/random/boot_id')[0] ===
      readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim(),
    always(false),
  ],
  [
    'ENV-36',
    'the boot id is a file of its own, read-only',
    life => mount('/proc/sys/kernel/random/boot_id')(life).replace(/ \S+ /, ' '),
    always('tmpfs ro,nosuid,nodev,noexec'),
  ],
  // 4.2 Cgroups
  ['ENV-40, ENV-71', '/sys/fs/cgroup', mount('/sys/fs/cgroup'), always('cgroup2 / rw,nosuid,nodev,noexec')],
  ...['cgroup.procs', 'cgroup.subtree_control'].map(
    (name): Row => ['ENV-41', name, word('writes', `/sys/fs/cgroup/${name}`), always('ok')],
  ),
  [
    'ENV-41',
    'memory.max of its own group, which carries no limit',
    word('writes', '/sys/fs/cgroup/memory.max'),
    life => (v2Only() ? either('EACCES', 'ok')(life) : 'ENOENT'),
  ],
  // 6. PID 1
  ['ENV-50', 'arguments', lines('arguments'), always(['/sbin/init'])],
  ['ENV-50', 'program', word('process', '/proc/self/exe'), always('/sbin/init')],
  ['ENV-50', 'pid', word('process', 'pid'), always('1')],
  ['ENV-50', 'parent', word('process', 'ppid'), always('0')],
  ['ENV-51', 'environment', lines('environment'), always(['container=lxc'])],
  ['ENV-53', 'descriptors', lines('descriptors'), always([0, 1, 2].map(fd => `${fd}|char|136:0|0|/dev/pts/0`))],
  ['ENV-54', 'session', word('process', 'sid'), always('1')],
  ['ENV-54', 'process group', word('process', 'pgid'), always('1')],
  ['ENV-54', 'foreground group of the console', word('process', 'foreground'), always('1')],
  ['ENV-54', 'a controlling terminal', word('process', 'tty'), always('ok')],
  ['ENV-55', 'signals blocked or not at their default', lines('signals'), always([])],
  [
    'ENV-55',
    'SigIgn, SigCgt',
    ({ found: { status } }) => [status.SigIgn, status.SigCgt],
    always(Array(2).fill('0'.repeat(16))),
  ],
  ['ENV-56', 'working directory', word('process', '/proc/self/cwd'), always('/')],
  ['ENV-56', 'umask', word('process', 'umask'), always('0022')],
  ['ENV-56', 'user ids', word('process', 'uid'), always('0 0 0')],
  ['ENV-56', 'group ids', word('process', 'gid'), always('0 0 0')],
  ['ENV-56', 'supplementary groups', word('process', 'groups'), always('0')],
  [
    'ENV-56',
    'user and group of the file system',
    ({ found: { status } }) => [status.Uid, status.Gid],
    always(Array(2).fill('0\t0\t0\t0')),
  ],
  ...RLIMIT_NAMES.map(
    (name, index): Row => ['ENV-57', `limit ${name}`, word('limits', String(index)), () => limit(index)],
  ),
  ['ENV-58', 'oom_score_adj', lines('/proc/1/oom_score_adj'), always(['0'])],
  ...['CapBnd', 'CapPrm', 'CapEff'].map(
    (set): Row => [
      'ENV-59, ENV-60, ENV-61, HST-45, HST-46, HST-52',
      set,
      ({ found }) => found.status[set],
      capabilities,
    ],
  ),
  ...['CapInh', 'CapAmb'].map((set): Row => ['ENV-59', set, ({ found }) => found.status[set], always('0'.repeat(16))]),
  ...['kexec_load', 'open_by_handle_at', 'init_module', 'finit_module', 'delete_module', 'umount2 MNT_FORCE'].map(
    (call): Row => ['ENV-62', call, word('calls', call), always('EPERM')],
  ),
  ['ENV-61, HST-52', 'audit socket', word('calls', 'audit socket'), always('EAFNOSUPPORT')],
  ['ENV-62', 'seccomp', ({ found }) => found.status.Seccomp, always('2')],
  ['ENV-63', 'no_new_privs', ({ found }) => found.status.NoNewPrivs, always('0')],
  ['ENV-63', 'login uid', lines('/proc/1/loginuid'), always(hasProc('self/loginuid') ? ['4294967295'] : ['ENOENT'])],
  // host-interface.md §5, which the page's mounts are not complete without
  ['HST-32', '/run', mount('/run'), always('tmpfs / rw,nosuid,nodev')],
  ['HST-32', '/run/host', mount('/run/host'), always('tmpfs / ro,nosuid,nodev,noexec')],
];

describe.each(MODES)('%s', mode => {
  let life: Life;

  beforeAll(async () => {
    const container = await rig.create({ mode });
    await container.start();
    await finish(container);
    const degraded = container
      .report()
      .entries.filter(({ outcome }) => outcome === 'degraded')
      .map(({ code }) => code);
    life = {
      mode,
      container,
      degraded,
      found: parseProbe(container.console.history().toString().replaceAll('\r\n', '\n')),
    };
  });

  /** Named by its ids; a mount that is not there is a value, too. */
  const column = (of: 2 | 3): Record<string, unknown> =>
    Object.fromEntries(
      TABLE.map(row => {
        const [ids, what] = row;
        try {
          return [`${ids}: ${what}`, row[of](life)];
        } catch (error) {
          return [`${ids}: ${what}`, String(error)];
        }
      }),
    );

  test('PID 1 finds every field of the table as the page says', () => {
    const expected = column(3);
    expect(Object.keys(expected)).toHaveLength(TABLE.length);
    expect(column(2)).toEqual(expected);
  });

  test('the table has a row for every name in /dev', () => {
    const known = [
      ...Object.keys(NODES),
      ...Object.keys(LINKS),
      'net',
      'pts',
      'ptmx',
      'console',
      'mqueue',
      'char',
      'shm',
      'log',
    ];
    const names = life.found.lines('/dev');
    expect(names.filter(name => !known.includes(name))).toEqual([]);
    expect(readdirSync('/dev').length).toBeGreaterThan(names.length);
  });

  test('ENV-16, ENV-22: the report says what is less than the page asks for', () => {
    const capped = RLIMIT_NAMES.some((name, index) => {
      const wanted = defaultRlimits({ nrOpen: rig.supervisor.facts.nrOpen, ...rig.supervisor.facts.pid1Rlimits })[name];
      return !limit(index).endsWith(wanted.hard === null ? ' unlimited' : ` ${wanted.hard}`);
    });
    expect(life.degraded.includes('rlimit-capped')).toBe(capped);
    expect(life.degraded.filter(code => code !== 'rlimit-capped' && code !== 'unconfined')).toEqual([]);
  });
});
