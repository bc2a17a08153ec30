/** What the payload sees of its cgroups in each layout, and where it sits on the host (ENV-40 to ENV-43, HST-10). */

import { existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { Container, HostFacts } from 'caisson';
import { describe, expect, test } from 'vitest';
import { outerV2 } from '../lib/place.ts';
import { mountAt, parseMounts, sections } from '../lib/report.ts';
import { finish, MODES, useRig, waitForText } from '../lib/rig.ts';

const rig = useRig();

const facts = (): HostFacts['cgroups'] => rig.supervisor.facts.cgroups;
const isHybrid = (): boolean => facts().v1.length > 0 && facts().v2 !== null;

/** Host directories of a container, outer ones. */
function outer(container: Container): { v1: { name: string; path: string }[]; v2: string | null } {
  const { prefix, v1 } = facts();
  const below = `${prefix}/${container.name}`;
  return {
    v1: v1.map(({ name, base }) => ({ name, path: join(base, below) })),
    v2: outerV2(rig.supervisor.facts, container.name),
  };
}

const pidsOf = (path: string): number[] =>
  readFileSync(join(path, 'cgroup.procs'), 'utf8').split('\n').filter(Boolean).map(Number);

const LOOK = `
echo '@@ mounts'; grep ' /sys/fs/cgroup' /proc/self/mountinfo
echo '@@ own'; cat /proc/1/cgroup
echo '@@ hierarchies'; ls -1 /sys/fs/cgroup
cd /sys/fs/cgroup
echo '@@ owned'; find . -maxdepth 2 -user 0 | sort
echo '@@ make'; for h in . */; do [ -e $h/cgroup.procs ] || continue; mkdir $h/sub 2>/dev/null && echo $h; done
echo '@@ move'; [ -e sub ] && echo 0 > sub/cgroup.procs && grep '^0::' /proc/self/cgroup && echo 0 > cgroup.procs
echo '@@ limits'
for f in cgroup.max.depth cgroup.max.descendants memory.max pids.max */memory.limit_in_bytes */pids.max; do
  [ -e $f ] || continue
  echo 7 > $f && echo "$f written"
done
echo '@@ tmpfs'; mkdir /sys/fs/cgroup/mine
echo '@@ end'
`;

describe('unprivileged', () => {
  test('ENV-40, ENV-41: unified layout; the payload manages groups below its own, and no limit', async () => {
    if (facts().v2 === null) {
      await expect(rig.start({ cgroups: { layout: 'unified' } })).rejects.toMatchObject({ field: 'cgroups.layout' });
      return;
    }
    const { text } = await rig.run({ script: LOOK, cgroups: { layout: 'unified' } });
    const report = sections(text);
    expect(report.has('end'), text).toBe(true);
    expect(parseMounts(report.get('mounts') ?? [])).toMatchObject([
      { point: '/sys/fs/cgroup', type: 'cgroup2', root: '/' },
    ]);
    const delegated = facts().delegate;
    expect(delegated).toEqual(expect.arrayContaining(['cgroup.procs', 'cgroup.threads', 'cgroup.subtree_control']));
    const owned = report.get('owned') ?? [];
    expect(owned).toEqual(
      expect.arrayContaining(['.', './cgroup.procs', './cgroup.threads', './cgroup.subtree_control']),
    );
    for (const path of owned) expect(path === '.' || delegated.includes(path.slice(2)), path).toBe(true);
    expect(report.get('make')).toEqual(['.']);
    expect(report.get('move')).toEqual(['0::/sub']);
    const limits = report.get('limits') ?? [];
    expect(limits.length).toBeGreaterThan(0);
    for (const line of limits) expect(line).toMatch(/Permission denied|Operation not permitted/);
  });

  test.each(['hybrid', 'legacy'] as const)(
    'ENV-40, HST-10: %s layout; only name=systemd and cgroup2 are writable',
    async layout => {
      if (!isHybrid()) {
        const has = { hybrid: false, legacy: facts().v2 === null }[layout];
        const started = rig.start({ cgroups: { layout }, init: '/bin/true' });
        if (has) await started;
        else await expect(started).rejects.toMatchObject({ code: 'SPEC_INVALID', field: 'cgroups.layout' });
        return;
      }
      const { text } = await rig.run({ script: LOOK, cgroups: { layout } });
      const report = sections(text);
      expect(report.has('end'), text).toBe(true);
      const mounts = parseMounts(report.get('mounts') ?? []);
      const names = [...facts().v1.map(({ name }) => name), ...(layout === 'hybrid' ? ['unified'] : [])].sort();
      expect(report.get('hierarchies')?.sort()).toEqual(names);
      expect(mounts.map(({ point }) => point).sort()).toEqual(
        ['/sys/fs/cgroup', ...names.map(name => `/sys/fs/cgroup/${name}`)].sort(),
      );
      const tmpfs = mountAt(mounts, '/sys/fs/cgroup');
      expect(tmpfs.type).toBe('tmpfs');
      expect(tmpfs.options).toEqual(expect.arrayContaining(['ro', 'nosuid', 'nodev', 'noexec']));
      expect(tmpfs.superOptions).toEqual(expect.arrayContaining(['mode=755', 'size=10240k']));
      for (const name of names) {
        const mount = mountAt(mounts, `/sys/fs/cgroup/${name}`);
        expect(mount, name).toMatchObject({ root: '/', type: name === 'unified' ? 'cgroup2' : 'cgroup' });
        expect(mount.options, name).toEqual(expect.arrayContaining(['nosuid', 'nodev', 'noexec', 'relatime']));
      }
      // ENV-42: and that place is what is mounted.
      for (const line of report.get('own') ?? []) expect(line).toMatch(/^\d+:[^:]*:\/$/);
      const writable = ['systemd/', ...(layout === 'hybrid' ? ['unified/'] : [])];
      expect(report.get('make')).toEqual(writable);
      for (const line of report.get('limits') ?? [])
        expect(line).toMatch(/Permission denied|Operation not permitted|Read-only file system/);
      expect(report.get('limits')?.length).toBeGreaterThanOrEqual(2);
      expect(report.get('tmpfs')).toEqual([expect.stringContaining('Read-only file system')]);
    },
  );
});

describe('privileged', () => {
  test.each(['unified', 'hybrid', 'legacy'] as const)('ENV-40, HST-10: %s layout', async layout => {
    const look = `grep ' /sys/fs/cgroup' /proc/self/mountinfo; cd /sys/fs/cgroup
      for h in . */; do [ -e $h/cgroup.procs ] && mkdir $h/sub 2>/dev/null && rmdir $h/sub && echo $h; done; true`;
    const spec = { mode: 'privileged', cgroups: { layout }, script: look } as const;
    const possible = { unified: facts().v2 !== null, hybrid: isHybrid(), legacy: facts().v1.length > 0 }[layout];
    if (!possible) {
      await expect(rig.run(spec)).rejects.toMatchObject({ code: 'SPEC_INVALID', field: 'cgroups.layout' });
      return;
    }
    const { lines, end } = await rig.run(spec);
    expect(end.exit).toMatchObject({ kind: 'exit', status: 0 });
    const mounts = parseMounts(lines.filter(line => line.includes(' - ')));
    // HST-10: host root owns every file there; of v1 only the named hierarchy is not read-only.
    const writable = { unified: ['.'], hybrid: ['systemd/', 'unified/'], legacy: ['systemd/'] }[layout];
    expect(lines.filter(line => !line.includes(' - '))).toEqual(writable);
    const count = { unified: 1, hybrid: facts().v1.length + 2, legacy: facts().v1.length + 1 }[layout];
    expect(mounts).toHaveLength(count);
    for (const mount of mounts) expect(mount.root, mount.point).toBe('/');
  });
});

describe('ENV-41: a payload that mounts v1 hierarchies itself', () => {
  const limits = { memory: 64 << 20, pids: 40 };
  const script = `
    mknod /root/x b 8 0
    for h in devices memory pids; do mkdir -p /tmp/$h; mount -t cgroup -o $h none /tmp/$h && echo "$h mounted"; done
    cd /tmp
    echo a > devices/devices.allow && echo 'devices widened'
    for f in memory/memory.limit_in_bytes pids/pids.max; do echo 999999999 > $f; done
    echo ready; sleep 1000`;

  test.each(MODES)('%s: cannot undo its limits and its device policy', async mode => {
    const limited = facts().v1.filter(({ controllers }) =>
      controllers.some(name => ['devices', 'memory', 'pids'].includes(name)),
    );
    if (limited.length === 0) {
      console.log('not tried: this host has no v1 controllers to mount');
      return;
    }
    const container = await rig.start({ mode, init: '/bin/sh', args: ['-c', script], limits });
    const text = await waitForText(container, 'ready');
    expect(text).not.toContain('devices widened');
    // Privileged it can mount them, or this test tries nothing.
    if (mode === 'privileged') expect(text).toContain('devices mounted');
    for (const { base, controllers } of limited) {
      const outside = (file: string): string =>
        readFileSync(join(base, facts().prefix, container.name, file), 'utf8').trim();
      if (controllers.includes('memory')) expect(outside('memory.limit_in_bytes')).toBe(String(limits.memory));
      if (controllers.includes('pids')) expect(outside('pids.max')).toBe(String(limits.pids));
      if (controllers.includes('devices')) expect(outside('devices.list')).not.toMatch(/^a /m);
    }
  });
});

describe.each(MODES)('%s', mode => {
  test('ENV-41, ENV-43: PID 1 sits in a leaf of each hierarchy, limits are on the outer group', async () => {
    const limits = { memory: 64 * 1024 * 1024, pids: 50 };
    const container = await rig.start({ mode, init: '/bin/sleep', args: ['1000'], limits });
    const { pid } = container;
    const { v1, v2 } = outer(container);
    if (v2 !== null) {
      expect(pidsOf(join(v2, 'payload'))).toEqual([pid]);
      expect(pidsOf(v2)).toEqual([]);
      expect(statSync(v2)).toMatchObject({ uid: 0, gid: 0 });
      expect(existsSync(join(v2, 'cgroup.kill')), 'cgroup.kill of 5.14').toBe(true);
    }
    for (const { name, path } of v1) {
      expect(readFileSync(`/proc/${pid}/cgroup`, 'utf8'), name).toMatch(
        new RegExp(`${facts().prefix}[-/]${container.name}`),
      );
      expect(statSync(path), name).toMatchObject({ uid: 0, gid: 0 });
    }
    const read = (controller: string, one: string, two: string): number => {
      const hierarchy = facts().v1.find(({ controllers }) => controllers.includes(controller));
      const path =
        hierarchy === undefined
          ? join(outerV2(rig.supervisor.facts, container.name) ?? '', two)
          : join(hierarchy.base, facts().prefix, container.name, one);
      return Number(readFileSync(path, 'utf8'));
    };
    expect(read('memory', 'memory.limit_in_bytes', 'memory.max')).toBe(limits.memory);
    expect(read('pids', 'pids.max', 'pids.max')).toBe(limits.pids);
    const ended = finish(container);
    await container.kill();
    expect(await ended).toMatchObject({ state: 'stopped', forced: true, exit: { kind: 'killed', requested: true } });
    for (const { path } of v1) expect(existsSync(path), path).toBe(false);
    if (v2 !== null) expect(existsSync(v2)).toBe(false);
  });

  test('ENV-41: groups the payload made, and processes in them, go with it', async () => {
    const script = `
      mkdir -p /sys/fs/cgroup/a/b /sys/fs/cgroup/c || exit 9
      for g in a/b c; do sh -c "echo 0 > /sys/fs/cgroup/$g/cgroup.procs && exec sleep 1000" & done
      while [ -z "$(cat /sys/fs/cgroup/a/b/cgroup.procs)" ] || [ -z "$(cat /sys/fs/cgroup/c/cgroup.procs)" ]; do :; done
      echo made; sleep 1000`;
    if (facts().v2 === null) return;
    const container = await rig.start({ mode, init: '/bin/sh', args: ['-c', script] });
    await waitForText(container, 'made');
    const end = await container.stop({ timeout: 0 });
    expect(end).toMatchObject({ state: 'stopped', forced: true });
    await rig.expectNothingLeft();
  });
});

describe.each(MODES)('a host with cgroup v1 only (facts without the v2 tree), %s', mode => {
  test('ENV-40: a container starts with the legacy layout, freezes by the v1 freezer, and leaves nothing', async () => {
    if (facts().v1.length === 0) {
      console.log('not tried: this host has no cgroup v1 hierarchy');
      return;
    }
    const supervisor = await rig.openWith({ v2: null });
    const script = `grep -c ' /sys/fs/cgroup/.* - cgroup ' /proc/self/mountinfo; i=0; while :; do i=$((i+1)); echo $i > /tmp/count; done`;
    const container = await rig.start({ supervisor, mode, init: '/bin/sh', args: ['-c', script] });
    const text = await waitForText(container, /\d+\r\n/);
    expect(Number(text)).toBe(facts().v1.length);
    const freezer = facts().v1.find(({ controllers }) => controllers.includes('freezer'));
    const prefix = supervisor.facts.cgroups.prefix;
    await container.freeze();
    const state = (): string =>
      readFileSync(join(freezer?.base ?? '', prefix, container.name, 'freezer.state'), 'utf8').trim();
    expect(state()).toBe('FROZEN');
    await container.unfreeze();
    expect(state()).toBe('THAWED');
    await container.freeze();
    expect(await container.kill()).toMatchObject({ exit: { kind: 'killed' } });
  });
});
