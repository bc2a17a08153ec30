/** A static program that, as PID 1, prints all it finds: one line a field, in sections as test/lib/report.ts reads them. */
import { chmodSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { compile } from './programs.ts';
import { type Mount, parseMounts, parseStatus, sections } from './report.ts';

const SOURCE = String.raw`
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <termios.h>
#include <unistd.h>

extern char **environ;

static const char *result(long value) { return value < 0 ? strerrorname_np(errno) : "ok"; }

static void section(const char *name) { printf("@@ %s\n", name); }

static void file(const char *name) {
  char buffer[4096];
  section(name);
  int fd = open(name, O_RDONLY | O_CLOEXEC);
  if (fd < 0) { printf("%s\n", strerrorname_np(errno)); return; }
  for (ssize_t got; (got = read(fd, buffer, sizeof buffer)) > 0;) fwrite(buffer, 1, (size_t)got, stdout);
  printf("\n");
  close(fd);
}

static const char *kind(mode_t mode) {
  switch (mode & S_IFMT) {
    case S_IFCHR: return "char";
    case S_IFBLK: return "block";
    case S_IFDIR: return "dir";
    case S_IFLNK: return "link";
    case S_IFIFO: return "fifo";
    case S_IFSOCK: return "socket";
    default: return "file";
  }
}

/* path|kind|number|mode|owner|what a link points to, or whether it can be opened */
static void node(const char *path) {
  struct stat st;
  if (lstat(path, &st) != 0) { printf("%s|%s||||\n", path, strerrorname_np(errno)); return; }
  char extra[256] = "";
  if (S_ISLNK(st.st_mode)) extra[readlink(path, extra, sizeof extra - 1)] = 0;
  if (S_ISCHR(st.st_mode)) {
    int fd = open(path, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    strcpy(extra, result(fd));
    if (fd >= 0) close(fd);
  }
  int device = S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode);
  printf("%s|%s|%u:%u|%04o|%u:%u|%s\n", path, kind(st.st_mode), device ? major(st.st_rdev) : 0,
         device ? minor(st.st_rdev) : 0, st.st_mode & 07777, st.st_uid, st.st_gid, extra);
}

static void names(const char *path) {
  section(path);
  struct dirent **list;
  int count = scandir(path, &list, 0, alphasort);
  if (count < 0) printf("%s\n", strerrorname_np(errno));
  for (int i = 0; i < count; i++)
    if (list[i]->d_name[0] != '.') printf("%s\n", list[i]->d_name);
}

static void tree(const char *path) {
  struct dirent **list;
  int count = scandir(path, &list, 0, alphasort);
  for (int i = 0; i < count; i++) {
    char full[512];
    if (list[i]->d_name[0] == '.') continue;
    snprintf(full, sizeof full, "%s/%s", path, list[i]->d_name);
    node(full);
    struct stat st;
    if (lstat(full, &st) == 0 && S_ISDIR(st.st_mode)) tree(full);
  }
}

static void link_to(const char *path) {
  char target[256] = "";
  ssize_t got = readlink(path, target, sizeof target - 1);
  printf("%s %s\n", path, got < 0 ? strerrorname_np(errno) : target);
}

/* A node of our own making, as far as the policy and the kernel let it be made and opened. */
static void made(const char *name, mode_t type, dev_t number) {
  int made = mknod("/tmp-node", type | 0600, number);
  printf("mknod %s %s", name, result(made));
  int fd = made == 0 ? open("/tmp-node", O_RDWR | O_NONBLOCK | O_CLOEXEC) : -1;
  if (made == 0) printf(" %s", result(fd));
  printf("\n");
  if (fd >= 0) close(fd);
  unlink("/tmp-node");
}

int main(int argc, char **argv) {
  /* First, and before anything is opened. */
  section("descriptors");
  for (int fd = 0; fd < 65536; fd++) {
    struct stat st;
    char path[32], name[64] = "";
    if (fstat(fd, &st) != 0) continue;
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    name[readlink(path, name, sizeof name - 1)] = 0;
    printf("%d|%s|%u:%u|%d|%s\n", fd, kind(st.st_mode), major(st.st_rdev), minor(st.st_rdev), fcntl(fd, F_GETFD), name);
  }
  section("signals");
  sigset_t mask;
  sigprocmask(SIG_BLOCK, 0, &mask);
  for (int number = 1; number <= 64; number++) {
    struct sigaction action;
    if (sigismember(&mask, number) == 1) printf("blocked %d\n", number);
    if (sigaction(number, 0, &action) == 0 && action.sa_handler != SIG_DFL) printf("not default %d\n", number);
  }
  section("arguments");
  for (int i = 0; i < argc; i++) printf("%s\n", argv[i]);
  section("environment");
  for (char **variable = environ; *variable != 0; variable++) printf("%s\n", *variable);
  section("process");
  printf("pid %d\nppid %d\nsid %d\npgid %d\nforeground %d\n", getpid(), getppid(), getsid(0), getpgid(0), tcgetpgrp(0));
  int tty = open("/dev/tty", O_RDWR | O_CLOEXEC);
  printf("tty %s\n", result(tty));
  link_to("/proc/self/exe");
  link_to("/proc/self/cwd");
  link_to("/proc/self/root");
  uid_t uids[3];
  gid_t gids[3], groups[64];
  getresuid(&uids[0], &uids[1], &uids[2]);
  getresgid(&gids[0], &gids[1], &gids[2]);
  printf("uid %u %u %u\ngid %u %u %u\ngroups %d\n", uids[0], uids[1], uids[2], gids[0], gids[1], gids[2], getgroups(64, groups));
  mode_t old = umask(0);
  umask(old);
  printf("umask %04o\npriority %d\n", old, getpriority(PRIO_PROCESS, 0));
  section("limits");
  for (int resource = 0; resource < RLIM_NLIMITS; resource++) {
    struct rlimit limit;
    getrlimit(resource, &limit);
    printf("%d", resource);
    rlim_t both[2] = {limit.rlim_cur, limit.rlim_max};
    for (int i = 0; i < 2; i++) {
      if (both[i] == RLIM_INFINITY) printf(" unlimited");
      else printf(" %llu", (unsigned long long)both[i]);
    }
    printf("\n");
  }
  section("namespaces");
  const char *kinds[] = {"cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"};
  for (unsigned i = 0; i < sizeof kinds / sizeof *kinds; i++) {
    char path[64], target[64] = "";
    snprintf(path, sizeof path, "/proc/self/ns/%s", kinds[i]);
    target[readlink(path, target, sizeof target - 1)] = 0;
    printf("%s %s\n", kinds[i], target);
  }
  section("uts");
  struct utsname uts;
  uname(&uts);
  printf("%s\n", uts.nodename);
  section("loopback");
  int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  struct ifreq request = {.ifr_name = "lo"};
  int got = ioctl(sock, SIOCGIFFLAGS, &request);
  printf("%s\n", got != 0 ? strerrorname_np(errno) : request.ifr_flags & IFF_UP ? "up" : "down");
  close(sock);
  section("nodes");
  node("/dev");
  tree("/dev");
  section("file systems");
  const char *points[] = {"/", "/dev", "/dev/shm", "/proc", "/sys", "/sys/fs/cgroup", "/run"};
  for (unsigned i = 0; i < sizeof points / sizeof *points; i++) {
    struct statfs fs;
    if (statfs(points[i], &fs) == 0)
      printf("%s %#lx %llu\n", points[i], (unsigned long)fs.f_type, (unsigned long long)fs.f_blocks * fs.f_bsize);
  }
  section("masks");
  const char *masked[] = {"kcore", "kallsyms", "keys", "timer_list"};
  for (unsigned i = 0; i < sizeof masked / sizeof *masked; i++) {
    char path[64], byte;
    snprintf(path, sizeof path, "/proc/%s", masked[i]);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    printf("%s %s\n", masked[i], fd < 0 ? strerrorname_np(errno) : read(fd, &byte, 1) == 0 ? "empty" : "tells");
    if (fd >= 0) close(fd);
  }
  section("writes");
  const char *written[] = {"/proc/sys/kernel/panic", "/proc/sys/net/ipv4/ip_forward", "/proc/sys/kernel/msgmax",
                           "/proc/sysrq-trigger", "/sys/kernel/mm/ksm/run", "/sys/fs/cgroup/memory.max",
                           "/sys/fs/cgroup/cgroup.procs", "/sys/fs/cgroup/cgroup.subtree_control"};
  for (unsigned i = 0; i < sizeof written / sizeof *written; i++) {
    /* Only opened: nothing of the host is changed by a container that may. */
    int fd = open(written[i], O_WRONLY | O_CLOEXEC);
    printf("%s %s\n", written[i], result(fd));
    if (fd >= 0) close(fd);
  }
  printf("/sys %s\n", result(mkdir("/sys/x", 0700)));
  section("calls");
  errno = 0;
  printf("kexec_load %s\n", result(syscall(SYS_kexec_load, 0L, 0L, 0L, 0L)));
  printf("open_by_handle_at %s\n", result(syscall(SYS_open_by_handle_at, -1L, 0L, 0L)));
  printf("init_module %s\n", result(syscall(SYS_init_module, 0L, 0L, 0L)));
  printf("finit_module %s\n", result(syscall(SYS_finit_module, -1L, 0L, 0L)));
  printf("delete_module %s\n", result(syscall(SYS_delete_module, "none", 0L)));
  printf("umount2 MNT_FORCE %s\n", result(umount2("/none", MNT_FORCE)));
  printf("audit socket %s\n", result(syscall(SYS_socket, 16L, 3L, 9L)));
  made("c 1 3", S_IFCHR, makedev(1, 3));
  made("b 8 0", S_IFBLK, makedev(8, 0));
  made("c 1 1", S_IFCHR, makedev(1, 1));
  names("/sys/class/net");
  names("/dev");
  file("/proc/1/status");
  file("/proc/1/mountinfo");
  file("/proc/1/cgroup");
  file("/proc/1/oom_score_adj");
  file("/proc/1/loginuid");
  file("/proc/sys/kernel/random/boot_id");
  section("end");
  return 0;
}
`;

/** What a PID 1 found. */
export interface Found {
  /** Lines of a section; empty when it is not there. */
  readonly lines: (section: string) => string[];
  /** The rest of the line of a section that begins with this word. */
  readonly word: (section: string, word: string) => string | undefined;
  readonly status: Record<string, string>;
  readonly mounts: readonly Mount[];
}

/** Makes the probe the tree's /sbin/init. */
export function installProbe(rootfs: string): void {
  const init = join(rootfs, 'sbin/init');
  const built = compile(join(rootfs, 'probe'), SOURCE);
  rmSync(`${built}.c`);
  rmSync(init, { force: true });
  renameSync(built, init);
  chmodSync(init, 0o755);
}

export function parseProbe(text: string): Found {
  const report = sections(text);
  if (!report.has('end')) throw new Error(`the probe did not come to its end:\n${text}`);
  const lines = (section: string): string[] => report.get(section) ?? [];
  return {
    lines,
    word: (section, word) => {
      const line = lines(section).find(text => text === word || text.startsWith(`${word} `));
      return line?.slice(word.length + 1);
    },
    status: parseStatus(lines('/proc/1/status').join('\n')),
    mounts: parseMounts(lines('/proc/1/mountinfo')),
  };
}
