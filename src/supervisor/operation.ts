/** Waiting for the machine: a caller's promise, settled by the moves that answer it. */
import type { MovedEvent, TimeoutEvent } from '../machines/intent.js';
import type { CaissonError } from '../spec/errors.js';

export type OperationName = 'start' | 'stop' | 'reboot' | 'restart' | 'freeze' | 'unfreeze';

/** What a move means to the caller: undefined, nothing yet. */
export type Verdict = { readonly done: MovedEvent } | { readonly error: CaissonError } | undefined;

export class Operation {
  readonly promise: Promise<MovedEvent>;
  private resolve!: (move: MovedEvent) => void;
  private reject!: (error: CaissonError) => void;

  constructor(
    readonly name: OperationName,
    private readonly judge: (move: MovedEvent) => Verdict,
  ) {
    this.promise = new Promise((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
    });
    // The caller awaits it; a second one may have joined or nobody, and that is no unhandled rejection.
    this.promise.catch(() => undefined);
  }

  /** True when this move settled it. */
  moved(move: MovedEvent): boolean {
    const verdict = this.judge(move);
    if (verdict === undefined) return false;
    if ('done' in verdict) this.resolve(verdict.done);
    else this.reject(verdict.error);
    return true;
  }

  timedOut(event: TimeoutEvent): boolean {
    if (event.operation !== this.name) return false;
    this.reject(event.error);
    return true;
  }

  fail(error: CaissonError): void {
    this.reject(error);
  }
}
