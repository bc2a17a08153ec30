/** What PID 1 finds around it: root, namespaces, /dev, kernel file systems, cgroups (container-environment.md §1 to §4). */
import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import type { Container } from 'caisson';
import { beforeAll, describe, expect, test } from 'vitest';
import { compileInto, TERMINAL } from '../lib/programs.ts';
import { type Mount, mountAt, parseMounts, peerGroups, SHARED_INSIDE, sections } from '../lib/report.ts';
import { finish, MODES, type Mode, useRig } from '../lib/rig.ts';

const rig = useRig({ prepare: rootfs => compileInto(rootfs, 'terminal', TERMINAL) });

/** container-environment.md §3.1: path, mode, number. */
const NODES = [
  ['null', '666', '1:3'],
  ['zero', '666', '1:5'],
  ['full', '666', '1:7'],
  ['random', '666', '1:8'],
  ['urandom', '666', '1:9'],
  ['tty', '666', '5:0'],
  ['fuse', '666', 'a:e5'],
  ['net/tun', '666', 'a:c8'],
] as const;
const LINKS = { fd: '/proc/self/fd', stdin: '/proc/self/fd/0', stdout: '/proc/self/fd/1', stderr: '/proc/self/fd/2' };
/** What a privileged container may not write, where the kernel has it. */
const READ_ONLY = [
  '/proc/sys',
  ...['sysrq-trigger', 'acpi', 'asound', 'bus', 'fs', 'irq', 'scsi'].map(name => `/proc/${name}`),
].filter(path => existsSync(path));
/** What is covered in every container, where the kernel has it. */
const COVERED = [
  ...['kcore', 'kallsyms', 'keys', 'timer_list', 'kmsg'].map(name => `/proc/${name}`),
  '/proc/sys/kernel/random/boot_id',
].filter(path => existsSync(path));
/** What is bound where the host has it (test/integration/host-paths.test.ts tells what). */
const PASSED_ON =
  /^\/(proc\/sys\/fs\/binfmt_misc|sys\/(firmware\/efi\/efivars|fs\/(fuse\/connections|pstore|selinux)|kernel\/(debug|security|config|tracing)))(\/|$)/;
/** What the host tells the payload (host-interface §5); the host's os-release where it has one. */
const RUN_HOST = [
  '/run',
  '/run/host',
  '/run/host/incoming',
  ...(['/etc/os-release', '/usr/lib/os-release'].some(path => existsSync(path)) ? ['/run/host/os-release'] : []),
];
const NAMESPACES = ['cgroup', 'ipc', 'mnt', 'net', 'pid', 'uts', 'user'] as const;

const REPORT = `
echo '@@ namespaces'; for n in ${NAMESPACES.join(' ')}; do echo $n $(readlink /proc/1/ns/$n); done
echo '@@ cgroup'; cat /proc/1/cgroup
echo '@@ mounts'; cat /proc/self/mountinfo
echo '@@ root'; ls -1a /; echo '@@ above root'; cd /; ls -1a ..
echo '@@ hostname'; hostname
echo '@@ net'; ls -1 /sys/class/net; echo '@@ lo'; cat /sys/class/net/lo/flags; ping -c 1 -w 5 127.0.0.1 >/dev/null && echo pong
echo '@@ dev'; ls -1 /dev
echo '@@ net dev'; ls -1 /dev/net
echo '@@ nodes'; cd /dev; stat -c '%n|%F|%u:%g|%a|%t:%T' ${NODES.map(([path]) => path).join(' ')} console pts/0 pts/ptmx
echo '@@ directories'; stat -c '%n|%u:%g|%a' . net pts shm mqueue /sys/fs/cgroup
echo '@@ queue'; : >mqueue/mine && echo made; stat -c '%n %u:%g' mqueue/* | sed s,mqueue/,,
echo '@@ links'; for l in fd stdin stdout stderr ptmx; do echo "$l $(readlink $l) $(stat -c %u:%g $l)"; done
echo '@@ type'; stat -f -c %T /dev
echo '@@ use'
echo x >/dev/null && echo null ok
head -c 4 /dev/zero | od -An -tx1
echo x >/dev/full || echo full refused
[ $(head -c 8 /dev/urandom | wc -c) = 8 ] && echo urandom ok
[ $(head -c 8 /dev/random | wc -c) = 8 ] && echo random ok
: <>/dev/fuse && echo fuse ok
: <>/dev/net/tun && echo tun ok
terminal
echo '@@ sys'; touch /sys/x; mkdir /sys/x
echo '@@ end'
`;

