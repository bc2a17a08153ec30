/** What is known of a container, from its files: without a supervisor, and beside one that has the state directory open. */
import { readFile, realpath } from 'node:fs/promises';
import { join } from 'node:path';
import type { ExitStatus } from '../machines/exit.js';
import type { StateName } from '../machines/states.js';
import { withoutValues } from '../plan/explain.js';
import type { HostFacts } from '../plan/facts.js';
import { type ContainerSpec, resolveSpec } from '../spec/container.js';
import { CaissonError, type ErrorJSON } from '../spec/errors.js';
import { isContainerName } from '../spec/names.js';
import type { WorkerPool } from '../workers/pool.js';
import { type LastStart, type LifeNotice, type LifeRecord, readLife } from './life.js';
import { readRecord, type StoredContainer, storeId } from './store.js';

export interface Inspection {
  readonly name: string;
  /** `running` or `frozen` by what the kernel says of PID 1, else how it ended. */
  readonly state: 'running' | 'frozen' | 'stopped' | 'failed';
  /** PID 1 on the host. */
  readonly pid: number | null;
  /** ms since the epoch. */
  readonly created: number;
  /** Its directories: what it keeps, and what is volatile. */
  readonly directory: string;
  readonly runDir: string;
  /** How the last life ended; null while it runs, and when nobody saw the end. */
  readonly exit: ExitStatus | null;
  readonly error: ErrorJSON | null;
  readonly restartCount: number;
  /** The last start; null when there was none, or its supervisor was killed before it could write it down. */
  readonly start: LastStart | null;
  /** What was noted since then, and what is wrong with the files. */
  readonly notices: readonly LifeNotice[];
  /** As it is resolved; the values of credentials are left out. */
  readonly spec: ContainerSpec;
}

/**
 * Looks at a container without asking for the state directory's lock, and changes nothing.
 * @param stateDir where a `Supervisor` has it, or `caisson run --rm` below it.
 * @throws CaissonError CONTAINER_NOT_FOUND, STATE_INVALID
 */
export async function inspect(name: string, stateDir: string, runDir?: string): Promise<Inspection> {
  const looker = new Looker();
  try {
    return await look(looker, name, stateDir, runDir);
  } finally {
    await looker.close();
  }
}

/** Looks at those of `names` that are containers. @throws CaissonError STATE_INVALID */
export async function inspectAll(names: Iterable<string>, stateDir: string): Promise<Inspection[]> {
  const looker = new Looker();
  const found: Inspection[] = [];
  try {
    for (const name of names) {
      try {
        found.push(await look(looker, name, stateDir));
      } catch (error) {
        // Removed meanwhile, half made, or no container at all.
        if (!CaissonError.is(error) || error.code !== 'CONTAINER_NOT_FOUND') throw error;
      }
    }
    return found;
  } finally {
    await looker.close();
  }
}

/** What looks at containers have in common: one worker, begun when the first that runs is found, and what it found out. */
class Looker {
  private pool: WorkerPool | undefined;
  private readonly found = new Map<string, Promise<HostFacts>>();

  /** Of the host, for the containers of a state directory. */
  async facts(dir: string): Promise<HostFacts> {
    const { WorkerPool } = await import('../workers/pool.js');
    this.pool ??= new WorkerPool({ threads: 1 });
    const known = this.found.get(dir) ?? this.pool.facts(`caisson-${storeId(dir)}`);
    this.found.set(dir, known);
    return await known;
  }

  async close(): Promise<void> {
    await this.pool?.close();
  }
}

async function look(looker: Looker, name: string, stateDir: string, runDir?: string): Promise<Inspection> {
  const place = isContainerName(name) ? await find(name, stateDir) : undefined;
  if (place === undefined) {
    throw new CaissonError('CONTAINER_NOT_FOUND', `there is no container ${JSON.stringify(name)} in ${stateDir}`, {
      field: 'name',
      hint: 'see which directories are there; --state names another state directory',
    });
  }
  const { dir, stored } = place;
  const directory = join(dir, name);
  const spec = resolveSpec(stored.spec, () => stored.idmap ?? { first: 0, count: 0 });
  const volatile = join(runDir ?? `/run/caisson/${storeId(dir)}`, name);
  const [{ life, notices }, alive] = await Promise.all([lifeOf(directory), findRunning(looker, spec, dir, volatile)]);
  return {
    name,
    state: alive?.state ?? endedAs(life),
    pid: alive?.pid ?? null,
    created: stored.created,
    directory,
    runDir: volatile,
    exit: alive === undefined ? (life?.exit ?? null) : null,
    error: life?.error ?? null,
    restartCount: life?.restartCount ?? 0,
    start: life?.start ?? null,
    notices,
    spec: { ...spec, credentials: withoutValues(spec.credentials) } as ContainerSpec,
  };
}

async function find(name: string, stateDir: string): Promise<{ dir: string; stored: StoredContainer } | undefined> {
  for (const path of [stateDir, join(stateDir, `run.${name}`)]) {
    try {
      const dir = await realpath(path);
      return { dir, stored: await readRecord(join(dir, name), name) };
    } catch (error) {
      if (!['ENOENT', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
    }
  }
  return undefined;
}

async function lifeOf(directory: string): Promise<{ life: LifeRecord | undefined; notices: readonly LifeNotice[] }> {
  try {
    const life = await readLife(directory);
    return { life, notices: life?.notices ?? [] };
  } catch (error) {
    if (!CaissonError.is(error)) throw error;
    const notice: LifeNotice = { time: Date.now(), code: 'record-set-aside', message: error.message };
    return { life: undefined, notices: [notice] };
  }
}

/** Without a PID 1 it has ended, whatever the last word of its supervisor was. */
function endedAs(life: LifeRecord | undefined): 'stopped' | 'failed' {
  const state: StateName = life?.state ?? 'stopped';
  return state === 'failed' ? 'failed' : 'stopped';
}

async function findRunning(
  looker: Looker,
  spec: ContainerSpec,
  dir: string,
  runDir: string,
): Promise<{ pid: number; state: 'running' | 'frozen' } | undefined> {
  const record = await readFile(join(runDir, 'pid'), 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error;
    return undefined;
  });
  if (record === undefined) return undefined;
  const [{ findAlive }, { close }] = await Promise.all([import('./adoption.js'), import('../syscalls/fs.js')]);
  const alive = await findAlive(record);
  if (alive === undefined) return undefined;
  close(alive.pidfd);
  const [facts, { isFrozen }] = await Promise.all([looker.facts(dir), import('./remains.js')]);
  return { pid: alive.pid, state: (await isFrozen(spec, facts)) ? 'frozen' : 'running' };
}
