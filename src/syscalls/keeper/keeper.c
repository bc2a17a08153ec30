/*
 * The keeper: holds descriptors of running containers for a supervisor that may die at any moment, and writes down how
 * each PID 1 ended that is no child of a living supervisor: its reaper is the host's init then, which tells nobody, and
 * once it has been reaped the kernel no longer tells a reboot from an exit. So it becomes the tracer of such a PID 1: a
 * zombie that is traced is its tracer's to reap first. One process for all containers; no libc, no heap, no argument.
 *
 * Descriptor 3 is a SOCK_SEQPACKET socket from the supervisor. Descriptors of a container are a slot: SLOT numbers from
 * BASE + slot * SLOT on. Whoever comes next takes them by pidfd_getfd(2), so that nothing has to be asked for.
 *
 * Its bytes are in binary.ts: scripts/keeper-bytes.sh compiles this file and prints them.
 */
typedef unsigned int u32;
typedef unsigned long u64;

enum { SOCKET = 3, BASE = 64, SLOT = 32, SLOTS = 16384 };
/* What a slot holds besides what is only held. */
enum { PIDFD = 0, STAT = 30, END = 31 };
enum { STORE = 1, DROP = 2, PING = 3, ORPHAN = 4 };
enum { SIGSTOP = 19, SIGTSTP = 20, SIGTTIN = 21, SIGTTOU = 22, SIGCHLD = 17, SIG_BLOCK = 0, WNOHANG = 1, WALL = 0x40000000,
       PTRACE_CONT = 7, PTRACE_DETACH = 17, PTRACE_SEIZE = 0x4206, PTRACE_LISTEN = 0x4208, PTRACE_EVENT_STOP = 128,
       SIGNALS = 4 };
enum { EINTR = 4, EAGAIN = 11, POLLIN = 1, PR_SET_NAME = 15, MSG_DONTWAIT = 0x40, MSG_NOSIGNAL = 0x4000, O_CLOEXEC = 02000000, MSG_CMSG_CLOEXEC = 0x40000000, SCM_RIGHTS = 1 };

#if defined(__x86_64__)
enum { NR_pread64 = 17, NR_write = 1, NR_close = 3, NR_ppoll = 271, NR_dup3 = 292, NR_recvmsg = 47, NR_sendto = 44,
       NR_exit_group = 231, NR_close_range = 436, NR_prctl = 157, NR_ptrace = 101,
       NR_wait4 = 61, NR_signalfd4 = 289, NR_rt_sigprocmask = 14, NR_pidfd_send_signal = 424, NR_read = 0 };
static long call(long nr, long a, long b, long c, long d, long e, long f) {
  long result;
  register long r10 __asm__("r10") = d;
  register long r8 __asm__("r8") = e;
  register long r9 __asm__("r9") = f;
  __asm__ volatile("syscall" : "=a"(result) : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                   : "rcx", "r11", "memory");
  return result;
}
#elif defined(__aarch64__)
enum { NR_pread64 = 67, NR_write = 64, NR_close = 57, NR_ppoll = 73, NR_dup3 = 24, NR_recvmsg = 212, NR_sendto = 206,
       NR_exit_group = 94, NR_close_range = 436, NR_prctl = 167, NR_ptrace = 117,
       NR_wait4 = 260, NR_signalfd4 = 74, NR_rt_sigprocmask = 135, NR_pidfd_send_signal = 424, NR_read = 63 };
static long call(long nr, long a, long b, long c, long d, long e, long f) {
  register long x8 __asm__("x8") = nr;
  register long x0 __asm__("x0") = a;
  register long x1 __asm__("x1") = b;
  register long x2 __asm__("x2") = c;
  register long x3 __asm__("x3") = d;
  register long x4 __asm__("x4") = e;
  register long x5 __asm__("x5") = f;
  __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory");
  return x0;
}
#endif

struct request {
  u32 op;
  u32 slot;
  /* PID 1, as our pid namespace numbers it. */
  u32 pid;
  /* Of the descriptors that come with it, in order: where in the slot each belongs. */
  unsigned char place[SLOT];
};
struct iovec { void *base; u64 length; };
struct msghdr { void *name; u32 name_length; struct iovec *iov; u64 iov_length; void *control; u64 control_length; u32 flags; };
struct control { u64 length; u32 level; u32 type; u32 fds[SLOT]; };
struct pollfd { u32 fd; short events; short revents; };