describe.each(MODES)('%s', mode => {
  let report: Map<string, string[]>;
  let mounts: Mount[];
  let container: Container;
  const section = (name: string): string[] => report.get(name) ?? [];

  beforeAll(async () => {
    // Unprivileged on the plain tree, as by default; privileged must have a layer of its own (ENV-70).
    const spec = mode === 'unprivileged' ? { rootfs: rig.rootfs } : {};
    container = await rig.create({ mode, init: '/bin/sh', args: ['-c', REPORT], ...spec });
    await container.start();
    await finish(container);
    report = sections(container.console.history().toString().replaceAll('\r\n', '\n'));
    mounts = parseMounts(section('mounts'));
    expect(report.has('end'), container.console.history().toString()).toBe(true);
  });

  test("ENV-09: the root is the container's, and no mount of the host is left", () => {
    const tree = readdirSync(rig.rootfs);
    expect(section('root').sort()).toEqual(['.', '..', ...tree].sort());
    expect(section('above root').sort()).toEqual(['.', '..', ...tree].sort());
    expect(
      mounts
        .map(({ point }) => point)
        .filter(point => !PASSED_ON.test(point))
        .sort(),
    ).toEqual(
      [
        '/',
        '/dev',
        '/dev/console',
        '/dev/mqueue',
        '/dev/pts',
        '/dev/shm',
        '/proc',
        '/sys',
        '/sys/devices/virtual/net',
        '/sys/fs/cgroup',
        ...COVERED,
        ...RUN_HOST,
        ...(mode === 'privileged' ? ['/proc/sys/net', ...READ_ONLY] : []),
      ].sort(),
    );
    const types = { unprivileged: readType('/'), privileged: 'overlay' };
    expect(mountAt(mounts, '/').type).toBe(types[mode]);
  });

  test('ENV-09, HST-33: no mount event leaves, and none enters but in incoming; what is mounted inside is shared inside', () => {
    for (const { point, propagation } of mounts) {
      expect(propagation, point).toEqual(
        point === '/run/host/incoming' ? [expect.stringMatching(/^master:\d+$/)] : SHARED_INSIDE,
      );
    }
    const host = peerGroups(parseMounts(readFileSync('/proc/self/mountinfo', 'utf8').trimEnd().split('\n')));
    expect(peerGroups(mounts).filter(group => host.includes(group))).toEqual([]);
    expect(new Set(peerGroups(mounts)).size).toBe(mounts.length - 1);
  });

  test('ENV-10: namespaces of its own', () => {
    const inside = Object.fromEntries(section('namespaces').map(line => line.split(' ')));
    for (const name of NAMESPACES) {
      const host = readlinkSync(`/proc/self/ns/${name}`);
      expect(inside[name], name).toMatch(new RegExp(`^${name}:\\[\\d+\\]$`));
      if (name === 'user' && mode === 'privileged') expect(inside[name]).toBe(host);
      else expect(inside[name], name).not.toBe(host);
    }
  });

  test('ENV-11: PID 1 is at the root of its cgroup namespace in every hierarchy', () => {
    const hierarchies = readFileSync('/proc/self/cgroup', 'utf8').split('\n').filter(Boolean);
    expect(
      section('cgroup')
        .map(line => line.replace(/^\d+:/, ''))
        .sort(),
    ).toEqual(hierarchies.map(line => line.replace(/^\d+:([^:]*):.*/, '$1:/')).sort());
    expect(section('cgroup')).toContain('0::/');
  });

  test('ENV-12: sysfs shows the links of its own network only', () => {
    // Every new network namespace of this kernel has the fallback devices of loaded modules, besides lo.
    const fallback = ['tunl0', 'gre0', 'gretap0', 'erspan0', 'ip_vti0', 'ip6_vti0', 'sit0', 'ip6tnl0', 'ip6gre0'];
    expect(section('net').filter(name => !fallback.includes(name))).toEqual(['lo']);
  });

  test("ENV-13: the host name is the container's name", () => {
    expect(section('hostname')).toEqual([container.name]);
  });

  test('ENV-14: /dev is a small private tmpfs', () => {
    expect(section('type')).toEqual(['tmpfs']);
    const mount = mountAt(mounts, '/dev');
    expect(mount.type).toBe('tmpfs');
    expect(mount.options).toContain('nosuid');
    expect(mount.options).not.toContain('nodev');
    const pages = Math.ceil(500_000 / 4096);
    expect(mount.superOptions).toContain(`size=${pages * 4}k`);
    expect(section('directories')[0]).toBe('.|0:0|755');
  });

  test('ENV-15, ENV-26: /dev holds the table and nothing else: no VTs, no kmsg, no disks', () => {
    const names = [
      ...NODES.map(([path]) => path.split('/')[0]),
      ...Object.keys(LINKS),
      'ptmx',
      'pts',
      'char',
      'shm',
      'mqueue',
      'log',
    ];
    expect(section('dev').sort()).toEqual([...new Set([...names, 'console'])].sort());
    expect(section('net dev')).toEqual(['tun']);
  });

  test("ENV-17, ENV-18: nodes have the table's number, mode and owner", () => {
    const nodes = section('nodes').slice(0, NODES.length);
    expect(nodes).toEqual(
      NODES.map(([path, nodeMode, number]) => `${path}|character special file|0:0|${nodeMode}|${number}`),
    );
  });

  test('ENV-16, ENV-18: every node of the table works', () => {
    expect(section('use').slice(0, -1)).toEqual([
      'null ok',
      ' 00 00 00 00',
      expect.stringContaining('No space left'),
      'full refused',
      'urandom ok',
      'random ok',
      'fuse ok',
      'tun ok',
    ]);
  });

  test('ENV-24: devpts is a new instance with the options of the table, and ptys can be opened', () => {
    const mount = mountAt(mounts, '/dev/pts');
    expect(mount.type).toBe('devpts');
    expect(mount.options).toEqual(expect.arrayContaining(['nosuid', 'noexec']));
    // The kernel shows the host's number of the group.
    const gid = 5 + (container.spec.idmap?.first ?? 0);
    expect(mount.superOptions).toEqual(expect.arrayContaining(['mode=620', 'ptmxmode=666', 'max=1024', `gid=${gid}`]));
    expect(section('use').at(-1)).toBe('/dev/pts/1');
  });

  test('ENV-25: the console is the first pty of that instance', () => {
    const [console, pts] = section('nodes').slice(NODES.length);
    expect(console).toBe('console|character special file|0:5|620|88:0');
    expect(pts).toBe('pts/0|character special file|0:5|620|88:0');
    expect(section('nodes').at(-1)).toBe('pts/ptmx|character special file|0:0|666|5:2');
    expect(mountAt(mounts, '/dev/console')).toMatchObject({ type: 'devpts', root: '/0' });
  });

  test('links of /dev', () => {
    expect(section('links')).toEqual([
      ...Object.entries(LINKS).map(([name, target]) => `${name} ${target} 0:0`),
      'ptmx pts/ptmx 0:0',
    ]);
  });

  test('ENV-28, ENV-29: shm and mqueue are mounts of its own, open to all', () => {
    expect(section('directories').slice(1, 5)).toEqual([
      'net|0:0|755',
      'pts|0:0|755',
      'shm|0:0|1777',
      'mqueue|0:0|1777',
    ]);
    expect(section('queue')).toEqual(['made', 'mine 0:0']);
    expect(existsSync('/dev/mqueue/mine')).toBe(false);
    expect(mountAt(mounts, '/dev/shm')).toMatchObject({ type: 'tmpfs', root: '/' });
    expect(mountAt(mounts, '/dev/shm').options).toEqual(expect.arrayContaining(['nosuid', 'nodev']));
    expect(mountAt(mounts, '/dev/mqueue')).toMatchObject({ type: 'mqueue', root: '/' });
  });

  test('ENV-31, HST-02: /proc', () => {
    expect(mountAt(mounts, '/proc')).toMatchObject({ type: 'proc', root: '/' });
    expect(mountAt(mounts, '/proc').options).toEqual(expect.arrayContaining(['rw', 'nosuid', 'nodev', 'noexec']));
    if (mode === 'unprivileged') return;
    for (const point of READ_ONLY) {
      expect(mountAt(mounts, point), point).toMatchObject({ type: 'proc', root: point.slice('/proc'.length) });
      expect(mountAt(mounts, point).options, point).toEqual(
        expect.arrayContaining(['ro', 'nosuid', 'nodev', 'noexec']),
      );
    }
    expect(mountAt(mounts, '/proc/sys/net').options).toEqual(
      expect.arrayContaining(['rw', 'nosuid', 'nodev', 'noexec']),
    );
  });

  test('ENV-31, ENV-32, HST-02: /sys is read-only, but for virtual links', () => {
    expect(mountAt(mounts, '/sys')).toMatchObject({ type: 'sysfs', root: '/' });
    expect(mountAt(mounts, '/sys').options).toEqual(expect.arrayContaining(['ro', 'nosuid', 'nodev', 'noexec']));
    expect(mountAt(mounts, '/sys/devices/virtual/net').options).toEqual(
      expect.arrayContaining(['rw', 'nosuid', 'nodev', 'noexec']),
    );
    expect(section('sys')).toEqual(Array(2).fill(expect.stringContaining('Read-only file system')));
  });

  test('ENV-40: one cgroup2 mount where the host has cgroup v2', () => {
    if (rig.supervisor.facts.cgroups.v2 === null) {
      expect(mountAt(mounts, '/sys/fs/cgroup').type).toBe('tmpfs');
      return;
    }
    expect(mountAt(mounts, '/sys/fs/cgroup')).toMatchObject({ type: 'cgroup2', root: '/' });
    expect(mountAt(mounts, '/sys/fs/cgroup').options).toEqual(
      expect.arrayContaining(['rw', 'nosuid', 'nodev', 'noexec', 'relatime']),
    );
  });

  test('ENV-65: lo is up before PID 1', () => {
    expect(section('lo')).toEqual(['0x9', 'pong']);
  });
});

