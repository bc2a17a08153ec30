/* PID 1 of the start benchmarks: says when its first instruction ran (CLOCK_MONOTONIC, comparable with the
 * starter's clock) and exits 0: a /bin/true that tells the time. Static, without libc. */
#include "raw.h"

PAYLOAD_START void _start(void) {
  raw_stamp(raw_monotonic());
  raw(SYS_exit_group, 0);
  __builtin_unreachable();
}
