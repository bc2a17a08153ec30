/** Signals that end a call, for as long as it lasts. */

export interface Combined {
  readonly signal: AbortSignal;
  /** Lets go of the sources: to be called when nothing is to be ended any more. */
  release(): void;
}

/**
 * Aborts with the first of `sources`. Not AbortSignal.any(): Node 20 keeps something of each as long as a source lives,
 * and one of these lives as long as the daemon.
 */
export function firstOf(sources: readonly AbortSignal[]): Combined {
  const controller = new AbortController();
  const abort = (): void => controller.abort();
  for (const source of sources) {
    if (source.aborted) abort();
    else source.addEventListener('abort', abort, { once: true });
  }
  return {
    signal: controller.signal,
    release: () => {
      for (const source of sources) source.removeEventListener('abort', abort);
    },
  };
}
