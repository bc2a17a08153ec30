/** `caisson explain`: the plan of a start, before anything runs. */
import process from 'node:process';
import { explain, explainJSON } from '../plan/explain.js';
import { planFor } from '../supervisor/preview.js';
import { type DescribeOptions, specFrom } from './describe.js';

export async function explainCommand(
  rootfs: string,
  args: readonly string[],
  options: DescribeOptions & { readonly json?: boolean },
): Promise<void> {
  const plan = await planFor(specFrom(rootfs, args, options), options.state);
  await print(`${options.json === true ? explainJSON(plan) : explain(plan)}\n`);
}

/** A reader that has seen enough (`| head`) is no failure. */
function print(text: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const done = (error?: NodeJS.ErrnoException | null): void => {
      if (error == null || error.code === 'EPIPE') resolve();
      else reject(error);
    };
    process.stdout.on('error', done);
    process.stdout.write(text, done);
  });
}
