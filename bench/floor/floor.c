/* The floor: what a start costs when nothing but the kernel works. It makes the system calls of a Caisson start
 * (src/plan, src/workers) in the same order, split between parent and child in the same way, from C and with
 * everything it can know beforehand prepared. Caisson can come near these times, hardly below them.
 *
 *     floor [options] N ROOTFS [INIT]    N starts, one line each: run <i> <call> <first> <reaped> <gone>   (ns)
 *     floor [options] serve ROOTFS       commands on standard input, see serve()
 *
 *     --userns        with a user namespace: ids 0-65535 are 1000000-1065535 on the host, the rootfs idmapped
 *     --cgroup NAME   directory below our own cgroups in which containers get theirs (default caisson-floor)
 *     --calls         after each start: every system call with its time, for comparing with `caisson explain`
 *
 * Run as root in a mount and pid namespace of its own (scripts/bench.sh does). The child shares the parent's memory
 * (CLONE_VM), as Caisson's does, on a stack of its own, and makes raw system calls only: no libc, errno or lock.
 * One call of a start is one HOST() or INIT() line; `npm run bench -- --compare` counts both programs' calls by strace.
 * Left out on purpose, as Caisson's own cost: the clock readings of every step, the wake-ups between its threads, the
 * durable record of the container that create() writes. */
#define _GNU_SOURCE
#include "../payload/raw.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <linux/sched.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef MNT_DETACH /* in <sys/mount.h>, which older glibc cannot take together with <linux/mount.h> */
#define MNT_DETACH 2
#endif

/* ---- what is known before any start: Caisson's host facts and compiled plan ------------------------------------ */

enum {
  MAX_HIERARCHIES = 16,
  MAX_DELEGATED = 16,
  MAX_CALLS = 512,
  STACK = 64 * 1024,
  FAILED = 125,
  ID_BASE = 1000000,
  ID_COUNT = 65536,
  TTY_GID = 5,
};
#define COUNT(array) (int)(sizeof(array) / sizeof *(array))

struct hierarchy {
  char name[64];
  char directory[512]; /* ours: the containers' cgroups are made in it */
  int v2, devices;
};
static struct hierarchy hierarchies[MAX_HIERARCHIES];
static int hierarchy_count, v1_devices = -1, v2_hierarchy = -1;
static int joined_count; /* v1 hierarchies: a child is born into its v2 cgroup and joins the others itself */
static char delegated[MAX_DELEGATED][64];
static int delegated_count;
static char v2_controllers[256];

static const struct { const char *path; int major, minor; } devices[] = {
    {"null", 1, 3},    {"zero", 1, 5}, {"full", 1, 7},     {"random", 1, 8},
    {"urandom", 1, 9}, {"tty", 5, 0},  {"fuse", 10, 229}, {"net/tun", 10, 200},
};
static const char *const dev_directories[] = {"net", "pts", "shm", "mqueue"};
static const struct { const char *path, *target; } links[] = {
    {"fd", "/proc/self/fd"},         {"stdin", "/proc/self/fd/0"}, {"stdout", "/proc/self/fd/1"},
    {"stderr", "/proc/self/fd/2"}, {"ptmx", "pts/ptmx"},
};
/* Bound from the host where it has them. */
static const struct { const char *path; } host_paths[] = {
    {"/sys/fs/fuse/connections"}, {"/sys/fs/pstore"}, {"/sys/kernel/debug"}, {"/sys/kernel/security"}, {"/sys/kernel/tracing"},
    {"/sys/firmware/efi/efivars"}, {"/sys/kernel/config"}, {"/sys/fs/selinux"},
};
static const char *const proc_covers[] = {"/proc/kcore", "/proc/kallsyms", "/proc/keys", "/proc/timer_list"};
static const char *const proc_read_only[] = {"/proc/acpi", "/proc/asound", "/proc/bus", "/proc/fs", "/proc/irq", "/proc/scsi"};
static const struct { char type; int major, minor, access; } rules[] = {
    {'c', 1, 3, 7},    {'c', 1, 5, 7},     {'c', 1, 7, 7},  {'c', 1, 8, 7},  {'c', 1, 9, 7},   {'c', 5, 0, 7},  {'c', 10, 229, 7},
    {'c', 10, 200, 7}, {'c', 136, -1, 7}, {'c', 5, 2, 7}, {'c', 5, 1, 7}, {'c', -1, -1, 1}, {'b', -1, -1, 1},
};
static char rule_lines[COUNT(rules)][32];
static struct bpf_insn rule_program[16 * COUNT(rules)];
static int rule_program_length;
static const int drops[] = {CAP_SYS_TIME, CAP_SYS_MODULE, CAP_SYS_RAWIO, CAP_MAC_ADMIN, CAP_MAC_OVERRIDE};
static struct rlimit limits[RLIM_NLIMITS];

static int user_namespace, log_calls;
static const char *rootfs_path;
static const char *group_name = "caisson-floor";
static const char *run_directory;
static int owner; /* the host's id of container root */
static struct __user_cap_data_struct capabilities[2]; /* all that can be kept, none inheritable */
static char tmpfs_owner[16], devpts_gid[16], id_map[64];

/* ---- one start -------------------------------------------------------------------------------------------------- */

struct container {
  int number;
  int gate, sync; /* parent's and child's end */
  int cgroup[MAX_HIERARCHIES];
  int rootfs, dev, devpts, master, slave;
  int covers, kernel_log, run_host, notify, incoming, os_release;
  int host_mounts[COUNT(host_paths)];
  pid_t pid;
  int pidfd;
  char hostname[32];
  const char *argv[2];
  int64_t called, first, reaped, gone;
  /* The call of the child that was refused, if one was. */
  const char *failed_call;
  int failed_line, failed_errno;
};

static struct { const char *name; int line, in_child; int64_t at; } calls[MAX_CALLS];
static int call_count;

static void note(const char *name, int line, int in_child) {
  int at = __atomic_fetch_add(&call_count, 1, __ATOMIC_RELAXED);
  if (at >= MAX_CALLS) return;
  calls[at].name = name;
  calls[at].line = line;
  calls[at].in_child = in_child;
  calls[at].at = raw_monotonic();
}

static __attribute__((noreturn)) void host_failed(const char *name, int line, long error) {
  fprintf(stderr, "floor: %s in line %d: %s\n", name, line, strerror((int)-error));
  exit(1);
}

static __attribute__((noreturn)) void init_failed(struct container *c, const char *name, int line, long error) {
  c->failed_call = name;
  c->failed_line = line;
  c->failed_errno = (int)-error;
  for (;;) raw(SYS_exit_group, FAILED);
}

