/** Calls that are made again, since nobody knows whether the first came through, are not carried out again. */
import { createHash } from 'node:crypto';
import { CaissonError } from '../spec/errors.js';

const KEPT = 1000;
const KEPT_MS = 24 * 3600 * 1000;
const FORM = /^[\x21-\x7e]{1,255}$/;

export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly text: string | null;
}

interface Entry {
  readonly fingerprint: string;
  readonly time: number;
  readonly answer: Promise<Answer>;
}

export class Idempotency {
  private readonly entries = new Map<string, Entry>();

  /**
   * @param key as the caller has made it up; one who makes up that of another is told nothing, since `who` is part of it.
   * @param work answers also when it fails.
   * @throws CaissonError REQUEST_INVALID, IDEMPOTENCY_CONFLICT
   */
  async once(who: string, key: string, request: readonly string[], work: () => Promise<Answer>): Promise<Answer> {
    if (!FORM.test(key)) {
      throw new CaissonError('REQUEST_INVALID', 'idempotency-key: must be 1 to 255 visible characters', {
        field: 'idempotency-key',
      });
    }
    const fingerprint = createHash('sha256').update(JSON.stringify(request)).digest('hex');
    const name = `${who}\0${key}`;
    const known = this.entries.get(name);
    if (known !== undefined && Date.now() - known.time < KEPT_MS) {
      if (known.fingerprint === fingerprint) return await known.answer;
      throw new CaissonError('IDEMPOTENCY_CONFLICT', 'this idempotency key belongs to another request', {
        field: 'idempotency-key',
      });
    }
    const answer = work();
    this.entries.delete(name);
    this.entries.set(name, { fingerprint, time: Date.now(), answer });
    for (const oldest of this.entries.keys()) {
      if (this.entries.size <= KEPT) break;
      this.entries.delete(oldest);
    }
    try {
      const given = await answer;
      // What failed for reasons of ours may go well the next time.
      if (given.status >= 500) this.entries.delete(name);
      return given;
    } catch (error) {
      this.entries.delete(name);
      throw error;
    }
  }
}
