/** Root file systems made from what the host has. */
import { execFile } from 'node:child_process';
import { chmod, copyFile, mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { CaissonError } from '../spec/errors.js';

export const TEMPLATES = ['busybox'] as const;
export type TemplateName = (typeof TEMPLATES)[number];

export function isTemplate(name: unknown): name is TemplateName {
  return (TEMPLATES as readonly unknown[]).includes(name);
}

/** Makes the tree of a template in `directory`, which must not exist. @throws CaissonError TEMPLATE_FAILED */
export async function buildTemplate(name: TemplateName, directory: string): Promise<void> {
  switch (name) {
    case 'busybox':
      await buildBusybox(directory);
  }
}

const BUSYBOX_PLACES = ['/bin/busybox', '/usr/bin/busybox', '/usr/local/bin/busybox'];
const DIRECTORIES = [
  'bin',
  'sbin',
  'usr',
  'etc',
  'etc/init.d',
  'dev',
  'proc',
  'sys',
  'run',
  'tmp',
  'var',
  'var/log',
  'root',
  'home',
  'mnt',
];

const INITTAB = `::sysinit:/etc/init.d/rcS
::respawn:/sbin/syslogd -n -O /var/log/messages
console::respawn:-/bin/sh
::ctrlaltdel:/sbin/reboot
`;
// The kernel file systems, /dev and /run are there before init is.
const RCS = `#!/bin/sh
mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs /tmp
echo "$(hostname) is up"
`;
const PROFILE = `export PATH=/sbin:/bin HOME=/root PS1='\\h:\\w\\$ '
`;

/** A dynamic busybox would need its loader and libc inside; the static one of Debian's busybox-static needs nothing. */
async function findStaticBusybox(): Promise<string> {
  for (const path of BUSYBOX_PLACES) {
    const program = await readFile(path).catch(() => undefined);
    if (program !== undefined && !program.includes('/lib64/ld-linux') && !program.includes('/lib/ld-')) return path;
  }
  throw new CaissonError('TEMPLATE_FAILED', 'the host has no static busybox', {
    field: 'template',
    hint: "install Debian's busybox-static",
  });
}

async function buildBusybox(directory: string): Promise<void> {
  const busybox = await findStaticBusybox();
  const { stdout } = await promisify(execFile)(busybox, ['--list-full'], { maxBuffer: 1 << 20 });
  await mkdir(directory, { mode: 0o755 });
  for (const name of DIRECTORIES) await mkdir(join(directory, name), { mode: 0o755 });
  await symlink('../bin', join(directory, 'usr/bin'));
  await symlink('../sbin', join(directory, 'usr/sbin'));
  await chmod(join(directory, 'tmp'), 0o1777);
  await copyFile(busybox, join(directory, 'bin/busybox'));
  await chmod(join(directory, 'bin/busybox'), 0o755);
  const applets = new Map<string, string>();
  for (const path of stdout.split('\n').filter(Boolean)) {
    const name = path.slice(path.lastIndexOf('/') + 1);
    applets.set(name, path.includes('sbin/') ? 'sbin' : 'bin');
  }
  applets.delete('busybox');
  await Promise.all([...applets].map(([name, place]) => symlink('/bin/busybox', join(directory, place, name))));
  const files: [string, string, number][] = [
    ['etc/inittab', INITTAB, 0o644],
    ['etc/init.d/rcS', RCS, 0o755],
    ['etc/profile', PROFILE, 0o644],
    ['etc/passwd', 'root::0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n', 0o644],
    ['etc/group', 'root:x:0:\ntty:x:5:\nnogroup:x:65534:\n', 0o644],
    ['etc/os-release', 'ID=busybox\nNAME="Caisson busybox"\nPRETTY_NAME="Caisson busybox"\n', 0o644],
  ];
  for (const [path, text, mode] of files) await writeFile(join(directory, path), text, { mode });
}
