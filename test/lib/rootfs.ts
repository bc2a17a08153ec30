/** Root file systems for tests: a static busybox and empty mount points, nothing that anybody would boot. */
import { execFileSync } from 'node:child_process';
import { chmodSync, copyFileSync, existsSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const BUSYBOX = ['/bin/busybox', '/usr/bin/busybox'].find(path => existsSync(path));

/** What most payloads need; a full set of links takes as long as a start. */
const FEW =
  'cat dd echo grep head id ls mkdir mknod poweroff printf readlink reboot rm setsid sh sleep stat stty tee touch tr true';

/** Makes a tree at `path` (which must not exist) with busybox in /bin, and /sbin/init. */
export function makeRootfs(path: string, applets: 'all' | 'few'): string {
  if (BUSYBOX === undefined) throw new Error('busybox is missing: install the Debian package busybox-static');
  const names =
    applets === 'few' ? FEW.split(' ') : execFileSync(BUSYBOX, ['--list'], { encoding: 'utf8' }).split('\n');
  for (const name of ['', 'bin', 'sbin', 'dev', 'proc', 'sys', 'tmp', 'etc', 'root', 'run']) {
    mkdirSync(join(path, name), { mode: 0o755 });
  }
  copyFileSync(BUSYBOX, join(path, 'bin/busybox'));
  chmodSync(join(path, 'bin/busybox'), 0o755);
  for (const name of names) if (name !== '' && name !== 'busybox') symlinkSync('busybox', join(path, 'bin', name));
  symlinkSync('/bin/busybox', join(path, 'sbin/init'));
  writeFileSync(join(path, 'etc/passwd'), 'root::0:0:root:/root:/bin/sh\n');
  writeFileSync(join(path, 'etc/group'), 'root:x:0:\ntty:x:5:\n');
  return path;
}
