/** Executors of the actions on secrets. */
import type { SecretAction } from '../../plan/actions/secrets.js';
import { flagsOf, MOUNT_ATTR, O } from '../../syscalls/abi/constants.js';
import { chownat, close, openat, writeAll } from '../../syscalls/fs.js';
import { makeReadOnly, newMount } from '../../syscalls/mount.js';
import type { Executors } from './executors.js';

const ATTRIBUTES = ['MOUNT_ATTR_NOSUID', 'MOUNT_ATTR_NODEV', 'MOUNT_ATTR_NOEXEC'];

export const SECRET_ACTIONS: Executors<SecretAction> = {
  'credentials.mount': ({ secrets, uid, gid, save }, context) => {
    // The pages of a ramfs are never swapped out, on any kernel; a tmpfs can be told so from Linux 6.4 on.
    const mount = newMount('ramfs', { mode: '0500' }, flagsOf(MOUNT_ATTR, ATTRIBUTES));
    context.set(save, mount);
    for (const [name, secret] of Object.entries(secrets)) {
      const fd = openat(mount, name, O.O_WRONLY | O.O_CREAT | O.O_EXCL, 0o400);
      try {
        writeAll(fd, Buffer.from(secret, 'base64'), name);
        chownat(fd, '', uid, gid);
      } finally {
        close(fd);
      }
    }
    chownat(mount, '', uid, gid);
    // The file system itself: a flag of the mount could be lifted in the user namespace that attaches it, and nothing
    // would limit what is written to a ramfs.
    makeReadOnly(mount);
  },
};
