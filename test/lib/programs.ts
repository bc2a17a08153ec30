/** Small static programs for a container to run, compiled by gcc: what busybox cannot do as PID 1. */

import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { slow } from './slow.ts';

/** Compiles C `source` into a static program at `<rootfs>/bin/<name>`; returns its path inside. */
export function compileInto(rootfs: string, name: string, source: string): string {
  compile(join(rootfs, 'bin', name), source);
  return `/bin/${name}`;
}

/** Compiles C `source` into a static program at `target`. */
export function compile(target: string, source: string): string {
  const file = `${target}.c`;
  writeFileSync(file, source);
  const args = ['-static', '-O1', '-Wall', '-Wextra', '-Werror', '-o', target, file];
  const { status, error, stderr } = spawnSync('gcc', args, { encoding: 'utf8', timeout: slow(60_000) });
  if (error !== undefined && 'code' in error && error.code === 'ENOENT') {
    throw new Error('gcc is missing: install the Debian packages gcc and libc6-dev');
  }
  if (error !== undefined) throw error;
  if (status !== 0) throw new Error(`gcc ${args.join(' ')} ended with ${status}\n${stderr}`);
  return target;
}

/** Installs a signal handler or a signalfd for the named signals, says `ready`, and exits 0 at the first, naming it. */
export const SIGNAL_INIT = String.raw`
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>
static void handle(int number) { printf("got %d\n", number); fflush(stdout); _exit(0); }
/* usage: signal-init handle|block NUMBER... */
int main(int argc, char **argv) {
  sigset_t set;
  sigemptyset(&set);
  for (int i = 2; i < argc; i++) {
    if (strcmp(argv[1], "handle") == 0) signal(atoi(argv[i]), handle);
    else sigaddset(&set, atoi(argv[i]));
  }
  if (strcmp(argv[1], "block") == 0) sigprocmask(SIG_BLOCK, &set, 0);
  printf("ready\n");
  fflush(stdout);
  if (strcmp(argv[1], "block") == 0) {
    struct signalfd_siginfo info;
    int fd = signalfd(-1, &set, 0);
    if (read(fd, &info, sizeof info) == sizeof info) handle((int)info.ssi_signo);
    return 1;
  }
  for (;;) pause();
}
`;

/**
 * A PID 1 with a tracer inside (`traced`) or a child that sends it SIGSTOP again and again (`stopped`). It reboots once
 * /tmp/end is there, and counts in /tmp/ticks meanwhile.
 */
export const BESET_INIT = String.raw`
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/reboot.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
static void nap(void) { struct timespec time = {0, 20000000}; nanosleep(&time, 0); }
int main(int argc, char **argv) {
  if (argc < 2) return 1;
  if (fork() == 0) {
    if (strcmp(argv[1], "traced") == 0) {
      if (ptrace(PTRACE_SEIZE, 1, 0, 0) != 0) { perror("PTRACE_SEIZE"); return 1; }
      puts("traced");
      fflush(stdout);
      for (int status; waitpid(1, &status, __WALL) == 1;) ptrace(PTRACE_CONT, 1, 0, WIFSTOPPED(status) ? WSTOPSIG(status) : 0);
      return 0;
    }
    puts("stopping");
    fflush(stdout);
    for (;; nap()) kill(1, SIGSTOP);
  }
  for (unsigned ticks = 0; access("/tmp/end", F_OK) != 0; ticks++, nap()) {
    FILE *file = fopen("/tmp/ticks", "w");
    if (file) { fprintf(file, "%u\n", ticks); fclose(file); }
  }
  reboot(RB_AUTOBOOT);
  return 2;
}
`;

