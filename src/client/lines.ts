/** An answer that is a line of JSON for each value. */
import type { Transport } from './transport.js';

export async function* readLines<T>(
  transport: Transport,
  path: string,
  signal: AbortSignal | undefined,
): AsyncGenerator<T, void, void> {
  const response = await transport.open('GET', path, { signal });
  response.setEncoding('utf8');
  let rest = '';
  try {
    for await (const chunk of response) {
      const lines = (rest + (chunk as string)).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) yield JSON.parse(line) as T;
    }
  } catch (error) {
    if (signal?.aborted !== true) throw transport.failed(error as Error);
  } finally {
    response.destroy();
  }
}
