/** The root file system is checked before anything is made of it (ENV-01 to ENV-07), in both modes. */
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  mkdirSync,
  readdirSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import type { CaissonError, ErrorCode } from 'caisson';
import { describe, expect, test } from 'vitest';
import { hasBinfmtIn } from '#src/workers/host/rootfs/binfmt.js';
import { MODES, type Mode, useRig } from '../lib/rig.ts';

const rig = useRig();

async function refused(
  mode: Mode,
  path: string,
  code: ErrorCode,
  createMissing = false,
  init = '/sbin/init',
): Promise<CaissonError> {
  const container = await rig.create({ mode, rootfs: { path, overlay: 'ephemeral', createMissing }, init });
  await expect(container.start()).rejects.toMatchObject({ code });
  expect(container.state).toBe('failed');
  const error = container.error as CaissonError;
  // Mount points are made in the overlay, which is there only later.
  const phase = createMissing ? 'mounting' : 'creating';
  expect(error).toMatchObject({ code, field: 'rootfs', step: { phase, executor: 'host' } });
  expect(error.message).toContain(path);
  expect(error.hint, 'an error says what to do').toBeTruthy();
  await rig.expectNothingLeft();
  return error;
}

const MOUNT_POINTS = ['dev', 'proc', 'sys'] as const;

