/** `caisson run`: one container in the foreground. */

import { randomInt } from 'node:crypto';
import { rmdir, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import process from 'node:process';
import { CaissonError } from '../spec/errors.js';
import { IDS_PER_CONTAINER, type IdPool } from '../supervisor/ids.js';
import { type CreateInput, Supervisor } from '../supervisor/supervisor.js';
import { check, type DescribeOptions, specFrom } from './describe.js';
import { exitCodeOfSignal } from './exit-code.js';
import { Session } from './session.js';
import { terminalSize } from './terminal.js';

export interface RunOptions extends DescribeOptions {
  readonly rm?: boolean;
  /** Milliseconds. */
  readonly stopTimeout: number;
}

const ENDING_SIGNALS = ['SIGTERM', 'SIGHUP', 'SIGINT', 'SIGQUIT'] as const;

export async function run(rootfs: string | undefined, args: readonly string[], options: RunOptions): Promise<number> {
  const spec = specFrom(rootfs, args, options, terminalSize());
  check(spec);
  // From here on nothing ends this process before it has cleaned up.
  const ending = new AbortController();
  const tell = (signal: NodeJS.Signals): void => ending.abort(signal);
  for (const signal of ENDING_SIGNALS) process.on(signal, tell);
  const session = new Session(options.stopTimeout, ending.signal);
  try {
    return await (options.rm === true ? throwAway(spec, options.state, session) : keep(spec, options.state, session));
  } catch (error) {
    // Told to end while an archive was unpacked.
    if (!ending.signal.aborted || !CaissonError.is(error) || error.code !== 'CANCELLED') throw error;
    return exitCodeOfSignal(ending.signal.reason as NodeJS.Signals);
  } finally {
    // Last: a reader of our output may take its time, and by now nothing is left to clean up.
    await session.finish();
    for (const signal of ENDING_SIGNALS) process.off(signal, tell);
  }
}

const THROW_AWAY_IDS_FROM = 1_100_000_000;
const THROW_AWAY_RANGES = 15_000;

async function keep(spec: CreateInput, stateDir: string, session: Session): Promise<number> {
  const supervisor = await Supervisor.open({ stateDir, threads: 1 });
  try {
    const container = await supervisor.create(spec, { signal: session.told });
    try {
      return await session.run(container);
    } finally {
      // Its record would only keep the name from a better try.
      if (session.neverRan) await supervisor.remove(container.name);
    }
  } finally {
    await supervisor.close();
  }
}

/** A throw-away container gets a throw-away state directory: any number can run side by side without a daemon. */
async function throwAway(spec: CreateInput, state: string, session: Session): Promise<number> {
  const stateDir = join(state, `run.${spec.name}`);
  const supervisor = await openThrowAway(spec.name, stateDir);
  try {
    await removeAll(supervisor);
    return await session.run(await supervisor.create(spec, { signal: session.told }));
  } finally {
    try {
      await removeAll(supervisor);
    } finally {
      await supervisor.close();
      await removeStateDir(stateDir);
    }
  }
}

/**
 * Id ranges of throw-away containers: their state directories know nothing of each other, so each draws its place
 * among some thousand ranges beyond those that supervisors with a state of their own give out first.
 */
function drawnIdPool(): IdPool {
  return { first: THROW_AWAY_IDS_FROM + randomInt(THROW_AWAY_RANGES) * IDS_PER_CONTAINER, size: IDS_PER_CONTAINER };
}

async function openThrowAway(name: string, stateDir: string): Promise<Supervisor> {
  try {
    return await Supervisor.open({ stateDir, threads: 1, idPool: drawnIdPool(), journal: false });
  } catch (error) {
    if (CaissonError.is(error) && error.code === 'STATE_LOCKED') {
      throw new CaissonError('STATE_LOCKED', `a throw-away container ${name} runs already`, {
        field: 'name',
        hint: 'choose another name',
        cause: error,
      });
    }
    await removeStateDir(stateDir);
    throw error;
  }
}

/** Also what a run of this name left that was killed before it could clean up. */
async function removeAll(supervisor: Supervisor): Promise<void> {
  for (const container of supervisor.list()) {
    if (container.state !== 'stopped' && container.state !== 'failed') await container.kill();
    await supervisor.remove(container.name);
  }
}

/** Only what a supervisor without containers leaves in it: what else is there is somebody's, and stays. */
async function removeStateDir(stateDir: string): Promise<void> {
  const unlessNeeded = (error: NodeJS.ErrnoException): void => {
    if (!['ENOENT', 'ENOTDIR', 'ENOTEMPTY', 'EACCES'].includes(error.code ?? '')) throw error;
  };
  await unlink(join(stateDir, '.lock')).catch(unlessNeeded);
  await rmdir(stateDir).catch(unlessNeeded);
}
