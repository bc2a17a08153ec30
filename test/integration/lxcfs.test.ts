/** LXCFS (ENV-44 to ENV-49): with Debian's own, which lives, dies and hangs below running containers. */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Container, Supervisor } from 'caisson';
import { afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { startOnce, TestLxcfs } from '../lib/lxcfs.ts';
import { MuteServer } from '../lib/mute-server.ts';
import { mountAt, parseMounts, SHARED_INSIDE, sections } from '../lib/report.ts';
import { MODES, type Mode, until, useRig } from '../lib/rig.ts';
import { type Shell, startShell } from '../lib/shell.ts';
import { SLOWNESS, slow } from '../lib/slow.ts';

beforeAll(startOnce);
const rig = useRig();

const MIB = 1024 * 1024;
const limits = { memory: 256 * MIB };
const LIMITED = 'MemTotal:         262144 kB';
const MEMORY = 'head -n 1 /proc/meminfo';

let lxcfs: TestLxcfs;
let supervisor: Supervisor;

beforeEach(async () => {
  const base = rig.directory('lxcfs');
  mkdirSync(join(base, 'mount'));
  lxcfs = new TestLxcfs(base, join(base, 'mount'));
  supervisor = await rig.open({ lxcfs: lxcfs.path });
});

// Before the rig's own, which demands that no mount is left.
afterEach(async () => {
  await lxcfs.end();
});

async function shell(mode: Mode, spec: Parameters<typeof rig.create>[0] = {}): Promise<Shell> {
  return await startShell(rig, mode, { limits, ...spec, supervisor } as Parameters<typeof startShell>[2]);
}

/** Codes of the notices about LXCFS among the events of a container from now on. */
function notices(container: Container): string[] {
  const codes: string[] = [];
  container.on('event', event => {
    if (event.type === 'notice' && event.code.startsWith('lxcfs')) codes.push(event.code);
  });
  return codes;
}

function told(container: Container): string[] {
  return container
    .report()
    .entries.map(({ code }) => code)
    .filter(code => code.startsWith('lxcfs'));
}

/** Starts a container that ends at once; resolves with the ms that took. */
async function timedStart(): Promise<{ ms: number; codes: string[] }> {
  const container = await rig.create({ supervisor, init: '/bin/true' });
  const begun = performance.now();
  await container.start();
  const ms = performance.now() - begun;
  await container.wait();
  return { ms, codes: told(container) };
}

describe.each(MODES)('%s', mode => {
  test('ENV-45, ENV-46: memory, uptime and processors are the container’s, read-only, under every name it shows', async () => {
    await lxcfs.start();
    const { container, say } = await shell(mode);
    expect(told(container)).toEqual([]);
    expect(await say(MEMORY)).toBe(LIMITED);
    expect(Number((await say('cat /proc/uptime')).split(' ')[0])).toBeLessThan(slow(10));
    const mounts = parseMounts((await say('cat /proc/self/mountinfo')).split('\n'));
    const shown = readdirSync(join(lxcfs.path, 'proc')).filter(name => name !== 'pressure');
    expect(shown).toEqual(expect.arrayContaining(['cpuinfo', 'diskstats', 'loadavg', 'meminfo', 'stat', 'uptime']));
    const inside = (await say('ls -1 /proc')).split(/\s+/);
    for (const name of shown.filter(name => inside.includes(name))) {
      const mount = mountAt(mounts, `/proc/${name}`);
      expect(mount, name).toMatchObject({ type: 'fuse.lxcfs', root: `/proc/${name}`, propagation: SHARED_INSIDE });
      expect(mount.options, name).toEqual(expect.arrayContaining(['ro', 'nosuid', 'nodev', 'noexec']));
    }
    expect(mountAt(mounts, '/sys/devices/system/cpu')).toMatchObject({ type: 'fuse.lxcfs' });
    expect(await say('echo x > /proc/meminfo')).toMatch(/Read-only|Permission|denied/);
    // The machine's own are as they were.
    expect(readFileSync('/proc/meminfo', 'utf8')).not.toContain(LIMITED);
    await container.kill();
  });

  test('ENV-46: /sys/devices/system/cpu/online follows the cpuset of the container', async ({ skip }) => {
    await lxcfs.start();
    await until(() => lxcfs.knows('memory'), 'LXCFS tells what it has found');
    if (!lxcfs.knows('cpuset')) skip('the cgroup that LXCFS runs in has no cpuset controller');
    const { container, say } = await shell(mode);
    const groups = readFileSync(`/proc/${container.pid}/cgroup`, 'utf8')
      .split('\n')
      .map(line => line.split(':'));
    const v1 = groups.find(([, names]) => names?.split(',').includes('cpuset'));
    const v2 = groups.find(([number]) => number === '0');
    const path = v1 !== undefined ? `/sys/fs/cgroup/cpuset${v1[2]}` : `/sys/fs/cgroup${v2?.[2]}`;
    try {
      writeFileSync(join(path, 'cpuset.cpus'), '0');
    } catch {
      skip('the container has no cpuset controller on this host');
    }
    expect(await say('cat /sys/devices/system/cpu/online')).toBe('0');
    expect(await say('grep -c ^processor /proc/cpuinfo')).toBe('1');
    await container.kill();
  });

  test('ENV-47: LXCFS itself where the root file system has its directory, and ENV-35 with it', async () => {
    await lxcfs.start();
    const script = `
      echo '@@ memory'; head -n 1 ${lxcfs.path}/proc/meminfo
      echo '@@ mounts'; cat /proc/self/mountinfo
      echo '@@ nested'; unshare -Urpfn --mount-proc sh -c 'echo "nested $$"; mount -t sysfs sys /sys && echo sysfs' 2>&1
      echo '@@ end'`;
    // Made in the shared tree, so that it is there in every layer above it.
    mkdirSync(join(rig.rootfs, lxcfs.path), { recursive: true });
    const { text } = await rig.run({ mode, supervisor, script, limits, security: { nesting: true } });
    const report = sections(text);
    expect(report.get('memory'), text).toEqual([LIMITED]);
    const own = mountAt(parseMounts(report.get('mounts') ?? []), lxcfs.path);
    expect(own).toMatchObject({ type: 'fuse.lxcfs', root: '/' });
    expect(own.options).toEqual(expect.arrayContaining(['ro', 'nosuid', 'nodev', 'noexec']));
    expect(report.get('nested')).toEqual(['nested 1', 'sysfs']);
  });

  test('ENV-49: its end and its return under a running container are told, and read as nothing but that', async () => {
    await lxcfs.start();
    const { container, say } = await shell(mode);
    const codes = notices(container);
    await lxcfs.kill();
    await until(() => codes.length > 0, 'its end is told');
    expect(codes).toEqual(['lxcfs-lost']);
    // The kernel's own again, not "transport endpoint is not connected".
    expect(await say(MEMORY)).toMatch(/^MemTotal: +\d+ kB$/);
    expect(await say('cat /proc/self/mountinfo')).not.toContain('lxcfs');
    lxcfs.unmount();
    await lxcfs.start();
    await until(() => codes.length > 1, 'its return is told');
    expect(codes).toEqual(['lxcfs-lost', 'lxcfs-bound']);
    expect(await say(MEMORY)).toBe(LIMITED);
    expect(Number(await say('cat /proc/self/mountinfo | grep -c "/proc/meminfo "'))).toBe(1);
    await container.kill();
  });
});

test('ENV-49: a restart that nobody saw happen: the new files are in place of the dead ones, in every container', async () => {
  await lxcfs.start();
  const shells = [await shell('unprivileged'), await shell('privileged')];
  const off = await shell('unprivileged', { lxcfs: 'off' });
  const codes = shells.map(({ container }) => notices(container));
  await lxcfs.kill();
  lxcfs.unmount();
  await lxcfs.start();
  await until(() => codes.every(list => list.includes('lxcfs-bound')), 'it is told of each');
  for (const { container, say } of shells) {
    expect(await say(MEMORY)).toBe(LIMITED);
    const mounts = readFileSync(`/proc/${container.pid}/mountinfo`, 'utf8');
    expect(mounts.split('\n').filter(line => line.includes(' /proc/uptime '))).toHaveLength(1);
  }
  expect(readFileSync(`/proc/${off.container.pid}/mountinfo`, 'utf8')).not.toContain('lxcfs');
});

test('ENV-49: an adopted container gets the files of an LXCFS that was restarted meanwhile', async () => {
  await lxcfs.start();
  const stateDir = rig.stateDir();
  const first = await rig.open({ stateDir, lxcfs: lxcfs.path });
  // Its console goes with the first supervisor: a shell would end with it.
  const { name, pid } = await rig.start({ supervisor: first, limits, init: '/bin/sleep', args: ['1000'] });
  await rig.close(first);
  await lxcfs.kill();
  lxcfs.unmount();
  await lxcfs.start();
  const next = await rig.open({ stateDir, lxcfs: lxcfs.path });
  const bound = (): boolean => {
    const device = readFileSync('/proc/self/mountinfo', 'utf8')
      .split('\n')
      .find(line => line.split(' ')[4] === lxcfs.path)
      ?.split(' ')[2];
    return readFileSync(`/proc/${pid}/mountinfo`, 'utf8')
      .split('\n')
      .some(line => line.includes(' /proc/meminfo ') && line.split(' ')[2] === device);
  };
  await until(bound, 'the new files are mounted');
  expect(next.get(name).state).toBe('running');
});

describe('ENV-44', () => {
  test('one that takes requests and never answers: who waits cannot be killed, but nobody else comes to wait', async () => {
    const server = new MuteServer(lxcfs.path, 'fuse.lxcfs');
    try {
      const second = await rig.open({ lxcfs: lxcfs.path });
      expect(second.facts.lxcfs).toEqual({ state: 'hung', path: lxcfs.path });
      expect(server.taken).toBe(1);
      const container = await rig.start({ supervisor: second, init: '/bin/sleep', args: ['1000'] });
      expect(told(container)).toEqual(['lxcfs-hung']);
      // Meanwhile it is looked at again.
      await new Promise(resolve => setTimeout(resolve, 6000));
      expect(await rig.run({ supervisor: second, script: MEMORY })).toMatchObject({ end: { exit: { status: 0 } } });
      expect(server.taken).toBe(1);
      await container.kill();
      await rig.close(second);
    } finally {
      server.end();
    }
  });

  test('an empty directory, or a file system of another kind, is no LXCFS', async () => {
    expect((await timedStart()).codes).toEqual(['lxcfs-absent']);
    expect(supervisor.facts.lxcfs).toEqual({ state: 'absent', path: lxcfs.path });
    const other = rig.directory('other');
    mkdirSync(join(other, 'proc'));
    const second = await rig.open({ lxcfs: other });
    expect(second.facts.lxcfs).toMatchObject({ state: 'absent' });
    expect((await rig.open({ lxcfs: false })).facts.lxcfs).toBeNull();
    await expect(rig.open({ lxcfs: 'relative' })).rejects.toMatchObject({ code: 'SPEC_INVALID', field: 'lxcfs' });
  });

  test('it is found when it comes after the supervisor was opened, and not when the spec says off', async () => {
    expect((await timedStart()).codes).toEqual(['lxcfs-absent']);
    await lxcfs.start();
    const [on, off] = [
      await rig.run({ supervisor, limits, script: MEMORY }),
      await rig.run({ supervisor, limits, script: MEMORY, lxcfs: 'off' }),
    ];
    expect(on.lines).toEqual([LIMITED]);
    expect(off.lines).not.toEqual([LIMITED]);
  });

  test('one that was killed: nothing is bound, the report says so, and the start is as quick as ever', async () => {
    await lxcfs.start();
    await timedStart();
    await lxcfs.kill();
    const { ms, codes } = await timedStart();
    expect(codes).toEqual(['lxcfs-dead']);
    expect(ms).toBeLessThan(slow(2000));
    const { lines, text } = await rig.run({ supervisor, script: `${MEMORY}; grep -c lxcfs /proc/self/mountinfo` });
    expect(lines, text).toEqual([expect.stringMatching(/^MemTotal/), '0']);
  });

  test('one that hangs: no start hangs, only the first waits a little, and it is bound once it goes on', async () => {
    await lxcfs.start();
    await timedStart();
    lxcfs.signal('SIGSTOP');
    const first = await timedStart();
    expect(first.codes).toEqual(['lxcfs-hung']);
    expect(first.ms).toBeLessThan(slow(3000));
    const { container, say } = await shell('unprivileged');
    const codes = notices(container);
    expect(told(container)).toEqual(['lxcfs-hung']);
    expect(await say(MEMORY)).not.toBe(LIMITED);
    lxcfs.signal('SIGCONT');
    await until(() => codes.includes('lxcfs-bound'), 'it is bound', slow(20_000));
    expect(await say(MEMORY)).toBe(LIMITED);
    await container.kill();
  });

  test('one that is stopped in the middle of starts, and goes on after them: every start comes to its end', async () => {
    await lxcfs.start();
    for (let round = 0; round < 15; round++) {
      const stop = setTimeout(() => lxcfs.signal('SIGSTOP'), (round % 5) * SLOWNESS);
      const { ms } = await timedStart();
      clearTimeout(stop);
      expect(ms).toBeLessThan(slow(5000));
      lxcfs.signal('SIGCONT');
    }
  });
});

test('ENV-49: a payload whose /proc never answers holds up nobody', async () => {
  await lxcfs.start();
  // The kernel lets nobody from outside into what is mounted in a user namespace: there it would be refused at once.
  const hostile = await shell('privileged');
  const other = await shell('unprivileged');
  const seen = notices(other.container);
  const refused = notices(hostile.container);
  // A FUSE mount whose server never says a word: whoever walks through it waits.
  await hostile.say('exec 3<>/dev/fuse; mount -t fuse -o fd=3,rootmode=40000,user_id=0,group_id=0 x /proc; echo $?');
  expect(readFileSync(`/proc/${hostile.container.pid}/mountinfo`, 'utf8')).toMatch(/ \/proc .* fuse x /);
  await lxcfs.kill();
  lxcfs.unmount();
  await lxcfs.start();
  await until(() => seen.includes('lxcfs-bound') && refused.includes('lxcfs-lost'), 'both are told', slow(20_000));
  expect(await other.say(MEMORY)).toBe(LIMITED);
  expect((await timedStart()).codes).toEqual([]);
  for (const { container } of [hostile, other]) await container.kill();
});
