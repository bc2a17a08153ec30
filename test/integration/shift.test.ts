/** NET-33: the files of a root file system given to the container's ids, once, and back when it is removed. */
import { execFileSync } from 'node:child_process';
import { existsSync, lstatSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Container } from 'caisson';
import { afterEach, describe, expect, test } from 'vitest';
import { finish, useRig } from '../lib/rig.ts';
import { Victim } from '../lib/victim.ts';

const rig = useRig();

/** Everything that a shift changes, of every file of a tree. */
const LIST = `
import os, sys
os.chdir(sys.argv[1])
paths = ['.'] + sorted(os.path.join(d, n) for d, ds, ns in os.walk('.') for n in ds + ns)
for path in paths:
    s = os.lstat(path)
    names = [] if os.path.islink(path) else sorted(os.listxattr(path))
    attributes = [n + '=' + os.getxattr(path, n).hex() for n in names if not n.startswith('trusted.')]
    print(path, s.st_uid, s.st_gid, oct(s.st_mode), *attributes)
`;
const list = (tree: string): string =>
  execFileSync('python3', ['-c', LIST, tree], { encoding: 'utf8', maxBuffer: 1 << 26 });

/** user 7 and group 8 may read; the rest as the mode says. */
const ACL = '0200000001000600ffffffff020004000700000004000400ffffffff080004000800000010000600ffffffff20000000ffffffff';

const PREPARE = `
mkdir -p d/sub; chown 1000:1000 d; chmod 2775 d
cp bin/busybox d/suid; chmod 6755 d/suid
cp bin/busybox d/busybox; chown 5:6 d/busybox; setcap cap_net_raw,cap_kill+ep d/busybox; ln d/busybox d/again
echo x > d/acl; ln -s /nowhere d/dangling; ln -s / d/root; mkfifo d/fifo; mknod d/null c 1 3
printf x > "$(printf 'd/\\377')"; chmod 0 d/sub
`;

function prepared(): string {
  const tree = rig.tree();
  execFileSync('bash', ['-ec', PREPARE], { cwd: tree });
  const script = "import os; os.setxattr('d/acl', 'system.posix_acl_access', bytes.fromhex(os.sys.argv[1]))";
  execFileSync('python3', ['-c', `import sys; ${script}`, ACL], { cwd: tree });
  return tree;
}

const SCRIPT = `
stat -c '%u:%g:%a' / /bin/busybox /d /d/suid /d/busybox /d/acl /d/fifo
touch /made; chown 33:33 /made; cp /bin/busybox /mine; chmod 4755 /mine
`;
const SHOWN = ['0:0:755', '0:0:755', '1000:1000:2775', '0:1000:6755', '5:6:755', '0:1000:660', '0:1000:644'];

async function run(container: Container): Promise<string[]> {
  const from = container.console.end;
  await container.start();
  await finish(container);
  return container.console.since(from).data.toString().split('\r\n').filter(Boolean);
}

const create = (path: string, shift: 'auto' | 'chown' | 'idmap' | 'none', more = {}): Promise<Container> =>
  rig.create({ rootfs: { path, shift }, init: '/bin/sh', args: ['-c', SCRIPT], ...more });

const recordOf = ({ name }: Container): string => join(rig.supervisor.stateDir, name, 'shift.json');

let mounted: string[] = [];
afterEach(() => {
  for (const path of mounted.reverse()) execFileSync('umount', [path]);
  mounted = [];
});

/** An overlay, which takes no id map on top of it. */
function overlayOn(lower: string): string {
  const [upper, work, merged] = [rig.directory('upper'), rig.directory('work'), rig.directory('merged')];
  execFileSync('mount', [
    '-t',
    'overlay',
    '-o',
    `lowerdir=${lower},upperdir=${upper},workdir=${work}`,
    'overlay',
    merged,
  ]);
  mounted.push(merged);
  return merged;
}