test('ENV-09: an unprivileged ephemeral layer is an overlay, owned by container root, thrown away at stop', async () => {
  const script = 'stat -c %u:%g:%a /; touch /left-over && ls -1 /left-over; stat -c %u /bin/busybox /etc/passwd';
  const first = await rig.run({ script: `ls /left-over; ${script}` });
  expect(first.lines).toEqual([expect.stringContaining('No such file'), '0:0:755', '/left-over', '0', '0']);
  await first.container.start();
  await finish(first.container);
  expect(
    first.container.console
      .history()
      .toString()
      .match(/No such file/g),
  ).toHaveLength(2);
  expect(readdirSync(rig.rootfs)).not.toContain('left-over');
});

test('ENV-13: another host name when asked for', async () => {
  const { lines } = await rig.run({ script: 'hostname', hostname: 'other.example' });
  expect(lines).toEqual(['other.example']);
});

test('ENV-32: sys: rw leaves /sys writable', async () => {
  const { lines } = await rig.run({ script: 'cat /proc/self/mountinfo', sys: 'rw' });
  expect(mountAt(parseMounts(lines), '/sys').options).toContain('rw');
});

test('ENV-33, HST-03: sysctls of its own namespaces can be written unprivileged, those of the host cannot', async () => {
  const read = (): string[] =>
    ['net/ipv4/ip_forward', 'kernel/panic', 'kernel/msgmax'].map(name => readFileSync(`/proc/sys/${name}`, 'utf8'));
  const before = read();
  const { lines } = await rig.run({
    script: `
      echo 1 > /proc/sys/net/ipv4/ip_forward && cat /proc/sys/net/ipv4/ip_forward
      echo 4321 > /proc/sys/kernel/msgmax && cat /proc/sys/kernel/msgmax
      cat /proc/sys/kernel/panic > /proc/sys/kernel/panic`,
  });
  expect(lines).toEqual(['1', '4321', expect.stringMatching(/panic: (Permission denied|Operation not permitted)/)]);
  expect(read()).toEqual(before);
});