/** Prints what it was born with, touching nothing: descriptors, signal state, ids. */
export const BIRTH = String.raw`
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>
int main(int argc, char **argv) {
  for (int fd = 0; fd < 4096; fd++) {
    struct stat st;
    if (fstat(fd, &st) == 0) printf("fd %d %s %u:%u flags %d\n", fd, S_ISCHR(st.st_mode) ? "char" : "other", major(st.st_rdev), minor(st.st_rdev), fcntl(fd, F_GETFD));
  }
  sigset_t mask;
  sigprocmask(SIG_BLOCK, 0, &mask);
  for (int number = 1; number <= 64; number++) {
    struct sigaction action;
    if (sigismember(&mask, number) == 1) printf("blocked %d\n", number);
    if (sigaction(number, 0, &action) == 0 && action.sa_handler != SIG_DFL) printf("not default %d\n", number);
  }
  printf("argc %d argv0 %s\n", argc, argv[0]);
  printf("pid %d ppid %d sid %d tcpgrp %d\n", getpid(), getppid(), getsid(0), tcgetpgrp(0));
  int tty = open("/dev/tty", O_RDWR);
  printf("tty %s\n", tty >= 0 ? "opens" : strerror(errno));
  char name[64];
  printf("name %s\n", ttyname_r(0, name, sizeof name) == 0 ? name : "none");
  return 0;
}
`;

/** Calls reboot(2) with each command given as a number, and prints what it said; for commands that must end nothing. */
export const REBOOT_CALLS = String.raw`
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
int main(int argc, char **argv) {
  for (int i = 1; i < argc; i++) {
    unsigned int command = (unsigned int)strtoul(argv[i], 0, 0);
    long result = syscall(SYS_reboot, 0xfee1dead, 672274793, command, "");
    printf("%s %s\n", argv[i], result == 0 ? "done" : strerrorname_np(errno));
  }
  return 0;
}
`;

/** Dies of a synchronous signal, the only kind that ends a PID 1 without a handler. */
export const CRASH = `
#include <stdio.h>
#include <string.h>
int main(int argc, char **argv) {
  if (argc > 1 && strcmp(argv[1], "ill") == 0) __builtin_trap();
  *(volatile int *)8 = 1;
  return 0;
}
`;

/** Opens a pty by /dev/ptmx, writes through it, and prints its name. */
export const TERMINAL = String.raw`
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
int main(void) {
  int master = posix_openpt(O_RDWR | O_NOCTTY);
  if (master < 0 || grantpt(master) != 0 || unlockpt(master) != 0) { perror("ptmx"); return 1; }
  const char *name = ptsname(master);
  int slave = open(name, O_RDWR | O_NOCTTY);
  char buffer[8] = "";
  if (slave < 0 || write(master, "hello\n", 6) != 6 || read(slave, buffer, 6) != 6 || memcmp(buffer, "hello\n", 6) != 0) { perror(name); return 1; }
  printf("%s\n", name);
  return 0;
}
`;

/**
 * Takes the place of the host's PID 1 for what it runs: orphans become its children. `fast` reaps each at once, `slow`
 * not before the end of its input. It prints the pid of the command it runs, and when that is dead.
 * usage: reaper fast|slow COMMAND ARGUMENT...
 */
export const REAPER = String.raw`
#define _GNU_SOURCE
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
int main(int argc, char **argv) {
  if (argc < 3 || prctl(PR_SET_CHILD_SUBREAPER, 1) != 0) return 2;
  pid_t pid = fork();
  if (pid == 0) { execv(argv[2], argv + 2); return 127; }
  printf("{\"command\": %d}\n", pid);
  fflush(stdout);
  int fast = strcmp(argv[1], "fast") == 0, alive = 1;
  for (;;) {
    for (pid_t ended; (ended = waitpid(fast ? -1 : pid, 0, WNOHANG)) > 0;) {
      if (ended != pid) continue;
      alive = 0;
      printf("{\"dead\": true}\n");
      fflush(stdout);
      if (!fast) break;
    }
    struct pollfd input = {.fd = 0, .events = POLLIN};
    if (poll(&input, 1, fast || alive ? 1 : -1) > 0 && input.revents & POLLHUP) break;
  }
  while (waitpid(-1, 0, WNOHANG) > 0) {}
  return 0;
}
`;

