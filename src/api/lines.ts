/** A line of JSON for each value, as they come. */

/** @param values what to read, until the signal aborts. */
export function jsonLines(
  signal: AbortSignal,
  values: (stop: AbortSignal) => AsyncGenerator<unknown, void, void>,
): Response {
  const ended = new AbortController();
  const lines = values(AbortSignal.any([signal, ended.signal]));
  const body = new ReadableStream<Uint8Array>({
    async pull(controller) {
      const { done, value } = await lines.next();
      if (done === true) controller.close();
      else controller.enqueue(Buffer.from(`${JSON.stringify(value)}\n`));
    },
    cancel: () => ended.abort(),
  });
  return new Response(body, { headers: { 'content-type': 'application/x-ndjson', 'cache-control': 'no-store' } });
}
