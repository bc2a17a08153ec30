/** Whatever a payload, or who made the tree, has put in the place of each file that is looked at: a start waits for none. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { MODES, useRig } from '../lib/rig.ts';
import { slow } from '../lib/slow.ts';

const rig = useRig();

/** By the machine id, for the time zone, the name servers, and to find out which init it is and what that mounts. */
const LOOKED_AT = [
  'etc/machine-id',
  'etc/localtime',
  'etc/resolv.conf',
  'etc/fstab',
  'etc/inittab',
  'etc/init.d/rcS',
  'etc/rc.local',
  'etc/rc',
  'etc/runit/1',
];

const INSTEAD: readonly (readonly [what: string, command: (path: string) => string[]])[] = [
  ['FIFOs', path => ['mkfifo', path]],
  ['directories', path => ['mkdir', path]],
  ['terminals', path => ['mknod', path, 'c', '5', '0']],
  ['links to themselves', path => ['ln', '-s', `/${path}`, path]],
  ['links to FIFOs', path => ['sh', '-c', `mkfifo ${path}.fifo && ln -s /${path}.fifo ${path}`]],
  ['links to the descriptors of whoever looks', path => ['ln', '-s', '/proc/self/fd/0', path]],
  ['a gigabyte of nothing', path => ['truncate', '-s', '1G', path]],
];

describe.each(MODES)('%s', mode => {
  test.each(INSTEAD)('%s', async (_, command) => {
    const tree = rig.tree();
    for (const path of LOOKED_AT) {
      rmSync(join(tree, path), { recursive: true, force: true });
      mkdirSync(join(tree, dirname(path)), { recursive: true });
      const [program = '', ...args] = command(path);
      execFileSync(program, args, { cwd: tree });
    }
    for (const resolvConf of ['copy-host', 'replace-host', 'bind-host', 'delete'] as const) {
      const begun = performance.now();
      const { lines } = await rig.run({
        mode,
        rootfs: { path: tree, overlay: 'persistent' },
        // One whose files are looked at.
        signals: { profile: 'busybox' },
        timezone: 'copy',
        linkJournal: 'try-host',
        resolvConf,
        script: 'echo up',
      });
      expect(lines).toEqual(['up']);
      expect(performance.now() - begun).toBeLessThan(slow(10_000));
    }
  });
});
