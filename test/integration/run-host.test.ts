/** /run/host: what the host tells the payload, and where (host-interface.md §5). */
import { execFileSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { mountAt, parseMounts, sections } from '../lib/report.ts';
import { MODES, useRig } from '../lib/rig.ts';
import { startShell } from '../lib/shell.ts';

const rig = useRig();

const OS_RELEASE = ['/etc/os-release', '/usr/lib/os-release'].find(path => existsSync(path));
const INACCESSIBLE = ['reg', 'dir', 'fifo', 'sock', 'chr', 'blk'];

const REPORT = `
exec 2>&1
echo '@@ mounts'; cat /proc/self/mountinfo
echo '@@ list'; ls -1A /run/host
echo '@@ files'; cd /run/host; stat -c '%n|%F|%u:%g|%a' * .
echo '@@ inaccessible'; cd inaccessible; stat -c '%n|%F|%u:%g|%a|%t:%T' ${INACCESSIBLE.join(' ')}
echo '@@ manager'; cat -A ../container-manager
echo '@@ uuid'; cat -A ../container-uuid
echo '@@ os-release'; cat ../os-release
echo '@@ writes'
cd /run/host
touch x; rm -f container-manager; mkdir inaccessible/y; echo > inaccessible/reg; echo > os-release
[ $(head -1 /proc/self/uid_map | tr -s ' ' | cut -d' ' -f3) = 0 ] || mount -o remount,rw,bind /run/host/incoming
echo '@@ incoming'; touch incoming/z; mkdir incoming/z; chmod 777 incoming; mount -t tmpfs x incoming/y
echo '@@ nobody'; su -s /bin/sh -c 'cat /run/host/container-manager; cat /proc/1/environ' nobody
echo '@@ end'
`;

describe.each(MODES)('%s', mode => {
  let report: Map<string, string[]>;
  const section = (name: string): string[] => report.get(name) ?? [];
  let uuid = '';
  let root = 0;

  beforeAll(async () => {
    const tree = rig.tree();
    for (const applet of ['su', 'mount', 'chmod', 'cut']) symlinkSync('busybox', join(tree, 'bin', applet));
    writeFileSync(join(tree, 'etc/passwd'), 'root::0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n');
    const { text, container } = await rig.run({ mode, script: REPORT, rootfs: { path: tree, overlay: 'ephemeral' } });
    report = sections(text);
    expect(report.has('end'), text).toBe(true);
    root = container.spec.idmap?.first ?? 0;
    // What an image without a machine id is given.
    const write = container.plan().steps.find(step => step.id === 'mounting.machine-id');
    uuid = write?.action.op === 'machine-id.read' ? write.action.fallback : '';
  });

  test('HST-32: /run is a tmpfs of the runtime, /run/host a mount of its own, read-only', () => {
    const mounts = parseMounts(section('mounts'));
    expect(mountAt(mounts, '/run')).toMatchObject({ type: 'tmpfs', root: '/' });
    expect(mountAt(mounts, '/run').options).toEqual(expect.arrayContaining(['rw', 'nosuid', 'nodev']));
    expect(mountAt(mounts, '/run').superOptions).toContain('mode=755');
    expect(mountAt(mounts, '/run/host').type).toBe('tmpfs');
    expect(mountAt(mounts, '/run/host').options).toEqual(expect.arrayContaining(['ro', 'nosuid', 'nodev', 'noexec']));
    const writes = section('writes');
    expect(writes).toHaveLength(5);
    for (const line of writes) expect(line).toContain('Read-only file system');
  });

  test('HST-33: incoming has mode 0600, is read-only, and listens to the host without telling it anything', () => {
    expect(section('files')).toContain(`incoming|directory|${root === 0 ? '0:0' : '65534:65534'}|600`);
    const mount = mountAt(parseMounts(section('mounts')), '/run/host/incoming');
    expect(mount.propagation).toEqual([expect.stringMatching(/^master:\d+$/)]);
    expect(mount.options).toEqual(expect.arrayContaining(['ro', 'nosuid', 'nodev', 'noexec']));
  });

  test('HST-33: the payload cannot write incoming; in a user namespace not even when it lifts the read-only', () => {
    // Root of the host could lift what root of the host has set: a privileged container is no boundary.
    const why = mode === 'unprivileged' ? /Permission denied|Operation not permitted/ : /Read-only|No such file/;
    expect(section('incoming')).toHaveLength(4);
    for (const line of section('incoming')) expect(line).toMatch(why);
  });

  test('HST-36: inaccessible nodes of each type, mode 000, devices 0:0, owned by root', () => {
    expect(section('files')).toContain('inaccessible|directory|0:0|755');
    expect(section('inaccessible')).toEqual([
      'reg|regular empty file|0:0|0|0:0',
      'dir|directory|0:0|0|0:0',
      'fifo|fifo|0:0|0|0:0',
      'sock|socket|0:0|0|0:0',
      'chr|character special file|0:0|0|0:0',
      'blk|block special file|0:0|0|0:0',
    ]);
  });

  test("HST-38: os-release is the host's", () => {
    if (OS_RELEASE === undefined) expect(section('os-release').join('\n')).toContain('No such file');
    else
      expect(`${section('os-release').join('\n')}\n`).toBe(readFileSync(OS_RELEASE, 'utf8').replaceAll('\n\n', '\n'));
  });

  test('HST-39: container-manager is the value of container=, with a newline, mode 0444', () => {
    expect(section('manager')).toEqual(['lxc$']);
    expect(section('files')).toContain('container-manager|regular file|0:0|444');
  });

  test('HST-40: container-uuid is dashed, in lower case, with a newline, mode 0444', () => {
    expect(uuid).toMatch(/^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$/);
    expect(section('uuid')).toEqual([`${uuid}$`]);
    expect(section('files')).toContain('container-uuid|regular file|0:0|444');
  });

  test('HST-44: nothing else of ours is there', () => {
    const known = ['container-manager', 'container-uuid', 'credentials', 'inaccessible', 'incoming', 'notify'];
    expect(section('list').sort()).toEqual([...known, ...(OS_RELEASE === undefined ? [] : ['os-release'])].sort());
    expect(section('files')).toContain('.|directory|0:0|755');
  });

  test('HST-55: anybody can tell that this is a container, root also by the environment of PID 1', () => {
    expect(section('nobody')[0]).toBe('lxc');
    expect(section('nobody')[1]).toMatch(/environ.*Permission denied/);
  });

  test('HST-33: what the host mounts below its side shows up inside, and goes again', async () => {
    const { container, say } = await startShell(rig, mode);
    const incoming = join(container.runDir, 'incoming');
    expect(statSync(incoming)).toMatchObject({ uid: 0, mode: 0o40600 });
    const place = join(incoming, 'staged');
    mkdirSync(place);
    try {
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'mode=755', 'caisson-test', place]);
      try {
        writeFileSync(join(place, 'hello'), 'from the host\n');
        expect(await say("grep -c ' /run/host/incoming/staged ' /proc/mounts")).toBe('1');
        // What is in there is for a helper of the host to move, not for the payload.
        const read = await say('cat /run/host/incoming/staged/hello 2>&1');
        expect(read).toMatch(mode === 'privileged' ? /^from the host$/ : /Permission denied/);
      } finally {
        execFileSync('umount', [place]);
      }
      expect(await say('grep -c staged /proc/mounts')).toBe('0');
      expect(readdirSync(place)).toEqual([]);
      // The other direction is closed.
      if (mode === 'privileged') {
        expect(await say('mount -t tmpfs inside /run/host/incoming/staged && echo mounted')).toBe('mounted');
        expect(readFileSync('/proc/self/mountinfo', 'utf8')).not.toContain(place);
        await say('umount /run/host/incoming/staged');
      }
    } finally {
      rmdirSync(place);
    }
    await container.kill();
    expect(existsSync(incoming)).toBe(false);
  });

  test('HST-32: an image without /run starts, and the report says what it does without', async () => {
    const tree = rig.tree();
    rmSync(join(tree, 'run'), { recursive: true });
    const { lines, container } = await rig.run({
      mode,
      script: 'ls -d /run; grep -c /run /proc/mounts',
      rootfs: { path: tree, overlay: 'ephemeral' },
    });
    expect(lines).toEqual([expect.stringContaining('No such file'), '0']);
    const skipped = container.report().entries.filter(({ what }) => what.includes('/run'));
    expect(skipped.length).toBeGreaterThan(3);
    for (const entry of skipped) {
      expect(entry).toMatchObject({ outcome: 'skipped', code: 'step', why: 'ENOENT: the image has no /run' });
    }
  });

  test('HST-32: a /run that is a symlink out of the tree is resolved inside it', async () => {
    const tree = rig.tree();
    const target = rig.directory('outside');
    rmSync(join(tree, 'run'), { recursive: true });
    symlinkSync(target, join(tree, 'run'));
    await rig.run({ mode, script: 'true', rootfs: { path: tree, overlay: 'ephemeral' } });
    expect(readFileSync('/proc/self/mountinfo', 'utf8')).not.toContain(target);
  });
});

