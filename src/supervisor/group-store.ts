/** Groups on disk: `<state>/.groups/<name>/group.json`, each written whole or not at all. */
import { mkdir, readdir, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { CaissonError } from '../spec/errors.js';
import { isContainerName } from '../spec/names.js';
import { isRecord } from '../spec/schema/values.js';
import { exists, writeAtomic } from './store.js';

export interface StoredGroup {
  readonly version: 1;
  /** As given. */
  readonly spec: unknown;
  /** Milliseconds since the epoch. */
  readonly created: number;
}

const RECORD = 'group.json';
const DIRECTORY = '.groups';
const UNFINISHED = '.unfinished-';

export class GroupStore {
  private readonly dir: string;

  constructor(stateDir: string) {
    this.dir = join(stateDir, DIRECTORY);
  }

  directoryOf(name: string): string {
    return join(this.dir, name);
  }

  /** All that can be read, each after those in it; others are set aside. */
  async load(): Promise<{ groups: StoredGroup[]; setAside: CaissonError[] }> {
    const groups: StoredGroup[] = [];
    const setAside: CaissonError[] = [];
    for (const name of await this.names()) {
      if (name.startsWith(UNFINISHED)) await rm(join(this.dir, name), { recursive: true, force: true });
      if (!isContainerName(name)) continue;
      const path = join(this.dir, name, RECORD);
      try {
        groups.push(parse(await readFile(path, 'utf8'), path, name));
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'ENOENT') continue;
        if (!CaissonError.is(error)) throw error;
        await this.setAside(name);
        setAside.push(error);
      }
    }
    return { groups: childrenFirst(groups.sort((a, b) => a.created - b.created)), setAside };
  }

  /** @throws CaissonError GROUP_EXISTS */
  async add(name: string, record: StoredGroup): Promise<void> {
    const path = this.directoryOf(name);
    if (await exists(path)) {
      throw new CaissonError('GROUP_EXISTS', `${path} exists already`, {
        field: 'name',
        hint: 'it may have a record that was set aside: choose another name, or look at it and remove it',
      });
    }
    const staged = join(this.dir, `${UNFINISHED}${name}`);
    await rm(staged, { recursive: true, force: true });
    await mkdir(staged, { recursive: true, mode: 0o700 });
    await writeAtomic(join(staged, RECORD), `${JSON.stringify(record, null, 2)}\n`);
    await rename(staged, path);
  }

  async remove(name: string): Promise<void> {
    const doomed = join(this.dir, `${UNFINISHED}${name}`);
    await rm(doomed, { recursive: true, force: true });
    await rename(this.directoryOf(name), doomed);
    await rm(doomed, { recursive: true, force: true });
  }

  /** Renames a record that cannot be used, so that a person can look at it. */
  async setAside(name: string, file: string = RECORD): Promise<void> {
    const path = join(this.dir, name, file);
    await rename(path, `${path}.bad`);
  }

  private async names(): Promise<string[]> {
    return await readdir(this.dir).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT') throw error;
      return [];
    });
  }
}

function childNames({ spec }: StoredGroup): unknown[] {
  const { children } = spec as { children?: unknown };
  return Array.isArray(children) ? children.map((child: unknown) => (isRecord(child) ? child.name : child)) : [];
}

/** A child was made before its group, but the clock may have been set back in between. */
function childrenFirst(groups: readonly StoredGroup[]): StoredGroup[] {
  const byName = new Map<unknown, StoredGroup>(groups.map(group => [(group.spec as { name: unknown }).name, group]));
  const seen = new Set<StoredGroup>();
  const visit = (group: StoredGroup | undefined): StoredGroup[] => {
    if (group === undefined || seen.has(group)) return [];
    seen.add(group);
    return [...childNames(group).flatMap(name => visit(byName.get(name))), group];
  };
  return groups.flatMap(visit);
}

function parse(text: string, path: string, name: string): StoredGroup {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new CaissonError('STATE_INVALID', `${path} is not JSON`, { field: path, cause: error });
  }
  const stored = value as Partial<StoredGroup> | null;
  const spec = stored?.spec as { name?: unknown } | null | undefined;
  if (stored?.version !== 1 || spec?.name !== name || typeof stored.created !== 'number') {
    throw new CaissonError('STATE_INVALID', `${path} is not a group record of this version for ${name}`, {
      field: path,
    });
  }
  return stored as StoredGroup;
}