describe.each([
  ['chown on ext4', 'chown', (tree: string) => tree],
  ['auto on an overlay, which cannot be id-mapped', 'auto', overlayOn],
] as const)('NET-33 %s', (_, shift, place) => {
  test("owners, set-id bits, ACLs and capabilities are the container's, and the directory is given back as it was", async () => {
    const tree = place(prepared());
    const before = list(tree);
    const container = await create(tree, shift);
    const first = container.spec.idmap?.first ?? 0;
    const lines = await run(container);
    expect(lines.slice(0, SHOWN.length)).toEqual(SHOWN);
    const shifted = list(tree);
    expect(shifted).not.toMatch(/ 0 0 0o/);
    expect(shifted).toContain(`./d/suid ${first} ${first + 1000} 0o106755`);
    expect(lstatSync(join(tree, 'd/dangling')).uid).toBe(first);
    // Revision 3, for the container's root.
    const root = Buffer.alloc(4);
    root.writeUInt32LE(first);
    expect(shifted).toMatch(
      new RegExp(
        `d/busybox ${first + 5} ${first + 6} 0o100755 security.capability=01000003.*${root.toString('hex')}\n`,
      ),
    );
    // An overlay makes two of them when it copies them up.
    if (shift === 'chown') expect(lstatSync(join(tree, 'd/again')).ino).toBe(lstatSync(join(tree, 'd/busybox')).ino);
    const id = Buffer.alloc(4);
    id.writeUInt32LE(first + 7);
    expect(shifted).toContain(`02000400${id.toString('hex')}`);
    // The next start changes nothing.
    const written = statSync(recordOf(container)).mtimeMs;
    expect((await run(container)).slice(0, SHOWN.length)).toEqual(SHOWN);
    expect(statSync(recordOf(container)).mtimeMs).toBe(written);
    await rig.supervisor.remove(container.name);
    const after = list(tree);
    expect(after).toContain('./made 33 33 0o100644');
    expect(after).toContain('./mine 0 0 0o104755');
    expect(
      after
        .split('\n')
        .filter(line => !/^\.\/(made|mine) /.test(line))
        .join('\n'),
    ).toBe(before);
  });

  test('a crash in the middle loses nothing: the next start goes on', async () => {
    const tree = place(prepared());
    const before = list(tree);
    const container = await create(tree, shift);
    const first = container.spec.idmap?.first ?? 0;
    await run(container);
    const done = list(tree);
    await rig.supervisor.remove(container.name);
    execFileSync('rm', [join(tree, 'made'), join(tree, 'mine')]);
    const again = await create(tree, shift, { name: container.name, idmap: { first, count: 65_536 } });
    // As kill -9 would leave it: written down, and one chown without what follows it.
    const capability = Buffer.from(
      /d\/busybox .*security.capability=([0-9a-f]+)/.exec(done)?.[1] ?? '',
      'hex',
    ).toString('base64');
    const special = [
      { path: 'd/suid', mode: 0o6755, capability: null },
      { path: 'd/busybox', mode: 0o755, capability },
      { path: 'd/again', mode: 0o755, capability },
    ];
    const root = String(statSync(tree).ino);
    const record = { version: 1, shift: { from: 0, to: first, count: 65_536 }, root, done: false, special };
    writeFileSync(recordOf(again), JSON.stringify(record));
    execFileSync('chown', [`${first}:${first + 1000}`, join(tree, 'd/suid')]);
    execFileSync('chown', [`${first}:${first}`, join(tree, 'bin')]);
    execFileSync('chown', [`${first + 5}:${first + 6}`, join(tree, 'd/busybox')]);
    expect(list(tree)).not.toMatch(/d\/busybox .*security.capability/);
    expect((await run(again)).slice(0, SHOWN.length)).toEqual(SHOWN);
    expect(list(tree)).toBe(done);
    // The same on the way back.
    execFileSync('rm', [join(tree, 'made'), join(tree, 'mine')]);
    const value = /d\/busybox .*security.capability=([0-9a-f]+)/.exec(before)?.[1] ?? '';
    const back = special.map(one => ({
      ...one,
      capability: one.capability && Buffer.from(value, 'hex').toString('base64'),
    }));
    writeFileSync(
      recordOf(again),
      JSON.stringify({ ...record, shift: { from: first, to: 0, count: 65_536 }, special: back }),
    );
    execFileSync('chown', ['0:1000', join(tree, 'd/suid')]);
    await rig.supervisor.remove(again.name);
    expect(list(tree)).toBe(before);
  });
});

test('NET-33 file capabilities have their effect inside', async () => {
  const container = await create(prepared(), 'chown', { args: ['-c', 'sleep 100'] });
  await container.start();
  const user = ['--target', String(container.pid), '--all', '--setgid', '1000', '--setuid', '1000'];
  const words = ['/d/busybox', 'grep', 'CapEff', '/proc/self/status'];
  expect(execFileSync('nsenter', [...user, '--', ...words], { encoding: 'utf8' })).toMatch(/0000000000002020$/m);
  await container.kill();
});

test('NET-33 kill -9 while it is shifted: the next supervisor goes on', async () => {
  const tree = prepared();
  const many = join(tree, 'many');
  mkdirSync(many);
  execFileSync('bash', ['-c', 'seq 8000 | xargs touch; seq 1 100 8000 | xargs chmod 4711'], { cwd: many });
  const before = list(tree);
  const stateDir = rig.stateDir();
  const spec = rig.spec('unprivileged', {
    name: 'a',
    rootfs: { path: tree, shift: 'chown' },
    init: '/bin/sh',
    args: ['-c', SCRIPT],
  });
  const victim = new Victim({ stateDir, specs: [spec] });
  const record = join(stateDir, 'a/shift.json');
  while (!existsSync(record)) await new Promise(resolve => setTimeout(resolve, 2));
  await victim.kill();
  expect(JSON.parse(readFileSync(record, 'utf8'))).toMatchObject({ done: false });
  expect(statSync(tree).uid).toBe(0);
  const next = await rig.open({ stateDir });
  expect((await run(next.get('a'))).slice(0, SHOWN.length)).toEqual(SHOWN);
  expect(list(tree)).not.toMatch(/ 0 0 0o/);
  await next.remove('a');
  execFileSync('rm', [join(tree, 'made'), join(tree, 'mine')]);
  expect(list(tree)).toBe(before);
});