/* A bit for each descriptor held. */
static u32 held[SLOTS];
/* No child of the supervisor that talks to us: its end is ours to write down also while that one lives. */
static unsigned char orphan[SLOTS];
static unsigned char ended[SLOTS];
static unsigned char traced[SLOTS];
static u32 pid_of[SLOTS];
static u32 slots;
static u32 lost;
/* Ours first: the socket, -1 once the supervisor is gone, and what tells of tracees. */
enum { OURS = 2 };
static struct pollfd polled[SLOTS + OURS];
static u32 slot_of[SLOTS + OURS];
static u32 polled_count;

static void store(const struct request *request, const struct control *control, u64 control_length) {
  u64 count = 0;
  if (control_length >= 16 && control->level == 1 && control->type == SCM_RIGHTS) count = (control->length - 16) / 4;
  for (u64 index = 0; index < count; index++) {
    u32 place = request->place[index];
    u32 fd = control->fds[index];
    if (request->slot < SLOTS && place < SLOT &&
        call(NR_dup3, fd, BASE + request->slot * SLOT + place, O_CLOEXEC, 0, 0, 0) >= 0) {
      held[request->slot] |= 1u << place;
      if (request->slot >= slots) slots = request->slot + 1;
    } else {
      lost++;
    }
    call(NR_close, fd, 0, 0, 0, 0, 0);
  }
  /* Without a pid it is more of a container that is known. */
  if (request->slot < SLOTS && request->pid != 0) {
    ended[request->slot] = 0;
    traced[request->slot] = 0;
    pid_of[request->slot] = request->pid;
  }
}

static void drop(u32 slot) {
  if (slot >= slots) return;
  call(NR_close_range, BASE + slot * SLOT, BASE + slot * SLOT + SLOT - 1, 0, 0, 0, 0);
  held[slot] = 0;
  orphan[slot] = 0;
}

/* Takes one request; 0 when there will be no more. */
static int serve(void) {
  struct request request;
  struct control control;
  struct iovec iov = { &request, sizeof request };
  struct msghdr message = { 0, 0, &iov, 1, &control, sizeof control, 0 };
  long got = call(NR_recvmsg, SOCKET, (long)&message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT, 0, 0, 0);
  if (got == -EINTR || got == -EAGAIN) return 1;
  if (got <= 0) return 0;
  if (got != sizeof request) return 1;
  switch (request.op) {
  case ORPHAN:
    if (request.slot < SLOTS) orphan[request.slot] = 1;
    /* fall through */
  case STORE:
    store(&request, &control, message.control_length);
    break;
  case DROP:
    drop(request.slot);
    break;
  case PING:
    /* Everything sent before has been done; the answer tells how many descriptors there was no room for. */
    call(NR_sendto, SOCKET, (long)&lost, sizeof lost, MSG_NOSIGNAL, 0, 0);
  }
  return 1;
}

static void write_end(u32 slot) {
  char text[1024];
  u32 base = BASE + slot * SLOT;
  long length = call(NR_pread64, base + STAT, (long)text, sizeof text, 0, 0, 0);
  if (length > 0) call(NR_write, base + END, (long)text, length, 0, 0, 0);
  ended[slot] = 1;
}

static int alive(u32 slot) {
  return call(NR_pidfd_send_signal, BASE + slot * SLOT + PIDFD, 0, 0, 0, 0, 0) == 0;
}

/* Fails while another traces it: the keeper before us, or somebody inside. */
static void trace(u32 slot) {
  if (traced[slot] || !alive(slot)) return;
  if (call(NR_ptrace, PTRACE_SEIZE, pid_of[slot], 0, 0, 0, 0) < 0) return;
  /* By number: it may have become another's between the two calls. */
  if (alive(slot)) traced[slot] = 1;
  else call(NR_ptrace, PTRACE_DETACH, pid_of[slot], 0, 0, 0, 0);
}

static long print(char *to, u32 value) {
  char digits[10];
  long count = 0;
  do digits[count++] = '0' + value % 10;
  while ((value /= 10) != 0);
  for (long index = 0; index < count; index++) to[index] = digits[count - 1 - index];
  return count;
}

