/* Starts a command-line runtime and times it from outside, so that no peer is charged for Node's fork:
 *
 *     spawn [options] -- COMMAND…
 *
 *     -n RUNS       how many (1)
 *     -j AT_ONCE    how many at a time (1)
 *     -b NUMBER     number of the first run (0); every {} in COMMAND becomes the run's number
 *     -d            the command detaches: its pipe stays open in the container; its end and the STAMP are waited for
 *     -D            the same, but the container has no way to write to the pipe: no STAMP
 *     -t SECONDS    a command that takes longer is killed (30)
 *     -g CGROUP     a directory of a cgroup hierarchy: the runner joins it first, so that no peer is charged for the
 *                   move; may be given for each hierarchy
 *     -u PATH       the runner unmounts PATH in a mount namespace of its own first
 *     -r            print the command's output as it is
 *
 * One line per run, then one for all:
 *
 *     run <number> <call ns> <STAMP ns or -> <reaped ns> <wait status>
 *     err <number> <the end of what the command printed, lines separated by |>
 *     all <first call ns> <last reaped ns>
 *
 * `call` is the moment before posix_spawn (which copies nothing), STAMP what PID 1 printed on its standard output,
 * `reaped` the moment waitpid() gave the command's end. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

enum { OUTPUT = 8192, ERROR_TAIL = 600, MAX_ARGS = 256 };

struct run {
  int number, pipe, pidfd, reaped, killed;
  pid_t pid;
  int64_t call, stamp, end;
  int status;
  size_t length;
  char output[OUTPUT];
};

static int64_t monotonic(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void die(const char *what) {
  fprintf(stderr, "spawn: %s: %s\n", what, strerror(errno));
  exit(2);
}

/** `text` with every {} replaced by the number. */
static char *numbered(const char *text, int number) {
  char *result = calloc(1, strlen(text) * 6 + 16);
  if (!result) die("calloc");
  char *out = result;
  for (const char *at = text; *at;) {
    if (at[0] == '{' && at[1] == '}') {
      out += sprintf(out, "%d", number);
      at += 2;
    } else {
      *out++ = *at++;
    }
  }
  return result;
}

static void start(struct run *run, int number, char **command, posix_spawnattr_t *attributes) {
  char *argv[MAX_ARGS + 1];
  int count = 0;
  for (; command[count] && count < MAX_ARGS; count++) argv[count] = numbered(command[count], number);
  argv[count] = NULL;

  int ends[2];
  if (pipe2(ends, O_CLOEXEC) < 0) die("pipe2");
  fcntl(ends[0], F_SETFL, O_NONBLOCK);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
  posix_spawn_file_actions_adddup2(&actions, ends[1], 2);

  *run = (struct run){.number = number, .pipe = ends[0], .pidfd = -1};
  run->call = monotonic();
  int error = posix_spawnp(&run->pid, argv[0], &actions, attributes, argv, environ);
  if (error) {
    errno = error;
    die(argv[0]);
  }
  run->pidfd = (int)syscall(SYS_pidfd_open, run->pid, 0);
  if (run->pidfd < 0) die("pidfd_open");
  close(ends[1]);
  posix_spawn_file_actions_destroy(&actions);
  for (int i = 0; i < count; i++) free(argv[i]);
}

/** Takes what the pipe holds; false at its end. */
static int drain(struct run *run) {
  for (;;) {
    char spill[4096];
    size_t room = OUTPUT - 1 - run->length;
    ssize_t got = room > 0 ? read(run->pipe, run->output + run->length, room) : read(run->pipe, spill, sizeof spill);
    if (got == 0) return 0;
    if (got < 0) return errno == EAGAIN || errno == EINTR;
    if (room == 0) continue;
    run->length += (size_t)got;
    run->output[run->length] = 0;
    char *stamp = run->stamp ? NULL : strstr(run->output, "STAMP ");
    if (stamp && strchr(stamp, '\n')) run->stamp = strtoll(stamp + 6, NULL, 10);
  }
}

static void report(struct run *run, int raw, int unstamped) {
  if (raw) {
    fwrite(run->output, 1, run->length, stdout);
    printf("\nSTATUS %d\n", run->status);
    return;
  }
  printf("run %d %lld ", run->number, (long long)run->call);
  if (run->stamp) printf("%lld", (long long)run->stamp);
  else printf("-");
  printf(" %lld %d\n", (long long)run->end, run->status);
  if ((run->stamp || unstamped) && run->status == 0) return;
  const char *tail = run->output + (run->length > ERROR_TAIL ? run->length - ERROR_TAIL : 0);
  printf("err %d ", run->number);
  for (; *tail; tail++) putchar(*tail == '\n' ? '|' : *tail);
  putchar('\n');
}

