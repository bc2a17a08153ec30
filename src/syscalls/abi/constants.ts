/** Flags by the names the kernel's headers give them; plans carry the names, executors the numbers. */
export const CLONE = {
  CLONE_VM: 0x100,
  CLONE_FS: 0x200,
  CLONE_FILES: 0x400,
  CLONE_PIDFD: 0x1000,
  CLONE_VFORK: 0x4000,
  CLONE_PARENT: 0x8000,
  CLONE_NEWNS: 0x20000,
  CLONE_PARENT_SETTID: 0x100000,
  CLONE_NEWCGROUP: 0x2000000,
  CLONE_NEWUTS: 0x4000000,
  CLONE_NEWIPC: 0x8000000,
  CLONE_NEWUSER: 0x10000000,
  CLONE_NEWPID: 0x20000000,
  CLONE_NEWNET: 0x40000000,
  CLONE_CLEAR_SIGHAND: 0x1_0000_0000,
  CLONE_INTO_CGROUP: 0x2_0000_0000,
} as const;

export const MS = {
  MS_RDONLY: 1,
  MS_NOSUID: 2,
  MS_NODEV: 4,
  MS_NOEXEC: 8,
  MS_REMOUNT: 32,
  MS_BIND: 4096,
  MS_MOVE: 8192,
  MS_REC: 16384,
  MS_SILENT: 32768,
  MS_PRIVATE: 1 << 18,
  MS_SLAVE: 1 << 19,
  MS_SHARED: 1 << 20,
  MS_RELATIME: 1 << 21,
  MS_STRICTATIME: 1 << 24,
} as const;

export const UMOUNT = { MNT_FORCE: 1, MNT_DETACH: 2, UMOUNT_NOFOLLOW: 8 } as const;

export const MOUNT_ATTR = {
  MOUNT_ATTR_RDONLY: 0x1,
  MOUNT_ATTR_NOSUID: 0x2,
  MOUNT_ATTR_NODEV: 0x4,
  MOUNT_ATTR_NOEXEC: 0x8,
  MOUNT_ATTR_IDMAP: 0x100000,
} as const;

const arm64 = process.arch === 'arm64';

export const O = {
  O_RDONLY: 0,
  O_WRONLY: 1,
  O_RDWR: 2,
  O_CREAT: 0o100,
  O_EXCL: 0o200,
  O_NOCTTY: 0o400,
  O_TRUNC: 0o1000,
  O_APPEND: 0o2000,
  O_NONBLOCK: 0o4000,
  O_DIRECTORY: arm64 ? 0o40000 : 0o200000,
  O_NOFOLLOW: arm64 ? 0o100000 : 0o400000,
  O_CLOEXEC: 0o2000000,
  O_PATH: 0o10000000,
} as const;

export const AT = {
  AT_FDCWD: -100,
  AT_SYMLINK_NOFOLLOW: 0x100,
  AT_REMOVEDIR: 0x200,
  AT_RECURSIVE: 0x8000,
  AT_EMPTY_PATH: 0x1000,
  AT_STATX_FORCE_SYNC: 0x2000,
  AT_STATX_DONT_SYNC: 0x4000,
} as const;

export const RESOLVE = {
  RESOLVE_NO_XDEV: 1,
  RESOLVE_NO_MAGICLINKS: 2,
  RESOLVE_NO_SYMLINKS: 4,
  RESOLVE_BENEATH: 8,
  RESOLVE_IN_ROOT: 16,
  RESOLVE_CACHED: 32,
} as const;

export const OPEN_TREE = { OPEN_TREE_CLONE: 1, OPEN_TREE_CLOEXEC: O.O_CLOEXEC } as const;

export const MOVE_MOUNT_F_EMPTY_PATH = 4;
export const MOVE_MOUNT_T_EMPTY_PATH = 0x40;

export const FSCONFIG = { SET_FLAG: 0, SET_STRING: 1, CMD_CREATE: 6, CMD_RECONFIGURE: 7 } as const;

export const S_IFMT = 0o170000;
export const S_IFDIR = 0o040000;
export const S_IFREG = 0o100000;
export const S_IFIFO = 0o010000;
export const S_IFSOCK = 0o140000;
export const S_IFBLK = 0o060000;
export const S_IFCHR = 0o020000;
export const S_IFLNK = 0o120000;

export const P_PIDFD = 3;
export const WAIT = { WNOHANG: 1, WEXITED: 4, WNOWAIT: 0x01000000, __WALL: 0x40000000 } as const;
/** si_code of SIGCHLD (asm-generic/siginfo.h). */
export const CLD = { exited: 1, killed: 2, dumped: 3 } as const;

export const POLLIN = 1;
export const POLLHUP = 0x10;

export const IOCTL = {
  TIOCSCTTY: 0x540e,
  TIOCSWINSZ: 0x5414,
  TIOCGWINSZ: 0x5413,
  TIOCSPTLCK: 0x40045431,
  TIOCGPTPEER: 0x5441,
  FIONREAD: 0x541b,
  SIOCSIFFLAGS: 0x8914,
  /** _IOWR(0xFF, 11, struct pidfd_info) with the 64-byte structure of Linux 6.13. */
  PIDFD_GET_INFO: 0xc040ff0b,
  LOOP_GET_STATUS64: 0x4c05,
  LOOP_CONFIGURE: 0x4c0a,
  LOOP_CTL_GET_FREE: 0x4c82,
} as const;

export const PR = { PR_SET_DUMPABLE: 4, PR_GET_DUMPABLE: 3, PR_CAPBSET_DROP: 24 } as const;

/** ORs flags by name; a name that the table does not hold is a mistake in a plan. */
export function flagsOf(table: Readonly<Record<string, number>>, names: readonly string[]): number {
  let value = 0;
  for (const name of names) {
    const bit = table[name];
    if (bit === undefined) throw new RangeError(`unknown flag ${name}`);
    value += bit;
  }
  return value;
}

export const EPOLL = { CTL_ADD: 1, CTL_DEL: 2, CTL_MOD: 3, IN: 1, PRI: 2, OUT: 4 } as const;

/** struct epoll_event is packed on x64 only (linux/eventpoll.h). */
export const EPOLL_EVENT = arm64 ? ({ size: 16, data: 8 } as const) : ({ size: 12, data: 4 } as const);
