/** A container whose PID 1 is a shell that does what the test writes to its console. */
import type { Container } from 'caisson';
import { type Mode, type Rig, type Spec, waitForText } from './rig.ts';

export interface Shell {
  readonly container: Container;
  /** Resolves with what the line printed, on standard output and error. */
  readonly say: (line: string) => Promise<string>;
}

export async function startShell(rig: Rig, mode: Mode, spec: Spec = {}): Promise<Shell> {
  const container = await rig.create({
    mode,
    init: '/bin/sh',
    args: ['-c', 'stty -echo; echo ready; exec sh'],
    ...spec,
  });
  await container.start();
  return await shellOf(container);
}

/** The shell of a container that has been started so. */
export async function shellOf(container: Container, from = 0): Promise<Shell> {
  await waitForText(container, 'ready', { from });
  let count = 0;
  const say = async (line: string): Promise<string> => {
    const begin = container.console.end;
    const mark = `done-${++count}`;
    await container.console.write(`${line}\necho ${mark}\n`);
    await waitForText(container, mark, { from: begin });
    const text = container.console.since(begin).data.toString().replaceAll('\r', '');
    return text
      .slice(0, text.indexOf(mark))
      .replaceAll(/^(\/ # )+/gm, '')
      .trim();
  };
  // The shell greets first.
  await say('true');
  return { container, say };
}