static void join(const char *cgroup) {
  char path[4096];
  for (int i = 0; i < 2; i++) {
    snprintf(path, sizeof path, "%s/%s", cgroup, i == 0 ? "tasks" : "cgroup.procs");
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0) continue;
    if (write(fd, "0", 1) != 1) die(path);
    close(fd);
    return;
  }
  die(cgroup);
}

static void hide(const char *path) {
  if (unshare(CLONE_NEWNS) < 0) die("unshare");
  if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0) die("private propagation");
  if (umount2(path, MNT_DETACH) < 0) die(path);
}

int main(int argc, char **argv) {
  int runs = 1, at_once = 1, base = 0, detached = 0, raw = 0, option;
  double seconds = 30;
  while ((option = getopt(argc, argv, "+n:j:b:dDt:g:u:r")) != -1) {
    switch (option) {
      case 'n': runs = atoi(optarg); break;
      case 'j': at_once = atoi(optarg); break;
      case 'b': base = atoi(optarg); break;
      case 'd': detached = 1; break;
      case 'D': detached = 2; break;
      case 't': seconds = atof(optarg); break;
      case 'g': join(optarg); break;
      case 'u': hide(optarg); break;
      case 'r': raw = 1; break;
      default: return 2;
    }
  }
  if (optind >= argc || runs < 1 || at_once < 1 || at_once > 64) {
    fprintf(stderr, "usage: spawn [options] -- COMMAND...\n");
    return 2;
  }
  signal(SIGPIPE, SIG_IGN);
  posix_spawnattr_t attributes;
  sigset_t none, reset;
  sigemptyset(&none);
  sigemptyset(&reset);
  sigaddset(&reset, SIGPIPE);
  posix_spawnattr_init(&attributes);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &reset);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);

  struct run *slots = calloc((size_t)at_once, sizeof *slots);
  struct pollfd *polls = calloc((size_t)at_once * 2, sizeof *polls);
  if (!slots || !polls) die("calloc");
  for (int i = 0; i < at_once; i++) slots[i].pidfd = -1;
  int next = 0, done = 0;
  int64_t first = 0, last = 0;
  while (done < runs) {
    for (int i = 0; i < at_once && next < runs; i++) {
      if (slots[i].pidfd >= 0) continue;
      start(&slots[i], base + next++, argv + optind, &attributes);
      if (!first) first = slots[i].call;
    }
    for (int i = 0; i < at_once; i++) {
      struct run *run = &slots[i];
      int live = run->pidfd >= 0;
      polls[2 * i] = (struct pollfd){.fd = live ? run->pipe : -1, .events = POLLIN};
      polls[2 * i + 1] = (struct pollfd){.fd = live && !run->reaped ? run->pidfd : -1, .events = POLLIN};
    }
    poll(polls, (nfds_t)at_once * 2, 1000);
    int64_t now = monotonic();
    for (int i = 0; i < at_once; i++) {
      struct run *run = &slots[i];
      if (run->pidfd < 0) continue;
      /* The end first: draining after it misses nothing, and its time is not delayed by the reading. */
      if (!run->reaped && polls[2 * i + 1].revents) {
        int status;
        if (waitpid(run->pid, &status, 0) == run->pid) {
          run->end = monotonic();
          run->status = status;
          run->reaped = 1;
          last = run->end;
        }
      }
      int open_end = run->pipe < 0 ? 0 : polls[2 * i].revents || run->reaped ? drain(run) : 1;
      if (!open_end && run->pipe >= 0) {
        close(run->pipe);
        run->pipe = -1;
      }
      int late = now - run->call > (int64_t)(seconds * 1e9);
      if (late && !run->reaped && !run->killed) {
        run->killed = 1;
        kill(run->pid, SIGKILL); /* our own child */
        run->output[run->length < OUTPUT - 64 ? run->length : OUTPUT - 64] = 0;
        strcat(run->output, "\nspawn: timed out and killed\n");
        run->length = strlen(run->output);
        continue;
      }
      if (!run->reaped) continue;
      if (detached == 1 && !run->stamp && run->status == 0 && run->pipe >= 0 && !late) continue;
      report(run, raw, detached == 2);
      if (run->pipe >= 0) close(run->pipe);
      close(run->pidfd);
      run->pidfd = -1;
      done++;
    }
  }
  if (!raw) printf("all %lld %lld\n", (long long)first, (long long)last);
  return 0;
}
