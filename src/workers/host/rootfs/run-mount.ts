/** Whether what an image runs at boot mounts a /run of its own, over ours with /run/host in it (HST-32). */
import { O, RESOLVE, S_IFMT, S_IFREG } from '../../../syscalls/abi/constants.js';
import { close, openat2, readAt, statFd } from '../../../syscalls/fs.js';
import { modeInside } from './inside.js';

/** Whole files: only what is unusually large is not looked at to its end. */
const LOOKED_AT = 64 * 1024;

/** What names what is mounted at boot; scripts that look first whether it is mounted are in none of them. */
const PLACES = ['etc/fstab', 'etc/inittab', 'etc/init.d/rcS', 'etc/rc.local', 'etc/rc', 'etc/runit/1'] as const;

const FSTAB_LINE = /^[^\s#]\S*\s+\/run\/?\s/;
const COMMAND = /\bmount\s/;
const ON_RUN = /\s\/run\/?$/;

/**
 * Whether a line says that something is mounted on /run: in fstab(5), or a command that ends in it, as `mount -t tmpfs
 * tmpfs /run`. Each line, and each command of it, is looked at once: one expression for all would be slow on purpose-made text.
 */
export function mountsRunIn(text: string, isTable: boolean): boolean {
  return text.split('\n').some(line => {
    if (isTable) return FSTAB_LINE.test(`${line}\n`);
    const [code = ''] = line.split('#');
    return code.split(/[;|&]/).some(command => COMMAND.test(command) && ON_RUN.test(command.trimEnd()));
  });
}

function textOf(dir: number, path: string): string {
  const mode = modeInside(dir, path, 0);
  if (mode === undefined || (mode & S_IFMT) !== S_IFREG) return '';
  const fd = openat2(dir, path, O.O_RDONLY | O.O_NONBLOCK, RESOLVE.RESOLVE_IN_ROOT | RESOLVE.RESOLVE_NO_MAGICLINKS);
  try {
    // It may have become something else meanwhile.
    return (statFd(fd).mode & S_IFMT) === S_IFREG ? readAt(fd, 0, LOOKED_AT).toString('latin1') : '';
  } finally {
    close(fd);
  }
}

/** The file that says so; undefined when none does. */
export function mountsRun(dir: number): string | undefined {
  return PLACES.find(path => mountsRunIn(textOf(dir, path), path === 'etc/fstab'));
}
