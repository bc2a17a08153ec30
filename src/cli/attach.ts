/** Standard input and output as the container's console, over all its lives. */
import process from 'node:process';
import type { Container } from '../supervisor/container.js';
import { Input } from './input.js';
import type { Output } from './output.js';
import { makeRaw, terminalSize } from './terminal.js';

export interface Attachment {
  /** All that was printed is handed to the output. */
  end(): Promise<void>;
  /** Makes the terminal what it was; to be called when the output is through. */
  restore(): void;
}

/** To be called when PID 1 runs: what is typed before then waits in the terminal, what is printed in the ring. */
export function attach(container: Container, output: Output, onKill: () => void): Attachment {
  const { console } = container;
  const { stdin, stdout } = process;
  const ended = new AbortController();
  const resize = (): void => {
    const size = terminalSize();
    if (size !== undefined) console.resize(size.rows, size.cols);
  };
  const restore = stdin.isTTY ? makeRaw(0) : () => undefined;
  const input = new Input(console, onKill);
  // The terminal of a new life has the size the first one was created with.
  const unsubscribe = container.on('state', ({ from, to }) => {
    if (from !== 'network' || to !== 'running') return;
    resize();
    input.renew();
  });
  stdout.on('resize', resize);
  // It may have changed since the container was created.
  resize();
  const copied = copy(container, output, ended.signal);
  return {
    async end() {
      unsubscribe();
      stdout.off('resize', resize);
      input.close();
      ended.abort();
      await copied;
    },
    restore,
  };
}

async function copy({ console }: Container, output: Output, signal: AbortSignal): Promise<void> {
  let next = 0;
  for await (const { offset, data, lost } of console.read({ from: 0, signal })) {
    next = offset + data.length;
    await output.write(data, lost, signal);
  }
  const { data, lost } = console.since(next);
  await output.write(data, lost, signal);
}
