/**
 * A hostile root file system: what should be a directory or a program is a symlink to the host. It is refused, or it
 * resolves inside; the canaries on the host keep content, mode, owner and times (design §2, hostile rootfs rule).
 */
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  cpSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join, relative } from 'node:path';
import process from 'node:process';
import type { CaissonError } from 'caisson';
import { afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { MODES, useRig } from '../lib/rig.ts';

const rig = useRig();

let canaries = '';
let before: string[] = [];

/** A host directory with everything an attacker would like to reach. */
beforeAll(() => {
  canaries = rig.directory('canaries');
  for (const name of ['dir', 'dir/pts', 'dir/net', 'bin']) mkdirSync(join(canaries, name));
  writeFileSync(join(canaries, 'file'), 'do not touch\n');
  writeFileSync(join(canaries, 'dir/null'), 'a file called null\n');
  writeFileSync(join(canaries, 'dir/console'), 'a file called console\n');
  writeFileSync(join(canaries, 'bin/init'), `#!/bin/sh\necho hostile > ${join(canaries, 'file')}\n`);
  chmodSync(join(canaries, 'bin/init'), 0o750);
  chmodSync(join(canaries, 'file'), 0o640);
  chownSync(join(canaries, 'file'), 12, 34);
  chownSync(join(canaries, 'dir'), 56, 78);
});

/** Everything that can be told of a tree without touching it. */
function look(path: string): string[] {
  const stat = lstatSync(path);
  const content = stat.isFile() ? readFileSync(path, 'base64') : stat.isSymbolicLink() ? readlinkSync(path) : '';
  const own = `${path} ${stat.mode.toString(8)} ${stat.uid}:${stat.gid} ${stat.rdev} ${stat.size} ${stat.mtimeMs} ${stat.ctimeMs} ${content}`;
  if (!stat.isDirectory()) return [own];
  return [
    own,
    ...readdirSync(path)
      .sort()
      .flatMap(name => look(join(path, name))),
  ];
}

beforeEach(() => {
  before = look(canaries);
});
afterEach(() => {
  expect(look(canaries), 'the canaries').toEqual(before);
});

/** The ways to name a host path in a symlink: absolute, climbing out, and through magic links of the process. */
const WAYS = [
  ['an absolute symlink', (target: string) => target],
  ['a symlink that climbs out', (target: string) => `../../../../../../../../../..${target}`],
  ['a symlink through /proc/self/root', (target: string) => `/proc/self/root${target}`],
  ['a symlink through /proc/1/root', (target: string) => `/proc/1/root${target}`],
  ['a symlink through /proc/self/cwd', (target: string) => `/proc/self/cwd/${relative(process.cwd(), target)}`],
] as const;

const PLANTS = {
  dev: 'dir',
  proc: 'dir',
  sys: 'dir',
  sbin: 'bin',
  'sbin/init': 'bin/init',
  'dev/console': 'file',
  'dev/null': 'file',
  'dev/pts': 'dir',
  'dev/shm': 'dir',
  'dev/mqueue': 'dir',
  'dev/fd': 'dir',
  'dev/net': 'dir',
  'proc/sys': 'dir',
  'proc/sysrq-trigger': 'file',
  'sys/fs': 'dir',
  'sys/devices': 'dir',
  'etc/passwd': 'file',
  run: 'dir',
  tmp: 'dir',
} as const;

describe.each(MODES)('%s', mode => {
  describe.each(Object.entries(PLANTS))('/%s', (plant, target) => {
    test.each(WAYS)('is %s to a canary', async (_, way) => {
      const tree = rig.tree();
      rmSync(join(tree, plant), { recursive: true, force: true });
      symlinkSync(way(join(canaries, target)), join(tree, plant));
      const rootfs = { path: tree, overlay: 'ephemeral' as const, createMissing: true };
      const container = await rig.create({
        mode,
        rootfs,
        ...(plant.startsWith('sbin') ? {} : { init: '/bin/sh', args: ['-c', WORK] }),
      });
      const refused = await container.start().then(
        () => undefined,
        (error: CaissonError) => error,
      );
      if (['dev', 'proc', 'sys'].includes(plant)) {
        expect(refused?.code).toBe(`ROOTFS_${plant.toUpperCase()}_NOT_DIR`);
      } else if (plant.startsWith('sbin')) {
        expect(refused?.code).toBe('ROOTFS_INIT_DANGLING');
      } else {
        // Hidden by a mount, or resolved inside, where it leads nowhere.
        expect(refused).toBeUndefined();
        await container.wait();
        const text = container.console.history().toString();
        expect(text).toContain('worked');
        expect(text).not.toContain('do not touch');
      }
    });
  });

  /** Until its exec PID 1 is a copy of this process: /proc/self/exe is the host's Node (the class of CVE-2019-5736). */
  describe("an init that would be the host's own program", () => {
    const node = (tree: string): void => {
      // All that a hostile image needs to run it.
      for (const line of execFileSync('ldd', [process.execPath], { encoding: 'utf8' }).split('\n')) {
        const library = /(\/\S+)/.exec(line)?.[1];
        if (library === undefined) continue;
        mkdirSync(join(tree, dirname(library)), { recursive: true });
        cpSync(library, join(tree, library), { dereference: true });
      }
    };
    type Plant = (tree: string) => void;
    const script =
      (path: string, line: string): Plant =>
      tree => {
        rmSync(join(tree, path), { force: true });
        writeFileSync(join(tree, path), `${line}\n`, { mode: 0o755 });
      };
    const link =
      (path: string, target: string): Plant =>
      tree => {
        rmSync(join(tree, path), { force: true });
        symlinkSync(target, join(tree, path));
      };
    /** What the image has there is a decoy: at exec the real /proc is in its place. */
    const decoy: Plant = tree => {
      mkdirSync(join(tree, 'proc/self'));
      cpSync(join(tree, 'bin/busybox'), join(tree, 'proc/self/exe'));
    };
    const linkedDecoy: Plant = tree => {
      mkdirSync(join(tree, 'proc/self'));
      symlinkSync('/bin/busybox', join(tree, 'proc/self/exe'));
    };
    const loader: Plant = tree => {
      const program = readFileSync('/bin/true');
      const at = program.toString('latin1').search(/\/lib(64)?\/ld-linux-[a-z0-9_-]+\.so/);
      expect(at, 'a dynamic program to change').toBeGreaterThan(0);
      program.write('/proc/self/exe\0', at);
      rmSync(join(tree, 'sbin/init'));
      writeFileSync(join(tree, 'sbin/init'), program, { mode: 0o755 });
    };
    const EXE = '/proc/self/exe';

    test.each<[string, ...Plant[]]>([
      ['a #! line', script('sbin/init', `#!${EXE} --version`)],
      ['a #! line with blanks', script('sbin/init', `#! \t ${EXE} --version`)],
      ['a #! line and a decoy', decoy, script('sbin/init', `#!${EXE} --version`)],
      ['a #! line with a detour', script('sbin/init', '#!/bin/../proc/1/exe --version')],
      ['a #! line through a link to the root', link('bin/root', '/'), script('sbin/init', `#!/bin/root${EXE}`)],
      ['a relative #! line', script('sbin/init', '#!proc/self/exe --version')],
      ['a symlink and a decoy', decoy, link('sbin/init', EXE)],
      ['a symlink that climbs, and a decoy', decoy, link('sbin/init', '../../../proc/self/exe')],
      ['a symlink to a symlink, and a decoy', decoy, link('bin/x', EXE), link('sbin/init', '../bin/x')],
      ['a symlink and a decoy that is one', linkedDecoy, link('sbin/init', EXE)],
      ['a #! line by way of a symlink', link('bin/x', EXE), script('sbin/init', '#!/bin/x --version')],
      ['a script run by a script', script('bin/x', `#!${EXE} --version`), script('sbin/init', '#!/bin/x')],
      ['a descriptor of ours', script('sbin/init', '#!/dev/fd/3')],
      ['an ELF loader', loader],
    ])('by %s is refused', async (_, ...plants) => {
      const tree = rig.tree();
      node(tree);
      for (const plant of plants) plant(tree);
      const container = await rig.create({ mode, rootfs: { path: tree, overlay: 'ephemeral' } });
      await expect(container.start()).rejects.toMatchObject({ code: 'ROOTFS_INIT_DANGLING', field: 'rootfs' });
      expect(container.console.history().toString()).not.toContain(process.version);
    });

    test('a symlink that goes round in circles ends the search', async () => {
      const tree = rig.tree();
      link('bin/a', '/bin/b')(tree);
      link('bin/b', 'a')(tree);
      script('sbin/init', '#!/bin/a')(tree);
      const container = await rig.create({ mode, rootfs: { path: tree, overlay: 'ephemeral' } });
      await expect(container.start()).rejects.toMatchObject({ code: 'ROOTFS_INIT_INTERPRETER' });
    });

    test('an honest script, its interpreter a symlink to a dynamic program, runs', async () => {
      const tree = rig.tree();
      node(tree);
      mkdirSync(join(tree, 'usr/bin'), { recursive: true });
      cpSync('/bin/true', join(tree, 'usr/bin/true'), { dereference: true });
      link('bin/honest', '../usr/bin/true')(tree);
      script('sbin/init', '#! /bin/honest -x')(tree);
      const { end } = await rig.run({ mode, rootfs: { path: tree, overlay: 'ephemeral' } });
      expect(end.exit).toMatchObject({ kind: 'exit', status: 0 });
    });
  });

  test('a tree that is full of such links, on the plain directory, writes nothing outside', async () => {
    const tree = rig.tree();
    for (const [plant, target] of Object.entries(PLANTS)) {
      if (['dev', 'proc', 'sys', 'sbin', 'sbin/init'].includes(plant)) continue;
      rmSync(join(tree, plant), { recursive: true, force: true });
      symlinkSync(join(canaries, target), join(tree, plant));
    }
    const rootfs = { path: tree, overlay: 'none' as const, allowSharedSuperblock: mode === 'privileged' };
    const { text } = await rig.run({ mode, rootfs, script: WORK });
    expect(text).toContain('worked');
    // Nor has anything been made in the tree's own mount points.
    expect(readdirSync(join(tree, 'proc')).sort()).toEqual(['sys', 'sysrq-trigger']);
    expect(readdirSync(join(tree, 'sys')).sort()).toEqual(['devices', 'fs']);
  });

  test("hard links and device nodes in the tree's /dev are hidden, not used", async () => {
    const tree = rig.tree();
    execFileSync('ln', [join(canaries, 'file'), join(tree, 'dev/console')]);
    execFileSync('mknod', [join(tree, 'dev/null'), 'b', '8', '0']);
    before = look(canaries);
    const { text } = await rig.run({
      mode,
      rootfs: { path: tree, overlay: 'ephemeral' },
      script: 'stat -c "%F %t:%T" /dev/null; ls -l /dev/console; echo worked',
    });
    expect(text).toContain('character special file 1:3');
    expect(text).toContain('136,');
    rmSync(join(tree, 'dev/console'));
    before = look(canaries);
  });

  test("the root itself may be reached by a symlink of the host's owner, and only the tree is seen", async () => {
    const tree = rig.tree();
    const link = join(rig.directory('link'), 'rootfs');
    symlinkSync(tree, link);
    const { lines } = await rig.run({
      mode,
      rootfs: { path: link, overlay: 'ephemeral' },
      script: `ls -1d ${canaries} 2>/dev/null; ls -1 /`,
    });
    expect(lines.sort()).toEqual(readdirSync(tree).sort());
  });
});

/** Uses what was planted, as an innocent program would. */
const WORK = `
echo hostile > /dev/null
echo hostile > /dev/console
mkdir -p /tmp/made /run/made /dev/shm/made /dev/pts/made /sys/fs/made 2>/dev/null
echo hostile >> /etc/passwd 2>/dev/null
cat /etc/passwd /proc/sysrq-trigger 2>/dev/null
echo worked
`;
