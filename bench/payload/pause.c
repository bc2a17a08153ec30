/* PID 1 of a container that stays: stamps, then sleeps until SIGTERM, SIGINT or SIGPWR and exits 0.
 * Static, without libc: about the least memory a process can have. */
#include "raw.h"

struct kernel_sigaction {
  void (*handler)(int);
  unsigned long flags;
  void (*restorer)(void);
  unsigned long mask;
};

enum { INT = 2, TERM = 15, PWR = 30, RESTORER = 0x04000000 };

static void leave(int signal) {
  (void)signal;
  raw(SYS_exit_group, 0);
}

static void never(void) { leave(0); }

PAYLOAD_START void _start(void) {
  int64_t first = raw_monotonic();
  static const int signals[] = {TERM, INT, PWR};
  for (unsigned i = 0; i < sizeof signals / sizeof *signals; i++) {
#if defined(__x86_64__)
    struct kernel_sigaction action = {leave, RESTORER, never, 0};
    raw(SYS_rt_sigaction, signals[i], &action, 0, 8);
#else
    struct { void (*handler)(int); unsigned long flags; unsigned long mask; } action = {leave, 0, 0};
    (void)never;
    raw(SYS_rt_sigaction, signals[i], &action, 0, 8);
#endif
  }
  raw_stamp(first);
  for (;;) raw(SYS_ppoll, 0, 0, 0, 0, 8);
}