/** A call of the parent. A refusal ends the program. */
#define HOST(name, ...)                                     \
  ({                                                        \
    long result_ = raw(SYS_##name, ##__VA_ARGS__);          \
    if (result_ < 0) host_failed(#name, __LINE__, result_); \
    if (log_calls) note(#name, __LINE__, 0);                \
    result_;                                                \
  })
/** A call of the child, which has its container as `c`. A refusal ends the child; the parent reports it. */
#define INIT(name, ...)                                        \
  ({                                                           \
    long result_ = raw(SYS_##name, ##__VA_ARGS__);             \
    if (result_ < 0) init_failed(c, #name, __LINE__, result_); \
    if (log_calls) note(#name, __LINE__, 1);                   \
    result_;                                                   \
  })

/** The same where the call may fail without harm, as the plan's tolerated steps do. */
#define TRY_INIT(name, ...)                    \
  ({                                           \
    long result_ = raw(SYS_##name, ##__VA_ARGS__); \
    if (log_calls) note(#name, __LINE__, 1);   \
    result_;                                   \
  })

#define TRY_HOST(name, ...)                    \
  ({                                           \
    long result_ = raw(SYS_##name, ##__VA_ARGS__); \
    if (log_calls) note(#name, __LINE__, 0);   \
    result_;                                   \
  })

/** clone3; the child calls run(c) on the stack given in `args`. */
static long clone3_run(struct clone_args *args, void (*run)(struct container *), struct container *c) {
#if defined(__x86_64__)
  long ret;
  __asm__ volatile(
      "syscall\n\t"
      "test %%rax, %%rax\n\t"
      "jnz 1f\n\t"
      "mov %[c], %%rdi\n\t"
      "call *%[run]\n\t"
      "ud2\n"
      "1:"
      : "=a"(ret)
      : "a"(SYS_clone3), "D"(args), "S"(sizeof *args), [c] "r"(c), [run] "r"(run)
      : "rcx", "r11", "memory");
  return ret;
#else
  register long x8 __asm__("x8") = SYS_clone3;
  register long x0 __asm__("x0") = (long)args;
  register long x1 __asm__("x1") = sizeof *args;
  __asm__ volatile(
      "svc #0\n\t"
      "cbnz x0, 1f\n\t"
      "mov x0, %[c]\n\t"
      "blr %[run]\n\t"
      "brk #0\n"
      "1:"
      : "+r"(x0)
      : "r"(x8), "r"(x1), [c] "r"(c), [run] "r"(run)
      : "memory", "x30");
  return x0;
#endif
}

/* Gates: the parent sends a byte, with the descriptors that the child needs next, and goes on with its own work; the
 * child answers with a byte when it has done its batch. Exec closes the child's end: end of file for the parent. */

enum { MOST_RIGHTS = MAX_HIERARCHIES, SYNC_FD = 3 };
union rights { struct cmsghdr header; char room[CMSG_SPACE(MOST_RIGHTS * sizeof(int))]; };

static void open_gate(struct container *c, int count, const int *fds) {
  char byte = 0;
  struct iovec vec = {&byte, 1};
  union rights rights;
  struct msghdr message = {.msg_iov = &vec, .msg_iovlen = 1};
  if (count > 0) {
    message.msg_control = &rights;
    message.msg_controllen = CMSG_SPACE((size_t)count * sizeof(int));
    rights.header = (struct cmsghdr){CMSG_LEN((size_t)count * sizeof(int)), SOL_SOCKET, SCM_RIGHTS};
    memcpy(CMSG_DATA(&rights.header), fds, (size_t)count * sizeof(int));
  }
  HOST(sendmsg, c->gate, &message, MSG_NOSIGNAL);
}

/** In the child: waits at the gate and takes the `count` descriptors sent with it. */
static void pass_gate(struct container *c, int count, int *fds) {
  char byte;
  struct iovec vec = {&byte, 1};
  union rights rights;
  struct msghdr message = {.msg_iov = &vec, .msg_iovlen = 1, .msg_control = &rights, .msg_controllen = sizeof rights};
  if (INIT(recvmsg, SYNC_FD, &message, MSG_CMSG_CLOEXEC) != 1) init_failed(c, "recvmsg", __LINE__, -EPIPE);
  const int *received = (const int *)CMSG_DATA(&rights.header);
  for (int i = 0; i < count; i++) fds[i] = received[i];
}

static void batch_done(struct container *c) {
  char byte = 0;
  INIT(sendto, SYNC_FD, &byte, 1, MSG_NOSIGNAL, 0, 0);
}

/** Waits until the child has called exec, past the answers to its batches. */
static void await_exec(struct container *c) {
  for (;;) {
    char byte;
    struct pollfd polled = {.fd = c->gate, .events = POLLIN};
    struct timespec limit = {.tv_sec = 30};
    HOST(ppoll, &polled, 1, &limit, 0, 8);
    /* 0: end of file; an error: it died with a gate's message unread */
    if (raw(SYS_recvfrom, c->gate, &byte, 1, MSG_DONTWAIT, 0, 0) < 1) break;
    if (log_calls) note("recvfrom", __LINE__, 0);
  }
}

/* As long as Caisson's default, which refuses some twenty calls by number and a few by argument: it allows all of them. */
static struct sock_filter seccomp_filter[96];
static struct sock_fprog seccomp_program = {COUNT(seccomp_filter), seccomp_filter};

/* The child, from its birth to exec. It has the descriptors that come through the gates, and nothing else. */
static void child(struct container *c) {
  int fds[MOST_RIGHTS];
  const unsigned long kernel_fs = MS_NOSUID | MS_NODEV | MS_NOEXEC;
  INIT(dup3, c->sync, SYNC_FD, O_CLOEXEC);
  INIT(close_range, SYNC_FD + 1, ~0U, 0);

  /* creating */
  pass_gate(c, joined_count, fds);
  for (int i = 0; i < joined_count; i++) INIT(write, fds[i], "0", 1);
  INIT(unshare, CLONE_NEWCGROUP);
  batch_done(c);

  /* mounting */
  pass_gate(c, 2, fds);
  INIT(setgroups, 0, 0);
  INIT(setresgid, 0, 0, 0);
  INIT(setresuid, 0, 0, 0);
  INIT(mount, 0, "/", 0, MS_REC | MS_PRIVATE, 0);
  INIT(move_mount, fds[1], "", AT_FDCWD, "/dev", MOVE_MOUNT_F_EMPTY_PATH);
  INIT(mount, 0, "/dev", 0, MS_REMOUNT | MS_BIND | MS_RDONLY | kernel_fs, 0);
  INIT(move_mount, fds[0], "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH);
  INIT(fchdir, fds[0]);
  INIT(mount, 0, ".", 0, MS_REC | MS_PRIVATE, 0);
  INIT(pivot_root, ".", ".");
  INIT(mount, "proc", "/proc", "proc", kernel_fs, 0);
  if (!user_namespace) {
    INIT(mount, "/proc/sys", "/proc/sys", 0, MS_BIND, 0);
    INIT(mount, "/proc/sys/net", "/proc/sys/net", 0, MS_BIND, 0);
    INIT(mount, 0, "/proc/sys", 0, MS_REMOUNT | MS_BIND | MS_RDONLY | kernel_fs, 0);
    /* A kernel without magic SysRq has no such file. */
    TRY_INIT(mount, "/proc/sysrq-trigger", "/proc/sysrq-trigger", 0, MS_BIND, 0);
    TRY_INIT(mount, 0, "/proc/sysrq-trigger", 0, MS_REMOUNT | MS_BIND | MS_RDONLY | kernel_fs, 0);
    for (int i = 0; i < COUNT(proc_read_only); i++) {
      TRY_INIT(mount, proc_read_only[i], proc_read_only[i], 0, MS_BIND, 0);
      TRY_INIT(mount, 0, proc_read_only[i], 0, MS_REMOUNT | MS_BIND | MS_RDONLY | kernel_fs, 0);
    }
  }
  INIT(mount, "sysfs", "/sys", "sysfs", kernel_fs, 0);
  INIT(mount, "/sys/devices/virtual/net", "/sys/devices/virtual/net", 0, MS_BIND, 0);
  INIT(mount, 0, "/sys", 0, MS_REMOUNT | MS_BIND | MS_RDONLY | kernel_fs, 0);
  INIT(fchdir, fds[1]);
  TRY_INIT(mount, "boot-id", "/proc/sys/kernel/random/boot_id", 0, MS_BIND, 0);
  TRY_INIT(mount, "kmsg", "/proc/kmsg", 0, MS_BIND, 0);
  for (int i = 0; i < COUNT(proc_covers); i++) TRY_INIT(mount, "empty", proc_covers[i], 0, MS_BIND, 0);
  INIT(fchdir, fds[0]);
  if (v2_hierarchy >= 0) INIT(mount, "cgroup2", "/sys/fs/cgroup", "cgroup2", kernel_fs | MS_RELATIME, 0);
  batch_done(c);
  pass_gate(c, 3 + COUNT(host_paths), fds);
  INIT(mount, "tmpfs", "/run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755");
  INIT(mkdirat, AT_FDCWD, "/run/host", 0755);
  INIT(move_mount, fds[0], "", AT_FDCWD, "/run/host", MOVE_MOUNT_F_EMPTY_PATH);
  INIT(move_mount, fds[1], "", AT_FDCWD, "/run/host/incoming", MOVE_MOUNT_F_EMPTY_PATH);
  INIT(mount, 0, "/run/host/incoming", 0, MS_SLAVE, 0);
  INIT(mount, 0, "/run/host/incoming", 0, MS_REMOUNT | MS_BIND | MS_RDONLY | kernel_fs, 0);
  INIT(move_mount, fds[2], "", AT_FDCWD, "/run/host/os-release", MOVE_MOUNT_F_EMPTY_PATH);
  INIT(mount, 0, "/run/host/os-release", 0, MS_PRIVATE, 0);
  INIT(mount, 0, "/run/host/os-release", 0, MS_REMOUNT | MS_BIND | MS_RDONLY | kernel_fs, 0);
  if (user_namespace) TRY_INIT(mount, "binfmt_misc", "/proc/sys/fs/binfmt_misc", "binfmt_misc", kernel_fs, 0);
  for (int i = 0; i < COUNT(host_paths); i++) {
    if (c->host_mounts[i] >= 0) TRY_INIT(move_mount, fds[3 + i], "", AT_FDCWD, host_paths[i].path, MOVE_MOUNT_F_EMPTY_PATH);
  }
  INIT(mount, 0, "/run/host", 0, MS_REMOUNT | MS_BIND | MS_RDONLY | kernel_fs, 0);
  INIT(umount2, ".", MNT_DETACH);
  INIT(chdir, "/");
  batch_done(c);

  /* devices */
  pass_gate(c, 2, fds);
  INIT(move_mount, fds[0], "", AT_FDCWD, "/dev", MOVE_MOUNT_F_EMPTY_PATH);
  INIT(move_mount, fds[1], "", AT_FDCWD, "/dev/pts", MOVE_MOUNT_F_EMPTY_PATH);
  INIT(mount, "tmpfs", "/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777");
  INIT(mount, "mqueue", "/dev/mqueue", "mqueue", kernel_fs, 0);
  INIT(mount, "/dev/pts/0", "/dev/console", 0, MS_BIND, 0);
  batch_done(c);

  /* network */
  pass_gate(c, 0, NULL);
  struct ifreq lo = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
  int sock = (int)INIT(socket, AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  INIT(ioctl, sock, SIOCSIFFLAGS, &lo);
  batch_done(c);

  /* running */
  pass_gate(c, 1, fds);
  int length = 0;
  while (c->hostname[length]) length++;
  INIT(sethostname, c->hostname, length);
  INIT(setsid);
  for (int fd = 0; fd < 3; fd++) INIT(dup3, fds[0], fd, 0);
  INIT(ioctl, 0, TIOCSCTTY, 0);
  INIT(umask, 022);
  INIT(keyctl, 1 /* KEYCTL_JOIN_SESSION_KEYRING */, 0);
  static const struct __user_cap_header_struct version = {_LINUX_CAPABILITY_VERSION_3, 0};
  INIT(seccomp, 1 /* SECCOMP_SET_MODE_FILTER */, 4 /* SPEC_ALLOW */, &seccomp_program);
  if (!user_namespace) {
    for (int i = 0; i < COUNT(drops); i++) INIT(prctl, PR_CAPBSET_DROP, drops[i]);
  }
  static const int audit[] = {CAP_AUDIT_WRITE, CAP_AUDIT_CONTROL, CAP_AUDIT_READ};
  for (int i = 0; i < COUNT(audit); i++) INIT(prctl, PR_CAPBSET_DROP, audit[i]);
  INIT(capset, &version, capabilities);
  static const unsigned long zero[4];
  INIT(rt_sigaction, SIGPIPE, zero, 0, 8);
  INIT(rt_sigaction, SIGXFSZ, zero, 0, 8);
  INIT(close_range, 3, ~0U, CLOSE_RANGE_CLOEXEC);
  INIT(rt_sigprocmask, SIG_SETMASK, zero, 0, 8);
  static const char *const environment[] = {"container=lxc", 0};
  INIT(execve, c->argv[0], c->argv, environment);
}

/* ---- the parent's operations, named as in src/plan/step.ts -------------------------------------------------------- */

static void write_file(const char *path, const char *text) {
  int fd = (int)HOST(openat, AT_FDCWD, path, O_WRONLY | O_CLOEXEC);
  HOST(write, fd, text, strlen(text));
  HOST(close, fd);
}

static const char *in_group(const struct container *c, int hierarchy, const char *file) {
  static char path[2048];
  snprintf(path, sizeof path, "%s/%d%s", hierarchies[hierarchy].directory, c->number, file);
  return path;
}

static const char *run_path(const struct container *c) {
  static char path[512];
  snprintf(path, sizeof path, "%s/%d", run_directory, c->number);
  return path;
}

static int open_inside(int dir, const char *path, int flags) {
  struct open_how how = {.flags = (uint64_t)(O_CLOEXEC | flags), .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};
  return (int)HOST(openat2, dir, path, &how, sizeof how);
}

/** ENV-01 to ENV-06. */
static void rootfs_check(int dir) {
  static const char *const mount_points[] = {"dev", "proc", "sys"};
  struct statfs file_system;
  struct statx status;
  char entries[1024];
  HOST(fstatfs, dir, &file_system);
  for (int i = 0; i < COUNT(mount_points); i++) {
    int fd = open_inside(dir, mount_points[i], O_DIRECTORY | O_NOFOLLOW);
    HOST(getdents64, fd, entries, sizeof entries);
    HOST(close, fd);
  }
  int init = open_inside(dir, "/sbin/init", O_PATH);
  HOST(statx, init, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &status);
  HOST(close, init);
}

static int fs_mount(const char *type, const char *const options[][2], unsigned attributes) {
  int context = (int)HOST(fsopen, type, FSOPEN_CLOEXEC);
  for (int i = 0; options[i][0]; i++) HOST(fsconfig, context, FSCONFIG_SET_STRING, options[i][0], options[i][1], 0);
  HOST(fsconfig, context, FSCONFIG_CMD_CREATE, 0, 0, 0);
  int mount = (int)HOST(fsmount, context, FSMOUNT_CLOEXEC, attributes);
  HOST(close, context);
  return mount;
}

static void tree_owner(int dir, const char *path) {
  HOST(fchownat, dir, path, owner, owner, AT_SYMLINK_NOFOLLOW);
}

/** /dev with all that is in it, while nobody can see it. */
static void make_dev(struct container *c) {
  c->dev = fs_mount("tmpfs", (const char *const[][2]){{"mode", "0755"}, {"size", "500000"}, {"uid", tmpfs_owner}, {"gid", tmpfs_owner}, {0}}, MOUNT_ATTR_NOSUID);
  for (int i = 0; i < COUNT(dev_directories); i++) {
    HOST(mkdirat, c->dev, dev_directories[i], 0755);
    tree_owner(c->dev, dev_directories[i]);
  }
  for (int i = 0; i < COUNT(devices); i++) {
    HOST(mknodat, c->dev, devices[i].path, S_IFCHR | 0666, makedev(devices[i].major, devices[i].minor));
    tree_owner(c->dev, devices[i].path);
  }
  HOST(mknodat, c->dev, "console", S_IFREG | 0600, 0);
  tree_owner(c->dev, "console");
  for (int i = 0; i < COUNT(links); i++) {
    HOST(symlinkat, links[i].target, c->dev, links[i].path);
    tree_owner(c->dev, links[i].path);
  }
  c->devpts = fs_mount("devpts", (const char *const[][2]){{"ptmxmode", "0666"}, {"mode", "0620"}, {"max", "1024"}, {"gid", devpts_gid}, {0}}, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC);
  if (owner != 0) {
    HOST(fchownat, c->devpts, "", owner, owner, AT_EMPTY_PATH);
    tree_owner(c->devpts, "ptmx");
  }
}

static void tree_file(int dir, const char *path, const char *text) {
  int fd = (int)HOST(openat, dir, path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0444);
  HOST(write, fd, text, strlen(text));
  HOST(fchownat, fd, "", owner, owner, AT_EMPTY_PATH);
  HOST(close, fd);
}

static void tree_node(int dir, const char *path, unsigned mode) {
  HOST(mknodat, dir, path, mode, 0);
  tree_owner(dir, path);
}

static void tree_directory(int dir, const char *path, unsigned mode) {
  HOST(mkdirat, dir, path, mode);
  tree_owner(dir, path);
}

static int datagram_socket(int dir, const char *name, unsigned mode) {
  static const int on = 1;
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/%s", dir, name);
  int sock = (int)HOST(socket, AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  HOST(setsockopt, sock, SOL_SOCKET, SO_PASSCRED, &on, sizeof on);
  HOST(bind, sock, &address, sizeof address);
  HOST(fchmodat, dir, name, mode);
  tree_owner(dir, name);
  return sock;
}

static const char *const no_exec_fs[][2] = {{"mode", "0755"}, {"size", "64k"}, {"nr_inodes", "16"}, {0}};

/** What covers files of /proc. */
static void make_covers(struct container *c) {
  c->covers = fs_mount("tmpfs", no_exec_fs, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
  tree_file(c->covers, "boot-id", "0b1f6a52-3f1c-4d11-9a57-2f7f0b1f6a52\n");
  tree_node(c->covers, "empty", S_IFREG | 0444);
  tree_node(c->covers, "kmsg", S_IFIFO | 0400);
  c->kernel_log = (int)HOST(openat, c->covers, "kmsg", O_RDWR | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW);
}

static void make_run_host(struct container *c) {
  for (int i = 0; i < COUNT(host_paths); i++) {
    struct mount_attr attributes = {.attr_set = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC, .propagation = MS_PRIVATE};
    c->host_mounts[i] = (int)TRY_HOST(open_tree, AT_FDCWD, host_paths[i].path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
    if (c->host_mounts[i] >= 0) HOST(mount_setattr, c->host_mounts[i], "", AT_EMPTY_PATH | AT_RECURSIVE, &attributes, sizeof attributes);
  }
  struct open_how how = {.flags = O_PATH | O_NOFOLLOW | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};
  TRY_HOST(openat2, c->rootfs, "etc/machine-id", &how, sizeof how);
  c->run_host = fs_mount("tmpfs", (const char *const[][2]){{"mode", "0755"}, {"size", "4m"}, {"nr_inodes", "1k"}, {"uid", tmpfs_owner}, {"gid", tmpfs_owner}, {0}},
                         MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
  tree_directory(c->run_host, "inaccessible", 0755);
  tree_directory(c->run_host, "inaccessible/dir", 0);
  static const unsigned kinds[] = {S_IFREG, S_IFIFO, S_IFSOCK, S_IFCHR, S_IFBLK};
  static const char *const names[] = {"inaccessible/reg", "inaccessible/fifo", "inaccessible/sock", "inaccessible/chr", "inaccessible/blk"};
  for (int i = 0; i < COUNT(kinds); i++) tree_node(c->run_host, names[i], kinds[i]);
  tree_directory(c->run_host, "credentials", 0500);
  tree_file(c->run_host, "container-manager", "caisson\n");
  tree_file(c->run_host, "container-uuid", "0b1f6a52-3f1c-8d11-9a57-2f7f0b1f6a52\n");
  c->notify = datagram_socket(c->run_host, "notify", 0600);
  tree_directory(c->run_host, "incoming", 0600);
  char path[640];
  snprintf(path, sizeof path, "%s/incoming", run_path(c));
  HOST(mkdirat, AT_FDCWD, path, 0600);
  c->incoming = (int)HOST(open_tree, AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
  c->os_release = (int)HOST(open_tree, AT_FDCWD, "/etc/os-release", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
  tree_file(c->run_host, "os-release", "");
}

static void pty_open(struct container *c) {
  int unlocked = 0;
  struct winsize size = {24, 80, 0, 0};
  c->master = (int)HOST(openat, c->devpts, "ptmx", O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
  HOST(ioctl, c->master, TIOCSPTLCK, &unlocked);
  c->slave = (int)HOST(ioctl, c->master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
  HOST(ioctl, c->master, TIOCSWINSZ, &size);
  HOST(fchownat, c->slave, "", owner, owner + TTY_GID, AT_EMPTY_PATH);
}

static void device_policy(struct container *c) {
  if (v1_devices >= 0) {
    write_file(in_group(c, v1_devices, "/devices.deny"), "a");
    int allow = (int)HOST(openat, AT_FDCWD, in_group(c, v1_devices, "/devices.allow"), O_WRONLY | O_CLOEXEC);
    for (int i = 0; i < COUNT(rules); i++) HOST(write, allow, rule_lines[i], strlen(rule_lines[i]));
    HOST(close, allow);
    return;
  }
  if (v2_hierarchy < 0) return;
  union bpf_attr load = {.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE};
  load.insns = (uint64_t)(uintptr_t)rule_program;
  load.insn_cnt = (unsigned)rule_program_length;
  load.license = (uint64_t)(uintptr_t) "GPL";
  load.expected_attach_type = BPF_CGROUP_DEVICE;
  int program = (int)HOST(bpf, BPF_PROG_LOAD, &load, sizeof load);
  int cgroup = (int)HOST(openat, AT_FDCWD, in_group(c, v2_hierarchy, ""), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  union bpf_attr attach = {.target_fd = (unsigned)cgroup, .attach_bpf_fd = (unsigned)program, .attach_type = BPF_CGROUP_DEVICE};
  attach.attach_flags = BPF_F_ALLOW_MULTI;
  HOST(bpf, BPF_PROG_ATTACH, &attach, sizeof attach);
  HOST(close, cgroup);
  HOST(close, program);
}

static void make_cgroups(struct container *c) {
  for (int i = 0; i < hierarchy_count; i++) {
    HOST(mkdirat, AT_FDCWD, in_group(c, i, ""), 0755);
    if (!hierarchies[i].v2) continue;
    if (v2_controllers[0]) write_file(in_group(c, i, "/cgroup.subtree_control"), v2_controllers);
    HOST(mkdirat, AT_FDCWD, in_group(c, i, "/payload"), 0755);
    HOST(fchownat, AT_FDCWD, in_group(c, i, "/payload"), owner, owner, 0);
    for (int file = 0; file < delegated_count; file++) {
      raw(SYS_fchownat, AT_FDCWD, in_group(c, i, delegated[file]), owner, owner, 0); /* ENOENT: not one of this kernel's */
    }
  }
  for (int i = 0; i < hierarchy_count; i++) {
    c->cgroup[i] = hierarchies[i].v2 ? (int)HOST(openat, AT_FDCWD, in_group(c, i, "/payload"), O_RDONLY | O_DIRECTORY | O_CLOEXEC)
                                     : (int)HOST(openat, AT_FDCWD, in_group(c, i, "/tasks"), O_WRONLY | O_CLOEXEC);
  }
}

static void launch(struct container *c) {
  static char *stack;
  if (!stack) stack = mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
  int ends[2];
  HOST(socketpair, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends);
  c->gate = ends[0];
  c->sync = ends[1];
  struct clone_args args = {
      .flags = CLONE_VM | CLONE_PIDFD | CLONE_CLEAR_SIGHAND | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET,
      .pidfd = (uint64_t)(uintptr_t)&c->pidfd,
      .exit_signal = SIGCHLD,
      .stack = (uint64_t)(uintptr_t)stack,
      .stack_size = STACK,
  };
  if (user_namespace) args.flags |= CLONE_NEWUSER;
  if (v2_hierarchy >= 0) {
    args.flags |= CLONE_INTO_CGROUP;
    args.cgroup = (uint64_t)c->cgroup[v2_hierarchy];
  }
  static const unsigned long all = ~0UL;
  unsigned long before;
  HOST(rt_sigprocmask, SIG_SETMASK, &all, &before, 8);
  c->pid = (pid_t)clone3_run(&args, child, c);
  if (c->pid < 0) host_failed("clone3", __LINE__, c->pid);
  if (log_calls) note("clone3", __LINE__, 0);
  HOST(rt_sigprocmask, SIG_SETMASK, &before, 0, 8);
  HOST(close, c->sync);
}

/** pid and start time of PID 1: how a later supervisor knows it. */
static void record(struct container *c) {
  char stat_path[64], path[640], text[1024];
  snprintf(path, sizeof path, "%s/pid", run_path(c));
  snprintf(stat_path, sizeof stat_path, "/proc/%d/stat", c->pid);
  int file = (int)HOST(openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  int stat = (int)HOST(openat, AT_FDCWD, stat_path, O_RDONLY | O_CLOEXEC);
  while (HOST(read, stat, text, sizeof text) > 0) continue;
  HOST(close, stat);
  int length = snprintf(text, sizeof text, "%d 0\n", c->pid);
  HOST(write, file, text, length);
  HOST(close, file);
}

static void write_id_maps(const struct container *c) {
  static const char *const files[] = {"uid_map", "gid_map"};
  char path[64];
  for (int i = 0; i < COUNT(files); i++) {
    snprintf(path, sizeof path, "/proc/%d/%s", c->pid, files[i]);
    write_file(path, id_map);
  }
}

/** From the call to the moment exec has happened. */
static void start(struct container *c, int number, const char *init) {
  *c = (struct container){.number = number, .argv = {init}};
  snprintf(c->hostname, sizeof c->hostname, "floor-%d", number);
  call_count = 0;
  c->called = raw_monotonic();

  /* creating */
  int dir = (int)HOST(openat, AT_FDCWD, rootfs_path, O_PATH | O_DIRECTORY | O_CLOEXEC);
  rootfs_check(dir);
  HOST(mkdirat, AT_FDCWD, run_path(c), 0700);
  make_cgroups(c);
  if (user_namespace) HOST(prctl, PR_SET_DUMPABLE, 0, 0, 0, 0);
  launch(c);
  if (user_namespace) write_id_maps(c);
  int joined[MAX_HIERARCHIES], count = 0;
  for (int i = 0; i < hierarchy_count; i++) {
    if (!hierarchies[i].v2) joined[count++] = c->cgroup[i];
  }
  open_gate(c, count, joined);
  for (int i = 0; i < hierarchy_count; i++) HOST(close, c->cgroup[i]);

  /* mounting */
  c->rootfs = (int)HOST(open_tree, dir, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
  if (user_namespace) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/ns/user", c->pid);
    int userns = (int)HOST(openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
    struct mount_attr idmap = {.attr_set = MOUNT_ATTR_IDMAP, .userns_fd = (uint64_t)userns};
    HOST(mount_setattr, c->rootfs, "", AT_EMPTY_PATH, &idmap, sizeof idmap);
    HOST(close, userns);
  }
  HOST(close, dir);
  int init_file = open_inside(c->rootfs, "/sbin/init", O_PATH);
  struct statx init_status;
  HOST(statx, init_file, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &init_status);
  HOST(close, init_file);
  make_covers(c);
  open_gate(c, 2, (int[]){c->rootfs, c->covers});
  HOST(close, c->covers);
  make_run_host(c);
  int given[3 + COUNT(host_paths)] = {c->run_host, c->incoming, c->os_release};
  for (int i = 0; i < COUNT(host_paths); i++) given[3 + i] = c->host_mounts[i] >= 0 ? c->host_mounts[i] : c->run_host;
  open_gate(c, COUNT(given), given);
  for (int i = 0; i < 3; i++) HOST(close, given[i]);
  for (int i = 0; i < COUNT(host_paths); i++) {
    if (c->host_mounts[i] >= 0) HOST(close, c->host_mounts[i]);
  }
  HOST(close, c->rootfs);

  /* devices */
  device_policy(c);
  make_dev(c);
  pty_open(c);
  open_gate(c, 2, (int[]){c->dev, c->devpts});
  HOST(close, c->dev);
  HOST(close, c->devpts);

  /* network */
  open_gate(c, 0, NULL);

  /* running */
  for (int i = 0; i < RLIM_NLIMITS; i++) HOST(prlimit64, c->pid, i, &limits[i], 0);
  open_gate(c, 1, (int[]){c->slave});
  await_exec(c);
  if (c->failed_call) {
    fprintf(stderr, "floor: the child's %s in line %d: %s\n", c->failed_call, c->failed_line, strerror(c->failed_errno));
    exit(1);
  }
  record(c);
  if (user_namespace) HOST(prctl, PR_SET_DUMPABLE, 1, 0, 0, 0);
  HOST(close, c->gate);
}

/** Reads the console until PID 1 is gone (or, with `until_stamp`, until it has stamped), then reaps it. */
static void watch(struct container *c, int until_stamp, FILE *copy) {
  static char output[8192];
  size_t length = 0;
  for (int over = 0; !over;) {
    struct pollfd polls[] = {{.fd = c->pidfd, .events = POLLIN}, {.fd = c->master, .events = POLLIN}};
    HOST(ppoll, polls, 2, 0, 0, 8);
    if (polls[0].revents) {
      siginfo_t info;
      HOST(waitid, P_PIDFD, c->pidfd, &info, WEXITED, 0);
      c->reaped = raw_monotonic();
      over = 1;
    }
    if (!polls[1].revents && !over) continue;
    for (;;) {
      if (length > sizeof output - 1024) length = 0;
      long got = raw(SYS_read, c->master, output + length, 1023);
      if (got <= 0) break;
      if (copy) fwrite(output + length, 1, (size_t)got, copy);
      length += (size_t)got;
      output[length] = 0;
      char *stamp = c->first ? NULL : strstr(output, "STAMP ");
      if (stamp && strchr(stamp, '\n')) c->first = strtoll(stamp + 6, NULL, 10);
    }
    if (until_stamp && c->first) return;
  }
}

/** Looks for groups the payload made below, then removes the directory. */
static void remove_cgroup(const char *path) {
  static char entries[32768];
  struct stat status;
  int fd = (int)HOST(openat, AT_FDCWD, path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_DIRECTORY);
  HOST(newfstatat, fd, "", &status, AT_EMPTY_PATH);
  while (HOST(getdents64, fd, entries, sizeof entries) > 0) continue;
  HOST(close, fd);
  HOST(unlinkat, AT_FDCWD, path, AT_REMOVEDIR);
}

/** The teardown plan: descriptors closed, cgroups seen to be empty and removed, the record of PID 1 removed. */
static void teardown(struct container *c) {
  HOST(close, c->master);
  HOST(close, c->slave);
  HOST(close, c->pidfd);
  HOST(close, c->kernel_log);
  HOST(close, c->notify);
  for (int i = 0; i < hierarchy_count; i++) {
    if (v2_hierarchy >= 0 && i != v2_hierarchy) continue;
    char left[128];
    int fd = (int)HOST(openat, AT_FDCWD, in_group(c, i, hierarchies[i].v2 ? "/cgroup.events" : "/cgroup.procs"), O_RDONLY | O_CLOEXEC);
    while (HOST(read, fd, left, sizeof left) > 0) continue;
    HOST(close, fd);
  }
  for (int i = 0; i < hierarchy_count; i++) {
    if (hierarchies[i].v2) remove_cgroup(in_group(c, i, "/payload"));
    remove_cgroup(in_group(c, i, ""));
  }
  char path[640];
  snprintf(path, sizeof path, "%s/pid", run_path(c));
  HOST(unlinkat, AT_FDCWD, path, 0);
  snprintf(path, sizeof path, "%s/incoming", run_path(c));
  HOST(unlinkat, AT_FDCWD, path, AT_REMOVEDIR);
  HOST(unlinkat, AT_FDCWD, run_path(c), AT_REMOVEDIR);
  c->gone = raw_monotonic();
}

static void print_run(const struct container *c) {
  printf("run %d %lld %lld %lld %lld\n", c->number, (long long)c->called, (long long)c->first, (long long)c->reaped, (long long)c->gone);
}

static void print_calls(const struct container *c) {
  int64_t previous = c->called;
  int total = call_count < MAX_CALLS ? call_count : MAX_CALLS;
  for (int i = 0; i < total; i++) {
    printf("call %-14s line %-4d %s at %8.1f us, after %7.1f us\n", calls[i].name, calls[i].line, calls[i].in_child ? "init" : "host",
           (double)(calls[i].at - c->called) / 1e3, (double)(calls[i].at - previous) / 1e3);
    previous = calls[i].at;
  }
}

static void run(int number, const char *init, FILE *copy) {
  struct container c;
  start(&c, number, init);
  int started_calls = call_count;
  watch(&c, 0, copy);
  teardown(&c);
  if (copy) return;
  print_run(&c);
  call_count = started_calls;
  if (log_calls) print_calls(&c);
}

/* ---- what is gathered once ----------------------------------------------------------------------------------------- */

static void make_directory(const char *path) {
  if (mkdir(path, 0755) < 0 && errno != EEXIST) {
    perror(path);
    exit(1);
  }
}

static void read_file(const char *path, char *text, size_t size) {
  text[0] = 0;
  FILE *file = fopen(path, "r");
  if (!file) return;
  size_t length = fread(text, 1, size - 1, file);
  text[length] = 0;
  fclose(file);
}

static void copy_file(const char *from, const char *to) {
  char text[4096];
  read_file(from, text, sizeof text);
  FILE *file = fopen(to, "w");
  if (!file || fputs(text, file) < 0 || fclose(file)) {
    perror(to);
    exit(1);
  }
}

/** Our own cgroup in each hierarchy, and our directory below it. */
static void find_cgroups(void) {
  char line[2048];
  FILE *mounts = fopen("/proc/self/mountinfo", "r");
  while (mounts && fgets(line, sizeof line, mounts)) {
    char point[256], type[64] = "", options[512] = "";
    char *tail = strstr(line, " - ");
    if (!tail || sscanf(line, "%*s %*s %*s %*s %255s", point) != 1) continue;
    if (sscanf(tail, " - %63s %*s %511s", type, options) != 2 || strncmp(type, "cgroup", 6) != 0) continue;
    if (hierarchy_count == MAX_HIERARCHIES) break;
    struct hierarchy *h = &hierarchies[hierarchy_count];
    h->v2 = !strcmp(type, "cgroup2");
    const char *slash = strrchr(point, '/');
    snprintf(h->name, sizeof h->name, "%s", h->v2 ? "v2" : slash + 1);
    /* The line of /proc/self/cgroup is found by the controllers among the superblock's options. */
    char entry[1024], base[256] = "/";
    FILE *own = fopen("/proc/self/cgroup", "r");
    while (own && fgets(entry, sizeof entry, own)) {
      entry[strcspn(entry, "\n")] = 0;
      char *names = strchr(entry, ':') + 1, *path = strchr(names, ':');
      *path++ = 0;
      char first[128];
      snprintf(first, sizeof first, "%.*s", (int)strcspn(names, ","), names);
      if (h->v2 ? !names[0] : names[0] && strstr(options, first) != NULL) snprintf(base, sizeof base, "%s", path);
    }
    if (own) fclose(own);
    int length = snprintf(h->directory, sizeof h->directory, "%s%s/%s", point, strcmp(base, "/") ? base : "", group_name);
    if (length >= (int)sizeof h->directory) continue;
    make_directory(h->directory);
    h->devices = !h->v2 && strstr(options, "devices") != NULL;
    if (h->devices) v1_devices = hierarchy_count;
    if (h->v2) v2_hierarchy = hierarchy_count;
    else joined_count++;
    if (!h->v2 && strstr(options, "cpuset")) {
      /* New cpusets are empty and nobody can join them, unless they copy ours. */
      char from[600], to[600];
      static const char *const files[] = {"cpuset.cpus", "cpuset.mems"};
      for (int i = 0; i < COUNT(files); i++) {
        snprintf(from, sizeof from, "%.*s/%s", (int)(strlen(h->directory) - strlen(group_name) - 1), h->directory, files[i]);
        snprintf(to, sizeof to, "%s/%s", h->directory, files[i]);
        copy_file(from, to);
      }
      snprintf(to, sizeof to, "%s/cgroup.clone_children", h->directory);
      FILE *file = fopen(to, "w");
      if (!file || fputs("1", file) < 0 || fclose(file)) perror(to);
    }
    hierarchy_count++;
  }
  if (mounts) fclose(mounts);
  char text[1024];
  read_file("/sys/kernel/cgroup/delegate", text, sizeof text);
  for (char *name = strtok(text, "\n"); name && delegated_count < MAX_DELEGATED; name = strtok(NULL, "\n")) {
    char path[1600];
    snprintf(path, sizeof path, "%s/%s", v2_hierarchy >= 0 ? hierarchies[v2_hierarchy].directory : "", name);
    if (access(path, F_OK) != 0) continue; /* of a controller that is not ours to give */
    int length = snprintf(delegated[delegated_count], sizeof delegated[0], "/payload/%s", name);
    delegated_count += length < (int)sizeof delegated[0];
  }
  if (v2_hierarchy >= 0) {
    char path[640];
    snprintf(path, sizeof path, "%s/cgroup.subtree_control", hierarchies[v2_hierarchy].directory);
    char available[640];
    snprintf(available, sizeof available, "%s/cgroup.controllers", hierarchies[v2_hierarchy].directory);
    read_file(available, text, sizeof text);
    for (char *name = strtok(text, " \n"); name; name = strtok(NULL, " \n")) {
      size_t used = strlen(v2_controllers);
      snprintf(v2_controllers + used, sizeof v2_controllers - used, "%s+%s", used ? " " : "", name);
    }
    FILE *file = v2_controllers[0] ? fopen(path, "w") : NULL;
    if (file && (fputs(v2_controllers, file) < 0 || fclose(file))) v2_controllers[0] = 0;
  }
}

static int next_number;

/** At any exit, also that of a failed start: nothing of ours stays. */
static void clean_up(void) {
  struct container c;
  for (c.number = 0; c.number < next_number; c.number++) {
    char record[640];
    snprintf(record, sizeof record, "%s/pid", run_path(&c));
    unlink(record);
    snprintf(record, sizeof record, "%s/incoming", run_path(&c));
    rmdir(record);
    if (rmdir(run_path(&c)) < 0) continue; /* torn down already */
    for (int i = 0; i < hierarchy_count; i++) {
      if (hierarchies[i].v2) rmdir(in_group(&c, i, "/payload"));
      rmdir(in_group(&c, i, ""));
    }
  }
  for (int i = 0; i < hierarchy_count; i++) rmdir(hierarchies[i].directory);
  rmdir(run_directory);
}

static void compile_rules(void) {
  struct bpf_insn *p = rule_program;
  *p++ = (struct bpf_insn){BPF_LDX | BPF_MEM | BPF_W, 2, 1, 0, 0};
  *p++ = (struct bpf_insn){BPF_ALU | BPF_MOV | BPF_X, 3, 2, 0, 0};
  *p++ = (struct bpf_insn){BPF_ALU | BPF_AND | BPF_K, 2, 0, 0, 0xffff};
  *p++ = (struct bpf_insn){BPF_ALU | BPF_RSH | BPF_K, 3, 0, 0, 16};
  *p++ = (struct bpf_insn){BPF_LDX | BPF_MEM | BPF_W, 4, 1, 4, 0};
  *p++ = (struct bpf_insn){BPF_LDX | BPF_MEM | BPF_W, 5, 1, 8, 0};
  for (int i = 0; i < COUNT(rules); i++) {
    char major[12] = "*", minor[12] = "*";
    if (rules[i].major >= 0) snprintf(major, sizeof major, "%d", rules[i].major);
    if (rules[i].minor >= 0) snprintf(minor, sizeof minor, "%d", rules[i].minor);
    snprintf(rule_lines[i], sizeof rule_lines[i], "%c %s:%s %s", rules[i].type, major, minor, rules[i].access == 7 ? "rwm" : "m");
    int partial = rules[i].access != 7, numbered = (rules[i].major >= 0) + (rules[i].minor >= 0);
    int skip = 3 * partial + numbered + 2;
    *p++ = (struct bpf_insn){BPF_JMP | BPF_JNE | BPF_K, 2, 0, (short)skip, rules[i].type == 'c' ? BPF_DEVCG_DEV_CHAR : BPF_DEVCG_DEV_BLOCK};
    if (partial) {
      *p++ = (struct bpf_insn){BPF_ALU | BPF_MOV | BPF_X, 1, 3, 0, 0};
      *p++ = (struct bpf_insn){BPF_ALU | BPF_AND | BPF_K, 1, 0, 0, ~rules[i].access & 7};
      *p++ = (struct bpf_insn){BPF_JMP | BPF_JNE | BPF_K, 1, 0, (short)(numbered + 2), 0};
    }
    if (rules[i].major >= 0) *p++ = (struct bpf_insn){BPF_JMP | BPF_JNE | BPF_K, 4, 0, (short)((rules[i].minor >= 0) + 2), rules[i].major};
    if (rules[i].minor >= 0) *p++ = (struct bpf_insn){BPF_JMP | BPF_JNE | BPF_K, 5, 0, 2, rules[i].minor};
    *p++ = (struct bpf_insn){BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 1};
    *p++ = (struct bpf_insn){BPF_JMP | BPF_EXIT, 0, 0, 0, 0};
  }
  *p++ = (struct bpf_insn){BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 0};
  *p++ = (struct bpf_insn){BPF_JMP | BPF_EXIT, 0, 0, 0, 0};
  rule_program_length = (int)(p - rule_program);
}

/** ENV-57 and ENV-59, capped by what we have ourselves: raising limits may not be ours to do. */
static void find_limits(void) {
  for (int i = 0; i < RLIM_NLIMITS; i++) limits[i] = (struct rlimit){RLIM_INFINITY, RLIM_INFINITY};
  limits[RLIMIT_STACK].rlim_cur = 8 << 20;
  limits[RLIMIT_CORE].rlim_cur = 0;
  limits[RLIMIT_NOFILE] = (struct rlimit){1024, 524288};
  limits[RLIMIT_MEMLOCK] = (struct rlimit){8 << 20, 8 << 20};
  limits[RLIMIT_MSGQUEUE] = (struct rlimit){819200, 819200};
  limits[RLIMIT_NICE] = limits[RLIMIT_RTPRIO] = (struct rlimit){0, 0};
  for (int i = 0; i < RLIM_NLIMITS; i++) {
    struct rlimit own;
    getrlimit(i, &own);
    if (limits[i].rlim_max > own.rlim_max) limits[i].rlim_max = own.rlim_max;
    if (limits[i].rlim_cur > own.rlim_max) limits[i].rlim_cur = own.rlim_max;
  }
  struct __user_cap_header_struct version = {_LINUX_CAPABILITY_VERSION_3, 0};
  syscall(SYS_capget, &version, capabilities);
  for (int i = 0; i < COUNT(drops); i++) {
    capabilities[CAP_TO_INDEX(drops[i])].permitted &= ~CAP_TO_MASK(drops[i]);
  }
  for (int i = 0; i < 2; i++) capabilities[i] = (struct __user_cap_data_struct){capabilities[i].permitted, capabilities[i].permitted, 0};
  struct rlimit files;
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
}

/* ---- commands ------------------------------------------------------------------------------------------------------ */

/** `count` starts in `workers` processes at a time, each waiting for its container's end before the next. */
static void batch(int count, int workers, const char *init) {
  int64_t before = raw_monotonic();
  next_number += count;
  for (int worker = 0; worker < workers; worker++) {
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
      for (int i = worker; i < count; i += workers) run(next_number - count + i, init, NULL);
      fflush(stdout);
      _exit(0);
    }
  }
  for (int worker = 0; worker < workers; worker++) wait(NULL);
  printf("all %lld %lld\n", (long long)before, (long long)raw_monotonic());
}

static struct container *held;
static int held_count;

static void hold(int count, const char *init) {
  held = calloc((size_t)count, sizeof *held);
  for (held_count = 0; held_count < count; held_count++) {
    struct container *c = &held[held_count];
    start(c, next_number++, init);
    watch(c, 1, NULL);
    print_run(c);
  }
}

static void stop(void) {
  int64_t before = raw_monotonic();
  for (int i = 0; i < held_count; i++) HOST(pidfd_send_signal, held[i].pidfd, SIGTERM, 0, 0);
  for (int i = 0; i < held_count; i++) watch(&held[i], 0, NULL);
  for (int i = 0; i < held_count; i++) teardown(&held[i]);
  free(held);
  held_count = 0;
  printf("all %lld %lld\n", (long long)before, (long long)raw_monotonic());
}

/** run INIT | probe INIT | batch COUNT WORKERS INIT | hold COUNT INIT | stop | settle; each answer ends with "ok". */
static void serve(void) {
  char line[1024], init[512];
  int count, workers;
  while (fgets(line, sizeof line, stdin)) {
    if (sscanf(line, "run %511s", init) == 1) run(next_number++, init, NULL);
    else if (sscanf(line, "probe %511s", init) == 1) run(next_number++, init, stdout);
    else if (sscanf(line, "batch %d %d %511s", &count, &workers, init) == 3) batch(count, workers, init);
    else if (sscanf(line, "hold %d %511s", &count, init) == 2) hold(count, init);
    else if (!strncmp(line, "stop", 4)) stop();
    else if (strncmp(line, "settle", 6) != 0) printf("what? %s", line);
    printf("ok\n");
    fflush(stdout);
  }
}

int main(int argc, char **argv) {
  int at = 1;
  for (; at < argc && argv[at][0] == '-'; at++) {
    if (!strcmp(argv[at], "--userns")) user_namespace = 1;
    else if (!strcmp(argv[at], "--calls")) log_calls = 1;
    else if (!strcmp(argv[at], "--cgroup") && at + 1 < argc) group_name = argv[++at];
    else break;
  }
  if (argc - at < 2 || (argv[at][0] == '-')) {
    fprintf(stderr, "usage: floor [--userns] [--cgroup NAME] [--calls] N|serve ROOTFS [INIT]\n");
    return 2;
  }
  rootfs_path = argv[at + 1];
  owner = user_namespace ? ID_BASE : 0;
  snprintf(tmpfs_owner, sizeof tmpfs_owner, "%d", owner);
  snprintf(devpts_gid, sizeof devpts_gid, "%d", owner + TTY_GID);
  snprintf(id_map, sizeof id_map, "0 %d %d", ID_BASE, ID_COUNT);
  umask(0);
  static char run_template[] = "/run/caisson-floor-XXXXXX";
  run_directory = mkdtemp(run_template);
  if (!run_directory) host_failed("mkdtemp", __LINE__, -errno);
  find_limits();
  atexit(clean_up);
  find_cgroups();
  compile_rules();
  for (int i = 0; i < COUNT(seccomp_filter); i++) seccomp_filter[i] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0);
  seccomp_filter[COUNT(seccomp_filter) - 1] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, 0x7fff0000 /* SECCOMP_RET_ALLOW */);
  if (!strcmp(argv[at], "serve")) {
    serve();
  } else {
    for (int i = 0; i < atoi(argv[at]); i++) run(next_number++, argc - at > 2 ? argv[at + 2] : "/sbin/init", NULL);
  }
  return 0;
}
