/** Root file systems from tar archives: unpacked once, shared by many, and nothing that a hostile one could reach. */
import { execFileSync } from 'node:child_process';
import {
  copyFileSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import type { CaissonEvent, Supervisor } from 'caisson';
import { beforeAll, describe, expect, test } from 'vitest';
import { IMAGE_TIMEOUT_MS, image } from '../lib/images.ts';
import { booted, inside } from '../lib/inside.ts';
import { until, useRig } from '../lib/rig.ts';
import { slow } from '../lib/slow.ts';
import { type TarMember, tarOf } from '../lib/tar.ts';
import { Victim } from '../lib/victim.ts';

const rig = useRig();

const layersOf = ({ stateDir }: Supervisor): string[] => {
  const path = join(stateDir, '.layers');
  return existsSync(path) ? readdirSync(path) : [];
};
const treeIn = (supervisor: Supervisor): string =>
  join(supervisor.stateDir, '.layers', layersOf(supervisor)[0] ?? '', 'tree');

/** `tar` of a tree, with everything that it has; returns the path of the archive. */
function pack(tree: string, name: string, ...options: string[]): string {
  const file = join(rig.directory('archive'), name);
  execFileSync('tar', ['--numeric-owner', '--xattrs', '--xattrs-include=*', '-C', tree, ...options, '-cf', file, '.']);
  return file;
}

function handMade(...members: TarMember[]): string {
  const file = join(rig.directory('archive'), 'made.tar');
  writeFileSync(file, tarOf(...members));
  return file;
}

describe('an archive', () => {
  test.each([
    ['plain', []],
    ['gzip', ['--gzip']],
    ['xz', ['--xz']],
    ['zstd', ['--zstd']],
  ])('%s: is known by what it begins with, and boots', async (_, options) => {
    // The name says nothing, or something wrong.
    const archive = pack(rig.rootfs, 'rootfs.zip', ...options);
    const { lines } = await rig.run({
      rootfs: { archive },
      script: 'stat -c %u:%g /bin/busybox; touch /mark; cat /proc/mounts',
    });
    expect(lines[0]).toBe('0:0');
    expect(lines[1]).toMatch(/^\S+ \/ overlay /);
    expect(lines.join('\n')).not.toContain('.layers');
  });

  test('eight creates at the same time unpack it once; the last container that goes takes the layer along', async () => {
    const supervisor = await rig.open();
    const told: CaissonEvent[] = [];
    supervisor.on(event => void told.push(event));
    const node = join(rig.directory('node'), 'made.tar');
    const tree = pack(rig.tree(), 'tree.tar');
    // Two names of one content, and a device node: that it is left out is told once for each time it is unpacked.
    const bytes = Buffer.concat([tarOf({ name: 'dev/sda', type: '4' }).subarray(0, 512), readFileSync(tree)]);
    for (const path of [node, tree]) writeFileSync(path, bytes);
    const containers = await Promise.all(
      Array.from({ length: 8 }, (_, index) => {
        const rootfs = {
          archive: index % 2 === 0 ? node : tree,
          overlay: index < 4 ? 'ephemeral' : 'persistent',
        } as const;
        return rig.create({ supervisor, rootfs, init: '/bin/sh', args: ['-c', 'echo $HOSTNAME > /mine; sleep 100'] });
      }),
    );
    expect(layersOf(supervisor)).toHaveLength(1);
    expect(statSync(join(supervisor.stateDir, '.layers')).mode & 0o777).toBe(0o700);
    expect(told.filter(event => event.type === 'notice' && event.code === 'archive-left-out')).toHaveLength(1);
    expect(existsSync(join(treeIn(supervisor), 'dev/sda'))).toBe(false);
    await Promise.all(containers.map(container => container.start()));
    const owners = containers.map(({ spec }) => spec.idmap?.first);
    expect(new Set(owners).size).toBe(8);
    for (const container of containers) expect((await inside(container, 'stat -c %u /bin')).text).toBe('0');
    expect(existsSync(join(treeIn(supervisor), 'mine'))).toBe(false);
    await Promise.all(containers.map(container => container.kill()));
    for (const container of containers) {
      expect(layersOf(supervisor)).toHaveLength(1);
      await supervisor.remove(container.name);
    }
    expect(layersOf(supervisor)).toEqual([]);
  });

  test('is needed no more once it is unpacked; the next supervisor has the layer, and removes it in time', async () => {
    const stateDir = rig.stateDir();
    const supervisor = await rig.open({ stateDir });
    const archive = pack(rig.rootfs, 'rootfs.tar');
    const spec = {
      rootfs: { archive, overlay: 'persistent' as const },
      init: '/bin/sh',
      args: ['-c', 'echo run >> /count'],
    };
    const { name } = await rig.create({ supervisor, ...spec });
    await supervisor.get(name).start();
    await supervisor.get(name).wait();
    await rig.close(supervisor);
    writeFileSync(archive, 'something else');
    const next = await rig.open({ stateDir });
    await next.get(name).start();
    await next.get(name).wait();
    expect(readFileSync(join(stateDir, name, 'overlay/upper/count'), 'utf8')).toBe('run\nrun\n');
    expect(next.get(name).spec.rootfs).toMatchObject({ path: archive, kind: 'archive', overlay: 'persistent' });
    await next.remove(name);
    expect(layersOf(next)).toEqual([]);
  });

  test('can be given up while it is unpacked, and tells how far it is', async () => {
    const supervisor = await rig.open();
    const members = Array.from({ length: 40 }, (_, index) => ({ name: `f${index}`, data: Buffer.alloc(1 << 20) }));
    const archive = handMade(...members);
    const controller = new AbortController();
    const stages = new Set<string>();
    const onProgress = ({ stage }: { stage: string }): void => {
      stages.add(stage);
      if (stage === 'unpacking') controller.abort();
    };
    const spec = rig.spec('unprivileged', { rootfs: { archive } });
    await expect(supervisor.create(spec, { signal: controller.signal, onProgress })).rejects.toMatchObject({
      code: 'CANCELLED',
    });
    expect([...stages]).toEqual(['reading', 'unpacking']);
    expect(layersOf(supervisor)).toEqual([]);
    // One that waits for its turn does not wait to be given up.
    const waiting = new AbortController();
    let unpacked = false;
    const first = supervisor.create(rig.spec('unprivileged', { rootfs: { archive } })).then(() => {
      unpacked = true;
    });
    const other = handMade({ name: 'other' });
    const second = supervisor.create(rig.spec('unprivileged', { rootfs: { archive: other } }), {
      signal: waiting.signal,
    });
    setTimeout(() => waiting.abort(), 20);
    await expect(second).rejects.toMatchObject({ code: 'CANCELLED' });
    expect(unpacked).toBe(false);
    await first;
    for (const { name } of supervisor.list()) await supervisor.remove(name);
    expect(layersOf(supervisor)).toEqual([]);
    // Closing gives it up, too.
    const pending = supervisor.create(rig.spec('unprivileged', { rootfs: { archive } }));
    const refused = expect(pending).rejects.toMatchObject({ code: 'CANCELLED' });
    await rig.close(supervisor);
    await refused;
    expect(layersOf(supervisor)).toEqual([]);
  });

  test('keeps times, modes, owners, holes, hard links and attributes', async () => {
    const tree = rig.directory('tree');
    const file = join(tree, 'file');
    copyFileSync('/bin/true', file);
    execFileSync(
      'sh',
      [
        '-c',
        'chown 7:8 file; chmod 6751 file; setcap cap_net_raw+ep file; ln file again; mkfifo pipe; truncate -s 64M holes; printf x | dd of=holes bs=1 seek=30000000 conv=notrunc status=none; touch -d "2001-02-03 04:05:06.789" file .',
      ],
      { cwd: tree },
    );
    const supervisor = await rig.open();
    await rig.create({ supervisor, rootfs: { archive: pack(tree, 'tree.tar', '--sparse') } });
    const made = treeIn(supervisor);
    const at = (path: string) => statSync(join(made, path));
    expect(at('file')).toMatchObject({ uid: 7, gid: 8, mode: 0o106751, nlink: 2, ino: at('again').ino });
    expect(at('file').mtimeMs).toBe(statSync(file).mtimeMs);
    expect(at('.').mtimeMs).toBe(statSync(tree).mtimeMs);
    expect(at('pipe').isFIFO()).toBe(true);
    expect(at('holes').size).toBe(64 * 1024 ** 2);
    expect(at('holes').blocks).toBeLessThan(1000);
    expect(execFileSync('getcap', [join(made, 'file')], { encoding: 'utf8' })).toContain('file cap_net_raw=ep');
    execFileSync('cmp', [join(made, 'holes'), join(tree, 'holes')]);
  });
});

describe('Debian with systemd', () => {
  let archive = '';

  beforeAll(async () => {
    const tree = await image('debian-12');
    const more = rig.directory('more');
    mkdirSync(join(more, 'usr/local/bin'), { recursive: true });
    const busybox = join(more, 'usr/local/bin/busybox');
    copyFileSync('/bin/busybox', busybox);
    execFileSync('setcap', ['cap_net_raw,cap_kill+ep', busybox]);
    archive = join(rig.directory('archive'), 'debian.tar.zst');
    const all = ['--numeric-owner', '--acls', '--xattrs', '--xattrs-include=*', '--zstd', '-cf', archive];
    execFileSync('tar', [...all, '-C', tree, '.', '-C', more, './usr/local/bin/busybox']);
  }, IMAGE_TIMEOUT_MS);

  test(
    'HST-64 boots unprivileged to running from an archive below either layer, with its ACLs and file capabilities',
    async () => {
      const overlays = ['ephemeral', 'persistent'] as const;
      const containers = await Promise.all(overlays.map(overlay => rig.create({ rootfs: { archive, overlay } })));
      const file = join(treeIn(rig.supervisor), 'usr/local/bin/busybox');
      expect(execFileSync('getcap', [file], { encoding: 'utf8' })).toMatch(/cap_kill,cap_net_raw=ep/);
      for (const container of containers) {
        await container.start();
        expect(await booted(container)).toBe('running');
        const run = '/usr/local/bin/busybox grep CapEff /proc/self/status';
        const user = await inside(container, `setpriv --reuid 1000 --regid 1000 --clear-groups ${run}`);
        expect(user.text).toMatch(/^CapEff:\s+0000000000002020$/);
        expect((await inside(container, 'ls -ld /var/log/journal')).text).toMatch(/^drwxr-[sx]r-x\+/);
        await container.stop({ timeout: slow(30_000) });
      }
    },
    slow(120_000),
  );

  test(
    'LIF-12: kill -9 of the supervisor in the middle leaves a directory that the next one removes',
    async () => {
      const stateDir = rig.stateDir();
      const layers = join(stateDir, '.layers');
      const victim = new Victim({ stateDir, specs: [rig.spec('unprivileged', { name: 'a', rootfs: { archive } })] });
      await until(() => existsSync(layers) && readdirSync(layers).length > 0, 'it is being unpacked', slow(60_000));
      await victim.kill();
      expect(readdirSync(layers)).toEqual([expect.stringMatching(/^\.unfinished-/)]);
      const next = await rig.open({ stateDir });
      expect(next.list()).toEqual([]);
      expect(readdirSync(layers)).toEqual([]);
    },
    slow(120_000),
  );
});

describe('hostile', () => {
  const secret = (): { path: string; untouched: () => void } => {
    const path = join(rig.directory('secret'), 'file');
    writeFileSync(path, 'secret', { mode: 0o600 });
    const untouched = (): void => {
      expect(readFileSync(path, 'utf8')).toBe('secret');
      expect(lstatSync(path)).toMatchObject({ mode: 0o100600, nlink: 1 });
    };
    return { path, untouched };
  };

  /** What becomes of an archive: its error, or the tree that it made. */
  async function unpacked(archive: string, archiveLimits = {}): Promise<string> {
    const supervisor = await rig.open({ archiveLimits });
    const spec = rig.spec('unprivileged', { rootfs: { archive } });
    try {
      await supervisor.create(spec);
    } catch (error) {
      expect(layersOf(supervisor)).toEqual([]);
      expect(readdirSync(supervisor.stateDir).filter(name => !/^\.(lock|layers|journal)$/.test(name))).toEqual([]);
      throw error;
    }
    return treeIn(supervisor);
  }

  test.each<[string, RegExp, (target: string) => TarMember[]]>([
    ['..', /"\.\.\/x" leads out/, () => [{ name: '../x', data: 'pwned' }]],
    ['.. in the middle', /"a\/\.\.\/\.\.\/x" leads out/, () => [{ name: 'a/../../x', data: 'pwned' }]],
    [
      'a symlink that is written through',
      /"link\/x" lies behind a symlink/,
      target => [
        { name: 'link', type: '2', link: join(target, '..') },
        { name: 'link/file', pax: { path: 'link/x' }, data: 'pwned' },
      ],
    ],
    [
      'a directory through a symlink',
      /"link\/new\/deep" lies behind/,
      target => [
        { name: 'link', type: '2', link: join(target, '..') },
        { name: 'link/new/deep', type: '5' },
      ],
    ],
    [
      'a hard link to a file outside',
      /"h" is a link to ".*", which is not there/,
      target => [{ name: 'h', type: '1', link: target }],
    ],
    ['a hard link by ..', /"h", a link, leads out/, () => [{ name: 'h', type: '1', link: '../../../etc/passwd' }]],
    [
      'a hard link through a symlink',
      /"h" is a link to "l\/file"/,
      target => [
        { name: 'l', type: '2', link: join(target, '..') },
        { name: 'h', type: '1', link: 'l/file' },
      ],
    ],
    [
      'a hard link to a directory',
      /hard link to a directory/,
      () => [
        { name: 'd', type: '5' },
        { name: 'h', type: '1', link: 'd' },
      ],
    ],
    ['a file for the root', /takes the place of the root/, () => [{ name: './', type: '2', link: '/' }]],
    [
      'a file for a directory that is not empty',
      /"d" takes the place of a directory/,
      () => [{ name: 'd/f' }, { name: 'd', data: 'x' }],
    ],
    [
      'a name that is too long',
      /cannot be made: .*ENAMETOOLONG/,
      () => [{ name: 'n', pax: { path: 'n'.repeat(300) } }],
    ],
    ['a path that is too long', /too long a path/, () => [{ name: 'n', pax: { path: `${'n/'.repeat(3000)}x` } }]],
    ['nothing at all', /it is empty/, () => []],
  ])('%s is refused, with the member named and nothing left', async (_, message, members) => {
    const { path, untouched } = secret();
    await expect(unpacked(handMade(...members(path)))).rejects.toMatchObject({
      code: 'ARCHIVE_INVALID',
      field: 'rootfs.archive',
      message: expect.stringMatching(message),
    });
    untouched();
  });

  test('an absolute name is a place in the tree; a file takes the place of a symlink, not of what that leads to', async () => {
    const { path, untouched } = secret();
    const tree = await unpacked(
      handMade(
        { name: path, data: 'inside' },
        { name: 'device', type: '3' },
        { name: './device', data: 'a file instead' },
        { name: 'same', type: '1', link: 'device' },
        { name: 'link', type: '2', link: path },
        { name: 'link', data: 'file', mode: 0o4777 },
        { name: 'abs', type: '1', link: path },
        { name: 'dir', type: '2', link: join(path, '..') },
        { name: 'dir', type: '5', mode: 0o700 },
        { name: 'dir/file', data: 'in a directory' },
        { name: 'last', type: '2', link: path, mode: 0o777, uid: 5, mtime: 1 },
      ),
    );
    untouched();
    expect(readFileSync(join(tree, path), 'utf8')).toBe('inside');
    expect(readFileSync(join(tree, 'same'), 'utf8')).toBe('a file instead');
    expect(lstatSync(join(tree, 'link'))).toMatchObject({ mode: 0o104777 });
    expect(lstatSync(join(tree, path)).nlink).toBe(2);
    expect(readFileSync(join(tree, 'dir/file'), 'utf8')).toBe('in a directory');
    expect(lstatSync(join(tree, 'last'))).toMatchObject({ uid: 5, mtimeMs: 1000 });
  });

  test("device nodes, overlayfs' own attributes and the host's labels are left out", async () => {
    const supervisor = await rig.open();
    const told: string[] = [];
    supervisor.on(event => void (event.type === 'notice' && told.push(event.message)));
    const archive = handMade(
      { name: 'whiteout', type: '3' },
      { name: 'again', type: '1', link: './whiteout' },
      {
        name: 'dir',
        type: '5',
        pax: {
          'SCHILY.xattr.trusted.overlay.redirect': '/other',
          'SCHILY.xattr.user.overlay.opaque': 'y',
          'SCHILY.xattr.security.selinux': 'x',
          'SCHILY.xattr.user.mine': 'kept',
        },
      },
    );
    await rig.create({ supervisor, rootfs: { archive } });
    const tree = treeIn(supervisor);
    expect(readdirSync(tree)).toEqual(['dir']);
    const script = 'import os, sys; print(os.listxattr(sys.argv[1]))';
    expect(execFileSync('python3', ['-c', script, join(tree, 'dir')], { encoding: 'utf8' })).toBe("['user.mine']\n");
    expect(told).toEqual([
      expect.stringMatching(
        /2 device nodes; the attributes "security.selinux", "trusted.overlay.redirect", "user.overlay.opaque"$/,
      ),
    ]);
  });

  test.each([
    ['bytes', { bytes: 1 << 20 }, [{ name: 'a', data: Buffer.alloc(1 << 20) }]],
    [
      'bytes that only are passed over',
      { bytes: 1 << 20 },
      [{ name: 'a', type: 'V', data: Buffer.alloc(1 << 20) }, { name: 'b' }],
    ],
    ['members', { members: 2 }, [{ name: 'a' }, { name: 'b' }, { name: 'c' }]],
  ])('one that unpacks to too many %s is given up', async (what, limits, members) => {
    await expect(unpacked(handMade(...members), limits)).rejects.toMatchObject({
      code: 'ARCHIVE_TOO_LARGE',
      hint: expect.stringContaining(`archiveLimits.${what.split(' ')[0]}`),
    });
  });

  test.each([
    ['directories', '5'],
    ['device nodes', '3'],
  ])('one whose %s would fill the memory is given up', async (_, type) => {
    const record = type === '5' ? { key: 'SCHILY.xattr.system.posix_acl_default', length: 60_000 } : undefined;
    const count = (64 * 1024 * 1024) / (record?.length ?? 3990) + 1;
    const one = (index: number): Buffer =>
      tarOf({
        name: 'd',
        type,
        pax:
          record === undefined
            ? { path: `d${index}/${'n'.repeat(3990)}` }
            : { path: `d${index}`, [record.key]: Buffer.alloc(record.length) },
      }).subarray(0, -1024);
    const archive = join(rig.directory('archive'), 'made.tar.gz');
    const all = Buffer.concat([...Array.from({ length: count }, (_unused, index) => one(index)), Buffer.alloc(1024)]);
    writeFileSync(archive, gzipSync(all, { level: 1 }));
    await expect(unpacked(archive)).rejects.toMatchObject({
      code: 'ARCHIVE_TOO_LARGE',
      message: expect.stringContaining('directories and device nodes'),
    });
  });

  test.each([['gzip'], ['xz'], ['zstd']])('what is damaged in the middle of %s is refused', async compressor => {
    const plain = handMade({ name: 'a', data: Buffer.from(Array.from({ length: 300_000 }, (_, i) => (i * i) % 251)) });
    const file = `${plain}.z`;
    const bytes = execFileSync(compressor, ['-c', plain], { maxBuffer: 1 << 26 });
    bytes.fill(0x55, bytes.length >> 1, (bytes.length >> 1) + 64);
    writeFileSync(file, bytes);
    await expect(unpacked(file)).rejects.toMatchObject({ code: 'ARCHIVE_INVALID' });
    writeFileSync(file, bytes.subarray(0, bytes.length >> 2));
    await expect(unpacked(file)).rejects.toMatchObject({ code: 'ARCHIVE_INVALID' });
  });

  test('what is no archive is told from one that is damaged', async () => {
    const file = (bytes: string): string => {
      const path = join(rig.directory('archive'), 'rootfs.tar');
      writeFileSync(path, Buffer.from(bytes, 'latin1'));
      return path;
    };
    const unsupported = { code: 'ARCHIVE_UNSUPPORTED', field: 'rootfs.archive' };
    await expect(unpacked(file('BZh91AY&SY'.padEnd(600)))).rejects.toMatchObject({ ...unsupported, message: /bzip2/ });
    await expect(unpacked(file('#!/bin/sh\n'.padEnd(600)))).rejects.toMatchObject({
      ...unsupported,
      message: /no tar archive/,
    });
    await expect(unpacked('/nowhere/rootfs.tar')).rejects.toMatchObject({ code: 'ARCHIVE_MISSING' });
    await expect(unpacked(rig.directory('directory'))).rejects.toMatchObject({
      code: 'ARCHIVE_INVALID',
      message: /no regular file/,
    });
    const pipe = join(rig.directory('pipe'), 'pipe');
    execFileSync('mkfifo', [pipe]);
    // Nor is it opened: opening a terminal whose other end is closed fails, or waits.
    for (const path of ['/dev/zero', '/dev/tty', pipe])
      await expect(unpacked(path)).rejects.toMatchObject({ code: 'ARCHIVE_INVALID', message: /no regular file/ });
  });
});