describe.each(MODES)('%s', mode => {
  test('ENV-01: a rootfs that does not exist is refused', async () => {
    await refused(mode, join(rig.dir, 'nowhere'), 'ROOTFS_MISSING');
  });

  test('ENV-01: a rootfs that is a file is refused', async () => {
    const path = join(rig.directory('file'), 'rootfs');
    writeFileSync(path, 'not a directory');
    await refused(mode, path, 'ROOTFS_NOT_DIR');
    const dangling = join(rig.directory('link'), 'rootfs');
    symlinkSync('/nowhere-at-all', dangling);
    await refused(mode, dangling, 'ROOTFS_MISSING');
  });

  test('ENV-01: a rootfs on a file system mounted noexec is refused', async () => {
    const path = rig.directory('noexec');
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'noexec,mode=755', 'caisson-test', path]);
    try {
      rig.begin();
      for (const name of MOUNT_POINTS) mkdirSync(join(path, name));
      mkdirSync(join(path, 'sbin'));
      writeFileSync(join(path, 'sbin/init'), '#!/bin/sh\n', { mode: 0o755 });
      await refused(mode, path, 'ROOTFS_NOEXEC');
    } finally {
      execFileSync('umount', [path]);
    }
    rig.begin();
  });

  describe.each(MOUNT_POINTS)('ENV-02: /%s', name => {
    const upper = name.toUpperCase() as 'DEV' | 'PROC' | 'SYS';

    test('missing', async () => {
      const tree = rig.tree();
      rmSync(join(tree, name), { recursive: true });
      await refused(mode, tree, `ROOTFS_${upper}_MISSING`);
      expect(readdirSync(tree)).not.toContain(name);
    });

    test('a file', async () => {
      const tree = rig.tree();
      rmSync(join(tree, name), { recursive: true });
      writeFileSync(join(tree, name), '');
      await refused(mode, tree, `ROOTFS_${upper}_NOT_DIR`);
      // createMissing is for what is missing, not for what is wrong.
      await refused(mode, tree, `ROOTFS_${upper}_NOT_DIR`, true);
    });

    test.each(['/etc', 'etc', '../../../../etc', 'nowhere'])('a symlink to %s', async target => {
      const tree = rig.tree();
      rmSync(join(tree, name), { recursive: true });
      symlinkSync(target, join(tree, name));
      await refused(mode, tree, `ROOTFS_${upper}_NOT_DIR`);
      await refused(mode, tree, `ROOTFS_${upper}_NOT_DIR`, true);
    });
  });

  test.each(['none', 'ephemeral'] as const)(
    'ENV-03: createMissing makes absent mount points with mode 0755, whatever the umask: overlay %s',
    async overlay => {
      const tree = rig.tree();
      for (const name of MOUNT_POINTS) rmSync(join(tree, name), { recursive: true });
      const umask = process.umask(0o077);
      try {
        const spec = { mode, rootfs: { path: tree, overlay, createMissing: true, allowSharedSuperblock: true } };
        const { lines, end } = await rig.run({
          ...spec,
          script: 'ls -1d /dev/null /proc/self /sys/class; cat /proc/self/mountinfo | grep -c " /dev "',
        });
        expect(lines).toEqual(['/dev/null', '/proc/self', '/sys/class', '1']);
        expect(end).toMatchObject({ state: 'stopped', exit: { kind: 'exit', status: 0 } });
      } finally {
        process.umask(umask);
      }
      // Below an overlay the tree is only read.
      const made = MOUNT_POINTS.map(name => statSync(join(tree, name), { throwIfNoEntry: false })?.mode);
      expect(made).toEqual(MOUNT_POINTS.map(() => (overlay === 'none' ? 0o40755 : undefined)));
    },
  );

  test('ENV-04: content below a mount point is no error but a notice, and stays', async () => {
    const tree = rig.tree();
    writeFileSync(join(tree, 'dev/left-over'), 'kept');
    const since = rig.supervisor.seq;
    const spec = { mode, rootfs: { path: tree, overlay: 'ephemeral' as const } };
    const { lines } = await rig.run({ ...spec, script: 'ls /dev/left-over 2>&1' });
    expect(lines.join()).toContain('No such file');
    expect(readdirSync(join(tree, 'dev'))).toEqual(['left-over']);
    const notices: string[] = [];
    const signal = AbortSignal.timeout(50);
    for await (const event of rig.supervisor.events({ since, signal })) {
      if (event.type === 'notice') notices.push(`${event.code}: ${event.message}`);
    }
    expect(notices.filter(text => text.startsWith('rootfs-not-empty'))).toEqual([expect.stringContaining('/dev')]);
  });

  test('ENV-05: /sbin/init missing', async () => {
    const tree = rig.tree();
    unlinkSync(join(tree, 'sbin/init'));
    await refused(mode, tree, 'ROOTFS_INIT_MISSING');
    rmSync(join(tree, 'sbin'), { recursive: true });
    await refused(mode, tree, 'ROOTFS_INIT_MISSING');
    writeFileSync(join(tree, 'sbin'), 'a file where a directory should be');
    await refused(mode, tree, 'ROOTFS_INIT_MISSING');
  });

  test('ENV-05: /sbin/init a directory, a fifo', async () => {
    const tree = rig.tree();
    unlinkSync(join(tree, 'sbin/init'));
    mkdirSync(join(tree, 'sbin/init'));
    await refused(mode, tree, 'ROOTFS_INIT_NOT_FILE');
    rmSync(join(tree, 'sbin/init'), { recursive: true });
    execFileSync('mkfifo', [join(tree, 'sbin/init')]);
    await refused(mode, tree, 'ROOTFS_INIT_NOT_FILE');
  });

  test('ENV-05: /sbin/init without an execute bit', async () => {
    const tree = rig.tree();
    unlinkSync(join(tree, 'sbin/init'));
    writeFileSync(join(tree, 'sbin/init'), '#!/bin/sh\n', { mode: 0o644 });
    await refused(mode, tree, 'ROOTFS_INIT_NOT_EXECUTABLE');
    chmodSync(join(tree, 'sbin/init'), 0o755);
  });

  test('ENV-06: a symlink to init that leads somewhere on the host only is dangling', async () => {
    const tree = rig.tree();
    // Exist on the host, not in the tree.
    for (const target of ['/usr/bin/env', '../../../../../../../usr/bin/env', '/proc/self/exe']) {
      rmSync(join(tree, 'sbin/init'), { force: true });
      symlinkSync(target, join(tree, 'sbin/init'));
      await refused(mode, tree, 'ROOTFS_INIT_DANGLING');
    }
  });

  test('ENV-06: a symlink on the way to init that leads to the host only is dangling', async () => {
    const tree = rig.tree();
    rmSync(join(tree, 'sbin'), { recursive: true });
    // The host's /usr/sbin has programs; the tree has no /usr.
    symlinkSync('/usr/sbin', join(tree, 'sbin'));
    await refused(mode, tree, 'ROOTFS_INIT_DANGLING');
    rmSync(join(tree, 'sbin'));
    symlinkSync('sbin', join(tree, 'sbin'));
    await refused(mode, tree, 'ROOTFS_INIT_DANGLING');
  });

  test('ENV-06: absolute and merged-usr symlinks resolve inside the rootfs', async () => {
    const tree = rig.tree();
    rmSync(join(tree, 'sbin'), { recursive: true });
    mkdirSync(join(tree, 'usr/lib/boot'), { recursive: true });
    symlinkSync('/usr/sbin', join(tree, 'sbin'));
    mkdirSync(join(tree, 'usr/sbin'));
    symlinkSync('../../../../usr/lib/boot/first', join(tree, 'usr/sbin/init'));
    symlinkSync('/usr/lib/boot/second', join(tree, 'usr/lib/boot/first'));
    writeFileSync(join(tree, 'usr/lib/boot/second'), '#!/bin/sh\necho booted from $0\n', { mode: 0o755 });
    const { lines } = await rig.run({ mode, rootfs: { path: tree, overlay: 'ephemeral' } });
    expect(lines).toEqual(['booted from /sbin/init']);
  });

  test('ENV-07: a dynamic program without its loader, a script whose interpreter is one, a script without', async () => {
    const tree = rig.tree();
    cpSync('/bin/true', join(tree, 'bin/dynamic'), { dereference: true });
    const script = (name: string, line: string): void =>
      writeFileSync(join(tree, 'sbin', name), `${line}\n`, { mode: 0o755 });
    script('by-dynamic', '#!/bin/dynamic -x');
    script('by-nothing', '#! /usr/bin/env sh');
    script('by-script', '#!/sbin/by-nothing');
    const loader = /^\/lib(64)?\/ld-linux/;
    for (const [init, by, missing] of [
      ['/bin/dynamic', '/bin/dynamic', loader],
      ['/sbin/by-dynamic', '/bin/dynamic', loader],
      ['/sbin/by-nothing', '/sbin/by-nothing', /^\/usr\/bin\/env,/],
      ['/sbin/by-script', '/sbin/by-nothing', /^\/usr\/bin\/env,/],
    ] as const) {
      const { message } = await refused(mode, tree, 'ROOTFS_INIT_INTERPRETER', false, init);
      const [, named, rest = ''] = /^(\S+) in rootfs .* is run by (.*)$/.exec(message) ?? [];
      expect(named, message).toBe(by);
      expect(rest, message).toMatch(missing);
    }
  });

  test('ENV-07: a program for another machine, and a script that is run by one', async () => {
    const tree = rig.tree();
    // The header of a static program for IA-64, which nobody emulates; and one that is cut short.
    const header = Buffer.alloc(256);
    header.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
    header.writeUInt16LE(2, 16);
    header.writeUInt16LE(50, 18);
    header.writeUInt16LE(56, 54);
    writeFileSync(join(tree, 'bin/foreign'), header, { mode: 0o755 });
    writeFileSync(join(tree, 'sbin/by-foreign'), '#!/bin/foreign\n', { mode: 0o755 });
    for (const init of ['/bin/foreign', '/sbin/by-foreign']) {
      const { message } = await refused(mode, tree, 'ROOTFS_INIT_ARCH', false, init);
      expect(message).toContain('ia64');
    }
    writeFileSync(join(tree, 'bin/foreign'), header.subarray(0, 20), { mode: 0o755 });
    const container = await rig.create({ mode, rootfs: { path: tree, overlay: 'ephemeral' }, init: '/bin/foreign' });
    await expect(container.start()).rejects.toMatchObject({ code: 'EXEC_FAILED', errno: 'ENOEXEC' });
  });
});