test('HST-33: what a privileged payload wrote into incoming, over its read-only flag, goes with its life', async () => {
  const { container, say } = await startShell(rig, 'privileged');
  const incoming = join(container.runDir, 'incoming');
  const spoil = `
    mount -o remount,rw,bind /run/host/incoming
    mkdir -p /run/host/incoming/a/b; echo x > /run/host/incoming/a/b/c; mkfifo /run/host/incoming/pipe
    ln -s /run/host/container-manager /run/host/incoming/link`;
  await say(spoil.trim().replaceAll('\n', ';'));
  expect(readdirSync(incoming).sort()).toEqual(['a', 'link', 'pipe']);
  const events: string[] = [];
  container.on('event', event => {
    if (event.type === 'notice') events.push(event.code);
  });
  await container.kill();
  expect(container.state).toBe('stopped');
  expect(existsSync(container.runDir)).toBe(false);
  expect(events).toEqual([]);
});

test('HST-39: container-manager follows the type; HST-38: a host without os-release is no matter', async () => {
  const { lines } = await rig.run({ type: 'caisson', script: 'cat /run/host/container-manager' });
  expect(lines).toEqual(['caisson']);
  const faulty = await rig.open({ faults: { 'mounting.os-release.open': 2 } });
  const { lines: list, container } = await rig.run({ supervisor: faulty, script: 'ls -1 /run/host' });
  expect(list).not.toContain('os-release');
  expect(container.report().entries).toContainEqual({
    outcome: 'skipped',
    code: 'step',
    what: "the host's os-release",
    why: 'ENOENT: the host has no os-release',
  });
});
