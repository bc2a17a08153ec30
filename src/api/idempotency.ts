/** Calls that are made again, since nobody knows whether the first came through, are not carried out again. */
import { createHash } from 'node:crypto';
import { CaissonError } from '../spec/errors.js';

const KEPT = 1000;
/** Of answers, most of which have some hundred: what a program has printed may be megabytes. */
const KEPT_CHARACTERS = 64 * 1024 * 1024;
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
  /** Characters of the answer, once it is there. */
  size: number;
}

export class Idempotency {
  private readonly entries = new Map<string, Entry>();
  private size = 0;

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
    this.forget(name);
    const entry: Entry = { fingerprint, time: Date.now(), answer, size: 0 };
    this.entries.set(name, entry);
    this.makeRoom();
    try {
      const given = await answer;
      // What failed for reasons of ours may go well the next time.
      if (given.status >= 500) this.forget(name, entry);
      else this.grow(name, entry, given.text?.length ?? 0);
      return given;
    } catch (error) {
      this.forget(name, entry);
      throw error;
    }
  }

  private grow(name: string, entry: Entry, size: number): void {
    if (this.entries.get(name) !== entry) return;
    entry.size = size;
    this.size += size;
    this.makeRoom();
  }

  private makeRoom(): void {
    for (const oldest of this.entries.keys()) {
      if (this.entries.size <= KEPT && this.size <= KEPT_CHARACTERS) return;
      this.forget(oldest);
    }
  }

  /** @param only nothing, when it is another one by now. */
  private forget(name: string, only = this.entries.get(name)): void {
    const entry = this.entries.get(name);
    if (entry === undefined || entry !== only) return;
    this.size -= entry.size;
    this.entries.delete(name);
  }
}
