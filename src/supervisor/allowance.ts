/**
 * How much of the event log a payload may fill with what it says: all containers share the log, and what is written to it
 * pushes out what is oldest. A bucket that fills at a steady rate; an event may overdraw it, and the next ones pay for it.
 */

/** Bytes at once, after a quiet time. */
const BURST = 64 * 1024;
/** Bytes a second: a payload that never stops needs the better part of an hour to fill the log of a supervisor. */
const PER_SECOND = 6 * 1024;
/** Bytes of an event besides its text. */
const EVENT = 256;

export class Allowance {
  private left = BURST;
  private counted = 0;
  private refused = 0;

  /**
   * Undefined: nobody is to be told. Else how many there were since the last one of which that was not so.
   * @param text bytes
   * @param now milliseconds of any clock
   */
  spend(text: number, now: number): number | undefined {
    const gained = (Math.max(0, now - this.counted) / 1000) * PER_SECOND;
    this.left = Math.min(BURST, this.left + gained);
    this.counted = now;
    if (this.left <= 0) {
      this.refused++;
      return undefined;
    }
    this.left -= EVENT + text;
    const { refused } = this;
    this.refused = 0;
    return refused;
  }
}
