/** `caisson exec`: a program in a container that runs, on this command's own standard streams. */
import { access } from 'node:fs/promises';
import { join } from 'node:path';
import process from 'node:process';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { CaissonError } from '../spec/errors.js';
import type { ExecProcess } from '../supervisor/exec.js';
import { Supervisor } from '../supervisor/supervisor.js';
import { printError } from './error.js';
import { exitCodeOf, exitCodeOfError, OWN_FAILURE } from './exit-code.js';
import { makeRaw, terminalSize } from './terminal.js';

export interface ExecCommandOptions {
  readonly state: string;
  readonly tty?: boolean;
  readonly interactive?: boolean;
  readonly user?: string;
  readonly workdir?: string;
  readonly env?: Record<string, string>;
}

const FORWARDED = ['SIGTERM', 'SIGHUP', 'SIGINT', 'SIGQUIT'] as const;
const NOT_FOUND = 127;

export async function execCommand(name: string, argv: readonly string[], options: ExecCommandOptions): Promise<number> {
  const supervisor = await open(await stateOf(name, options.state));
  try {
    const { user, workdir: cwd, env } = options;
    const tty = options.tty === true ? (terminalSize() ?? true) : false;
    const program = await supervisor.get(name).exec(argv, {
      tty,
      ...(user === undefined ? {} : { user }),
      ...(cwd === undefined ? {} : { cwd }),
      env: { ...(tty === false || process.env.TERM === undefined ? {} : { TERM: process.env.TERM }), ...env },
    });
    return await follow(program, options.interactive === true);
  } catch (error) {
    if (!CaissonError.is(error) || error.code !== 'EXEC_FAILED') throw error;
    printError(error);
    return error.errno === 'ENOENT' ? NOT_FOUND : exitCodeOfError(error.code);
  } finally {
    await supervisor.close();
  }
}

/** Where a container is recorded: `run --rm` gives each a state directory of its own. */
async function stateOf(name: string, state: string): Promise<string> {
  for (const directory of [state, join(state, `run.${name}`)]) {
    try {
      await access(join(directory, name, 'container.json'));
      return directory;
    } catch (error) {
      if (!['ENOENT', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
    }
  }
  throw new CaissonError('CONTAINER_NOT_FOUND', `there is no container ${JSON.stringify(name)}`, { field: 'name' });
}

async function open(stateDir: string): Promise<Supervisor> {
  try {
    return await Supervisor.open({ stateDir, threads: 1 });
  } catch (error) {
    if (!CaissonError.is(error) || error.code !== 'STATE_LOCKED') throw error;
    throw new CaissonError('STATE_LOCKED', `another process supervises the containers of ${stateDir}`, {
      field: error.field,
      hint: 'only that process can run programs in them: call container.exec() there',
      cause: error,
    });
  }
}

async function follow(program: ExecProcess, interactive: boolean): Promise<number> {
  const { stdin } = process;
  const forward = (signal: NodeJS.Signals): void => void program.kill(signal);
  for (const signal of FORWARDED) process.on(signal, forward);
  const resize = (): void => {
    const size = terminalSize();
    if (size !== undefined) program.resize(size.rows, size.cols);
  };
  process.stdout.on('resize', resize);
  const restore = interactive && program.tty !== null && stdin.isTTY ? makeRaw(0) : () => undefined;
  try {
    const input = program.tty ?? program.stdin;
    if (interactive && input !== null) stdin.pipe(input);
    else program.stdin?.end();
    const [exit] = await Promise.all([
      program.wait(),
      copy(program.tty ?? program.stdout, process.stdout),
      copy(program.stderr, process.stderr),
    ]);
    return exit.kind === 'lost' ? OWN_FAILURE : exitCodeOf(exit);
  } finally {
    restore();
    stdin.unpipe();
    stdin.pause();
    process.stdout.off('resize', resize);
    for (const signal of FORWARDED) process.off(signal, forward);
  }
}

/** A reader of ours that goes away is as if it had gone away from the program. */
async function copy(from: Readable | null, to: NodeJS.WriteStream): Promise<void> {
  if (from === null) return;
  try {
    await pipeline(from, to, { end: false });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EPIPE') throw error;
  }
}
