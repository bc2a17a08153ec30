/** The machine id of an image (machine-id(5)), read by descriptor: /etc and the file may be anything the image likes. */
import { O, RESOLVE, S_IFMT, S_IFREG } from '../../syscalls/abi/constants.js';
import { close, openat2, readAt, statFd } from '../../syscalls/fs.js';
import { SyscallError } from '../../syscalls/libc.js';

const LENGTH = 32;

/** Opened without following a link: a FIFO or a device in its place is not waited for. */
function firstLine(root: number): string {
  let path: number;
  try {
    path = openat2(
      root,
      'etc/machine-id',
      O.O_PATH | O.O_NOFOLLOW,
      RESOLVE.RESOLVE_IN_ROOT | RESOLVE.RESOLVE_NO_MAGICLINKS,
    );
  } catch (error) {
    if (error instanceof SyscallError && ['ENOENT', 'ENOTDIR', 'ELOOP'].includes(error.errno)) return '';
    throw error;
  }
  try {
    if ((statFd(path).mode & S_IFMT) !== S_IFREG) return '';
  } finally {
    close(path);
  }
  const fd = openat2(
    root,
    'etc/machine-id',
    O.O_RDONLY | O.O_NOFOLLOW | O.O_NONBLOCK,
    RESOLVE.RESOLVE_IN_ROOT | RESOLVE.RESOLVE_NO_MAGICLINKS,
  );
  try {
    return (
      readAt(fd, 0, LENGTH + 1)
        .toString('latin1')
        .split('\n')[0] ?? ''
    );
  } finally {
    close(fd);
  }
}

/** The uuid, dashed and in lower case, that a machine id stands for; undefined for what is none. */
export function uuidOf(line: string): string | undefined {
  const id = line.toLowerCase();
  if (!/^[0-9a-f]{32}$/.test(id) || /^0+$/.test(id)) return undefined;
  return id.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}

/** The uuid of the tree's machine id; undefined where it is missing, empty or not set. */
export function machineUuid(root: number): string | undefined {
  return uuidOf(firstLine(root));
}
