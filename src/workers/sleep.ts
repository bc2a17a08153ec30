const cell = new Int32Array(new SharedArrayBuffer(4));

/** Blocks this worker thread for `ms` milliseconds. */
export function sleep(ms: number): void {
  Atomics.wait(cell, 0, 0, ms);
}

/** Calls `attempt` every millisecond until it returns true; false after `timeoutMs`. */
export function retryFor(timeoutMs: number, attempt: () => boolean): boolean {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    if (attempt()) return true;
    if (performance.now() >= deadline) return false;
    sleep(1);
  }
}