static void write_status(u32 pid, u32 status) {
  for (u32 slot = 0; slot < slots; slot++) {
    if (!traced[slot] || pid_of[slot] != pid) continue;
    char text[32] = "status ";
    long length = 7;
    length += print(text + length, pid);
    text[length++] = ' ';
    length += print(text + length, status);
    text[length++] = '\n';
    call(NR_write, BASE + slot * SLOT + END, (long)text, length, 0, 0, 0);
    ended[slot] = 1;
    traced[slot] = 0;
  }
}

/* Tracees that have stopped go on as they would have without us; those that have ended are written down. */
static void attend(void) {
  char info[128];
  call(NR_read, SIGNALS, (long)info, sizeof info, 0, 0, 0);
  for (;;) {
    u32 status;
    long pid = call(NR_wait4, -1, (long)&status, WNOHANG | WALL, 0, 0, 0);
    if (pid <= 0) return;
    if ((status & 0xff) != 0x7f) {
      write_status(pid, status);
      continue;
    }
    u32 signal = (status >> 8) & 0xff;
    if (status >> 16 != PTRACE_EVENT_STOP) {
      /* A SIGSTOP from inside never reaches an init that is not traced. */
      call(NR_ptrace, PTRACE_CONT, pid, 0, signal == SIGSTOP ? 0 : signal, 0, 0);
    } else {
      int group = signal == SIGSTOP || signal == SIGTSTP || signal == SIGTTIN || signal == SIGTTOU;
      call(NR_ptrace, group ? PTRACE_LISTEN : PTRACE_CONT, pid, 0, 0, 0, 0);
    }
  }
}

/* What is to be polled; returns how many are still to be traced. */
static u32 gather(int alone) {
  u32 untraced = 0;
  polled_count = OURS;
  for (u32 slot = 0; slot < slots; slot++) {
    if ((held[slot] & (1u << PIDFD)) == 0 || ended[slot] || !(alone || orphan[slot])) continue;
    trace(slot);
    /* Of a tracee we are told by SIGCHLD. */
    if (traced[slot]) continue;
    untraced++;
    struct pollfd *entry = &polled[polled_count];
    entry->fd = BASE + slot * SLOT + PIDFD;
    entry->events = POLLIN;
    slot_of[polled_count++] = slot;
  }
  return untraced;
}

static int empty(void) {
  for (u32 slot = 0; slot < slots; slot++)
    if (held[slot] != 0) return 0;
  return 1;
}

/* The keeper before us may still be on its way out when we are to trace what it traced. */
enum { TRIES = 40, TRY_EVERY_NS = 25000000 };

void _start(void) {
  call(NR_prctl, PR_SET_NAME, (long)"caisson-keeper", 0, 0, 0, 0);
  u64 child = 1ul << (SIGCHLD - 1);
  call(NR_rt_sigprocmask, SIG_BLOCK, (long)&child, 0, sizeof child, 0, 0);
  /* 4: O_NONBLOCK and close-on-exec; its number is the lowest free one. */
  call(NR_signalfd4, -1, (long)&child, sizeof child, 04000 | O_CLOEXEC, 0, 0);
  int alone = 0;
  u32 tries = 0;
  polled[0].fd = SOCKET;
  polled[1].fd = SIGNALS;
  polled[0].events = polled[1].events = POLLIN;
  polled_count = OURS;
  for (;;) {
    struct { long seconds, nanoseconds; } soon = { 0, TRY_EVERY_NS };
    u32 untraced = gather(alone);
    long ready = call(NR_ppoll, (long)polled, polled_count, untraced > 0 && tries < TRIES ? (long)&soon : 0, 0, 8, 0);
    if (ready == -EINTR) continue;
    if (ready < 0) break;
    if (ready == 0) {
      tries++;
      continue;
    }
    if (polled[1].revents != 0) attend();
    for (u32 index = OURS; index < polled_count; index++)
      if (polled[index].revents != 0) write_end(slot_of[index]);
    if (polled[0].revents == 0) continue;
    tries = 0;
    if (serve()) continue;
    alone = 1;
    call(NR_close, SOCKET, 0, 0, 0, 0, 0);
    polled[0].fd = (u32)-1;
    polled[0].revents = 0;
    if (empty()) break;
  }
  call(NR_exit_group, 0, 0, 0, 0, 0, 0);
  __builtin_unreachable();
}