describe.each(MODES)('%s', (mode: Mode) => {
  test('ENV-14: what was put into /dev is gone after a restart and after a reboot; its size can be set', async () => {
    const script = `
      ls /dev/mark 2>&1; head -c 30000 /dev/zero > /dev/mark; ls -1 /dev/mark
      dd if=/dev/zero of=/dev/big bs=1k count=100 2>&1 | grep -o 'No space left.*'
      [ -e /etc/rebooted ] || { touch /etc/rebooted; reboot -f; }`;
    const tree = rig.tree();
    // Kept over the reboot, unlike an ephemeral layer; the payload of the privileged one writes to its own tree only.
    const rootfs = { path: tree, overlay: 'none' as const, allowSharedSuperblock: mode === 'privileged' };
    const container = await rig.create({
      mode,
      rootfs,
      init: '/bin/sh',
      args: ['-c', script],
      devices: { size: 65_536 },
    });
    await container.start();
    await finish(container);
    expect(container.restartCount).toBe(1);
    await container.start();
    await finish(container);
    const round = [expect.stringContaining('No such file'), '/dev/mark', expect.stringContaining('No space left')];
    expect(container.console.history().toString().split('\r\n').filter(Boolean)).toEqual([
      ...round,
      ...round,
      ...round,
    ]);
  });
});

function readType(path: string): string {
  return mountAt(parseMounts(readFileSync('/proc/self/mountinfo', 'utf8').split('\n').filter(Boolean)), path).type;
}
