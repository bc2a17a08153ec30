/* System calls without libc, so that a payload has no start-up code before its first instruction and a child that
 * shares the floor's memory touches neither errno nor a lock. x86-64 and arm64. */
#ifndef CAISSON_BENCH_RAW_H
#define CAISSON_BENCH_RAW_H

#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>

static inline long raw6(long nr, long a, long b, long c, long d, long e, long f) {
#if defined(__x86_64__)
  long ret;
  register long r10 __asm__("r10") = d;
  register long r8 __asm__("r8") = e;
  register long r9 __asm__("r9") = f;
  __asm__ volatile("syscall"
                   : "=a"(ret)
                   : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                   : "rcx", "r11", "memory");
  return ret;
#elif defined(__aarch64__)
  register long x8 __asm__("x8") = nr;
  register long x0 __asm__("x0") = a;
  register long x1 __asm__("x1") = b;
  register long x2 __asm__("x2") = c;
  register long x3 __asm__("x3") = d;
  register long x4 __asm__("x4") = e;
  register long x5 __asm__("x5") = f;
  __asm__ volatile("svc #0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory");
  return x0;
#else
#error "x86-64 and arm64 only"
#endif
}

#if defined(__x86_64__)
/** For a program's own _start: the kernel enters with the stack aligned otherwise than a called function expects. */
#define PAYLOAD_START __attribute__((force_align_arg_pointer, noreturn, used))
#else
#define PAYLOAD_START __attribute__((noreturn, used))
#endif

#define RAW_PICK(nr, a, b, c, d, e, f, ...) \
  raw6((nr), (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))
/** raw(nr, up to six arguments): the kernel's own result, -errno on failure. */
#define raw(nr, ...) RAW_PICK(nr, ##__VA_ARGS__, 0, 0, 0, 0, 0, 0, 0)

static inline int64_t raw_monotonic(void) {
  struct timespec now;
  raw(SYS_clock_gettime, CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/** Writes "STAMP <ns>\n" to fd 1. */
static inline void raw_stamp(int64_t ns) {
  char line[32] = "STAMP ";
  char digits[24];
  int count = 0;
  int length = 6;
  do {
    digits[count++] = (char)('0' + ns % 10);
    ns /= 10;
  } while (ns > 0);
  while (count > 0) line[length++] = digits[--count];
  line[length++] = '\n';
  raw(SYS_write, 1, line, length);
}

#endif