test('ENV-07: an emulator that the kernel was told of counts', () => {
  const directory = rig.directory('binfmt');
  writeFileSync(join(directory, 'register'), '');
  writeFileSync(join(directory, 'status'), 'enabled\n');
  expect(hasBinfmtIn(directory, Buffer.from('ABC'))).toBe(false);
  const entry = 'interpreter /usr/bin/emulator\nflags: \noffset 0\nmagic 4142\n';
  writeFileSync(join(directory, 'off'), `disabled\n${entry}`);
  expect(hasBinfmtIn(directory, Buffer.from('ABC'))).toBe(false);
  writeFileSync(join(directory, 'on'), `enabled\n${entry}`);
  expect(hasBinfmtIn(directory, Buffer.from('ABC'))).toBe(true);
  expect(hasBinfmtIn(directory, Buffer.from('XYZ'))).toBe(false);
});

test('NET-33: below Linux 6.15 an ephemeral layer over mapped ids is laid in a mount namespace aside', async () => {
  const { facts } = rig.supervisor;
  const features = { ...facts.features, overlayOnDetached: false };
  const supervisor = await rig.openWith({}, { ...facts, features });
  const script = 'stat -c %u:%g /bin/busybox /; echo kept > /new; cat /new; grep -c . /proc/self/mountinfo';
  const { lines } = await rig.run({ supervisor, script });
  expect(lines.slice(0, 3)).toEqual(['0:0', '0:0', 'kept']);
  // Every thread is back where it belongs, and the host has no mount more (the rig compares those).
  const namespaces = readdirSync('/proc/self/task').map(task => readlinkSync(`/proc/self/task/${task}/ns/mnt`));
  expect(new Set(namespaces)).toEqual(new Set([readlinkSync('/proc/self/ns/mnt')]));
});
