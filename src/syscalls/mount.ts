/** The mount API by descriptors (open_tree, fsopen, fsmount, mount_setattr; Linux 5.2 and 5.12). */
import { AT, FSCONFIG, MOUNT_ATTR, MS, OPEN_TREE } from './abi/constants.js';
import { scratch } from './arena.js';
import { close } from './fs.js';
import { SyscallError, trySyscall } from './libc.js';

/**
 * A detached copy of the mount at `path` below `dir` (an empty path: `dir` itself), without what is mounted below it
 * unless AT_RECURSIVE is asked for.
 */
export function cloneTree(dir: number, path: string, more = 0): number {
  const flags = OPEN_TREE.OPEN_TREE_CLONE | OPEN_TREE.OPEN_TREE_CLOEXEC | (path === '' ? AT.AT_EMPTY_PATH : 0) | more;
  const fd = trySyscall('open_tree', dir, scratch().cstring(path), flags);
  if (fd < 0) throw new SyscallError('open_tree', -fd, path === '' ? `fd ${dir}` : path);
  return fd;
}

/** Shows the owners of a detached mount through the id map of a user namespace. */
export function setIdmap(mount: number, userns: number): void {
  const arena = scratch();
  const empty = arena.cstring('');
  const attr = arena.alloc(32);
  arena.setU64(attr, MOUNT_ATTR.MOUNT_ATTR_IDMAP);
  arena.setU64(attr + 24, userns);
  const result = trySyscall('mount_setattr', mount, empty, AT.AT_EMPTY_PATH, attr, 32);
  if (result < 0) throw new SyscallError('mount_setattr', -result, 'MOUNT_ATTR_IDMAP');
}

const MOVE_MOUNT_F_EMPTY_PATH = 4;

/** Attaches a detached mount at `path`. */
export function attachMount(mount: number, path: string): void {
  const arena = scratch();
  const [empty, target] = [arena.cstring(''), arena.cstring(path)];
  const result = trySyscall('move_mount', mount, empty, AT.AT_FDCWD, target, MOVE_MOUNT_F_EMPTY_PATH);
  if (result < 0) throw new SyscallError('move_mount', -result, path);
}

/** Gives a detached tree flags, and severs it from the mounts it is a copy of (mount_setattr(2), Linux 5.12). */
export function setAttributes(mount: number, attributes: number): void {
  const arena = scratch();
  const empty = arena.cstring('');
  const attr = arena.alloc(32);
  arena.setU64(attr, attributes);
  arena.setU64(attr + 16, MS.MS_PRIVATE);
  const result = trySyscall('mount_setattr', mount, empty, AT.AT_EMPTY_PATH | AT.AT_RECURSIVE, attr, 32);
  if (result < 0) throw new SyscallError('mount_setattr', -result, `0x${attributes.toString(16)} MS_PRIVATE`);
}

const MOVE_BY_DESCRIPTORS = 0x04 | 0x40;

/** Attaches a detached mount on what `target` is a descriptor of. */
export function moveMount(mount: number, target: number): void {
  const empty = scratch().cstring('');
  const result = trySyscall('move_mount', mount, empty, target, empty, MOVE_BY_DESCRIPTORS);
  if (result < 0) throw new SyscallError('move_mount', -result, `fd ${mount} to fd ${target}`);
}

const FSOPEN_CLOEXEC = 1;
const FSMOUNT_CLOEXEC = 1;

/** A new instance of a file system as a detached mount. `options` with an empty value are flags. */
export function newMount(fstype: string, options: Readonly<Record<string, string>>, attributes: number): number {
  const context = trySyscall('fsopen', scratch().cstring(fstype), FSOPEN_CLOEXEC);
  if (context < 0) throw new SyscallError('fsopen', -context, fstype);
  try {
    for (const [key, value] of Object.entries(options)) {
      const arena = scratch();
      const result =
        value === ''
          ? trySyscall('fsconfig', context, FSCONFIG.SET_FLAG, arena.cstring(key), 0, 0)
          : trySyscall('fsconfig', context, FSCONFIG.SET_STRING, arena.cstring(key), arena.cstring(value), 0);
      if (result < 0) throw new SyscallError('fsconfig', -result, `${fstype} ${key}=${value}${kernelMessage(context)}`);
    }
    const created = trySyscall('fsconfig', context, FSCONFIG.CMD_CREATE, 0, 0, 0);
    if (created < 0) throw new SyscallError('fsconfig', -created, `create ${fstype}${kernelMessage(context)}`);
    const mount = trySyscall('fsmount', context, FSMOUNT_CLOEXEC, attributes);
    if (mount < 0) throw new SyscallError('fsmount', -mount, fstype);
    return mount;
  } finally {
    close(context);
  }
}

const FSPICK_CLOEXEC = 1;
const FSPICK_EMPTY_PATH = 8;

/** Makes the file system behind a mount read-only, for everybody and every mount of it. */
export function makeReadOnly(mount: number): void {
  const context = trySyscall('fspick', mount, scratch().cstring(''), FSPICK_CLOEXEC | FSPICK_EMPTY_PATH);
  if (context < 0) throw new SyscallError('fspick', -context, `fd ${mount}`);
  try {
    const flag = trySyscall('fsconfig', context, FSCONFIG.SET_FLAG, scratch().cstring('ro'), 0, 0);
    if (flag < 0) throw new SyscallError('fsconfig', -flag, 'ro');
    const done = trySyscall('fsconfig', context, FSCONFIG.CMD_RECONFIGURE, 0, 0, 0);
    if (done < 0) throw new SyscallError('fsconfig', -done, `reconfigure${kernelMessage(context)}`);
  } finally {
    close(context);
  }
}

/** mount(2) without a file system or data: binds, and changes of what is mounted. */
export function mount(source: string | null, target: string, flags: number): void {
  const arena = scratch();
  const result = trySyscall('mount', source === null ? 0 : arena.cstring(source), arena.cstring(target), 0, flags, 0);
  if (result < 0) throw new SyscallError('mount', -result, target);
}

export function umount(target: string, flags: number): void {
  const result = trySyscall('umount2', scratch().cstring(target), flags);
  if (result < 0) throw new SyscallError('umount2', -result, target);
}

/** What the kernel wrote into the context's log, as ` (text)`: far clearer than its errno. */
function kernelMessage(context: number): string {
  const arena = scratch();
  const buffer = arena.alloc(1024);
  const length = trySyscall('read', context, buffer, 1024);
  return length > 0 ? ` (${arena.slice(buffer, length).toString('utf8').trim()})` : '';
}
