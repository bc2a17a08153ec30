/** Time limits of tests, for machines of every speed: an emulated one (scripts/vm) is many times slower. */
import process from 'node:process';

/** How many times slower this machine is than what the tests' limits are meant for: CAISSON_TEST_SLOW, 1 by default. */
export const SLOWNESS = Math.max(1, Number(process.env.CAISSON_TEST_SLOW ?? '1') || 1);

/** A time limit in milliseconds, as long as it has to be here. Not for what a test lets happen, only for how long it waits. */
export function slow(ms: number): number {
  return ms * SLOWNESS;
}