describe('NET-33', () => {
  test('what is mounted in the directory is left alone', async () => {
    const tree = rig.tree();
    execFileSync('mount', ['-t', 'tmpfs', 'tmpfs', join(tree, 'tmp')]);
    mounted.push(join(tree, 'tmp'));
    writeFileSync(join(tree, 'tmp/file'), 'x');
    const container = await create(tree, 'chown', { args: ['-c', 'stat -c %u /bin /tmp'] });
    expect(await run(container)).toEqual(['0', '65534']);
    expect(lstatSync(join(tree, 'tmp/file')).uid).toBe(0);
    await rig.supervisor.remove(container.name);
  });

  test('a file that has no id in the container is refused, with its name, before anything is changed', async () => {
    const tree = rig.tree();
    execFileSync('chown', ['70000:0', join(tree, 'etc/passwd')]);
    const before = list(tree);
    const container = await create(tree, 'chown');
    await expect(container.start()).rejects.toMatchObject({
      code: 'SHIFT_UNSUPPORTED',
      message: expect.stringContaining('/etc/passwd in the rootfs belongs to 70000:0'),
      step: { id: 'creating.rootfs.shift' },
    });
    expect(list(tree)).toBe(before);
    expect(existsSync(recordOf(container))).toBe(false);
  });

  test("a directory that another container's ids have is refused, and so is one of nobody's with none", async () => {
    const tree = rig.tree();
    const one = await create(tree, 'chown');
    await expect((await create(tree, 'none')).start()).rejects.toMatchObject({ code: 'SHIFT_UNSUPPORTED' });
    await run(one);
    const shifted = list(tree);
    for (const shift of ['chown', 'none'] as const)
      await expect((await create(tree, shift)).start()).rejects.toMatchObject({ code: 'SHIFT_UNSUPPORTED' });
    expect(list(tree)).toBe(shifted);
    // Whose it is, finds it so, however it asks.
    const same = await create(tree, 'auto', { idmap: one.spec.idmap });
    expect((await run(same)).slice(0, 2)).toEqual(SHOWN.slice(0, 2));
    await rig.supervisor.remove(same.name);
    expect(statSync(tree).uid).toBe(one.spec.idmap?.first);
  });

  test.each([
    ['fill the memory', 800, 'more files with set-id bits or capabilities than can be written down, at last in /deep'],
    ['be deeper than directories are held open', 1100, 'directories 1000 levels deep, in /deep'],
  ])('what a payload leaves can not %s: it is told what to remove first', async (_, depth, message) => {
    const tree = rig.tree();
    const container = await create(tree, 'chown');
    await run(container);
    const shifted = list(tree);
    // Paths of 200 KiB, each a name of one set-user-id file.
    const leave = `
import os, sys
os.chdir(sys.argv[1])
os.mkdir('deep'); os.chdir('deep')
for _ in range(${depth}):
    os.mkdir('n' * 250); os.chdir('n' * 250)
open('suid', 'w').close(); os.chmod('suid', 0o4755)
for index in range(300):
    os.link('suid', str(index))
`;
    execFileSync('python3', ['-c', leave, tree]);
    await expect(rig.supervisor.remove(container.name)).rejects.toMatchObject({
      code: 'SHIFT_UNSUPPORTED',
      message: expect.stringContaining(message),
    });
    execFileSync('rm', ['-rf', '--one-file-system', join(tree, 'deep')]);
    expect(list(tree)).toBe(shifted);
    await rig.supervisor.remove(container.name);
    expect(statSync(tree).uid).toBe(0);
  });

  test('ids that overlap with those of the directory cannot be told apart', async () => {
    const container = await create(rig.tree(), 'chown', { idmap: { first: 1000, count: 65_536 } });
    await expect(container.start()).rejects.toMatchObject({ code: 'SHIFT_UNSUPPORTED', message: /overlap/ });
  });

  test('idmap never changes the directory', async () => {
    const merged = overlayOn(rig.tree());
    const before = list(merged);
    const container = await create(merged, 'idmap');
    await expect(container.start()).rejects.toMatchObject({
      code: 'SHIFT_UNSUPPORTED',
      step: { id: 'mounting.rootfs.idmap' },
    });
    expect(list(merged)).toBe(before);
  });
});