/** For the set-uid bit: says its effective user id, and gives the file named to user 6. */
export const ELEVATED = String.raw`
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
int main(int argc, char **argv) {
  printf("effective %d\n", geteuid());
  printf("%s\n", argc > 1 && chown(argv[1], 6, -1) == 0 ? "done" : strerror(errno));
  return 0;
}
`;

/**
 * usage: keys with NAME COMMAND ARGUMENT...   runs it in a new session keyring that holds a key of that name, with login uid 1000
 *        keys show NAME                       says what session keyring it has, and whether the key can be found from there
 */
export const KEYS = String.raw`
#define _GNU_SOURCE
#include <errno.h>
#include <linux/keyctl.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
static const char *result(long value) { return value >= 0 ? "found" : strerrorname_np(errno); }
int main(int argc, char **argv) {
  if (argc < 3) return 2;
  if (strcmp(argv[1], "with") == 0) {
    FILE *login = fopen("/proc/self/loginuid", "w");
    if (login == NULL || fputs("1000", login) < 0 || fclose(login) != 0) { perror("loginuid"); return 1; }
    long key = -1;
    if (syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, 0L) > 0)
      key = syscall(SYS_add_key, "user", argv[2], "secret", 6L, (long)KEY_SPEC_SESSION_KEYRING);
    if (key < 0) { perror("add_key"); return 1; }
    execv(argv[3], argv + 3);
    return 127;
  }
  char text[256] = "";
  long got = syscall(SYS_keyctl, KEYCTL_DESCRIBE, (long)KEY_SPEC_SESSION_KEYRING, text, sizeof text - 1);
  printf("session %s\n", got < 0 ? strerrorname_np(errno) : text);
  printf("id %ld\n", syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, (long)KEY_SPEC_SESSION_KEYRING, 0L));
  printf("search %s\n", result(syscall(SYS_keyctl, KEYCTL_SEARCH, (long)KEY_SPEC_SESSION_KEYRING, "user", argv[2], 0L)));
  printf("request %s\n", result(syscall(SYS_request_key, "user", argv[2], 0L, 0L)));
  return 0;
}
`;

/** usage: make-groups DIR: makes groups below the cgroup DIR that are hard to find, and says `made` from within the last. */
export const GROUPS = String.raw`
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
static void put(const char *path, const char *text) {
  int fd = open(path, O_WRONLY);
  if (fd < 0 || write(fd, text, strlen(text)) < 0) perror(path);
}
static int enter(const char *name) { return mkdir(name, 0755) == 0 && chdir(name) == 0; }
int main(int argc, char **argv) {
  char name[201];
  memset(name, 'x', 200);
  name[200] = 0;
  if (argc < 2 || chdir(argv[1]) != 0) return 2;
  /* Not UTF-8. */
  if (mkdir("\xff\xfe", 0755) != 0) return 3;
  /* A threaded group does not tell its processes; cgroup v1 has none. */
  if (mkdir("domain", 0755) != 0 || mkdir("domain/threads", 0755) != 0) return 4;
  if (access("domain/threads/cgroup.type", F_OK) == 0) {
    put("domain/threads/cgroup.type", "threaded");
    if (fork() == 0) {
      put("domain/cgroup.procs", "0");
      put("domain/threads/cgroup.threads", "0");
      for (;;) pause();
    }
  }
  /* A path longer than PATH_MAX, and then deeper than a stack or a table of descriptors likes. */
  for (int level = 0; level < 40; level++) if (!enter(name)) return 5;
  for (int level = 0; level < 1500; level++) if (!enter("y")) return 6;
  put("cgroup.procs", "0");
  puts("made");
  fflush(stdout);
  for (;;) pause();
}
`;
