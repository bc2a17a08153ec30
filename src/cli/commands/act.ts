/** Commands that do one thing to containers: `create`, `start`, `stop`, `rm` and so on. */
import process from 'node:process';
import { type Actions, type Backend, openBackend, type Where } from '../backend.js';
import { check, type DescribeOptions, specFrom } from '../describe.js';
import { printError } from '../error.js';
import { exitCodeOf } from '../exit-code.js';
import { print } from '../print.js';

export interface ActOptions extends Where {
  /** Milliseconds. */
  readonly timeout?: number;
  readonly force?: boolean;
}

const OPERATION_FAILED = 1;

export type ActionName = Exclude<keyof Actions, 'exit' | 'inspect'> | 'remove';

async function perform(
  backend: Backend,
  name: string,
  action: ActionName,
  { timeout, force }: ActOptions,
): Promise<void> {
  const options = { ...(timeout === undefined ? {} : { timeout }), ...(force === undefined ? {} : { force }) };
  switch (action) {
    case 'remove':
      return await backend.remove(name);
    case 'stop':
    case 'restart':
    case 'reboot':
      await backend.get(name)[action](options);
      return;
    case 'wait': {
      const container = backend.get(name);
      const { exit } = await container.wait();
      const known = exit ?? container.exit ?? (await container.inspect?.())?.exit ?? null;
      return await print(`${exitCodeOf(known)}\n`);
    }
    default:
      await backend.get(name)[action]();
  }
}

/** All that are named, side by side. */
export async function actCommand(action: ActionName, names: readonly string[], options: ActOptions): Promise<void> {
  const backend = await openBackend(options);
  try {
    const done = await Promise.allSettled(
      // Of the embedded one get() throws at once.
      [...new Set(names)].map(async name => await perform(backend, name, action, options)),
    );
    for (const result of done) {
      if (result.status === 'fulfilled') continue;
      printError(result.reason);
      process.exitCode = OPERATION_FAILED;
    }
  } finally {
    await backend.close();
  }
}

/** Prints the name, which may have been made up. */
export async function createCommand(
  rootfs: string | undefined,
  args: readonly string[],
  options: DescribeOptions & Where,
): Promise<void> {
  const spec = specFrom(rootfs, args, options);
  check(spec);
  const backend = await openBackend(options);
  try {
    await backend.create(spec);
  } catch (error) {
    printError(error);
    process.exitCode = OPERATION_FAILED;
    return;
  } finally {
    await backend.close();
  }
  await print(`${spec.name}\n`);
}
