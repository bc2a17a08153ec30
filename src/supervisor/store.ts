/** State on disk (design §5): a container is a self-contained directory; every write is whole or not there. */
import { createHash } from 'node:crypto';
import { lstat, mkdir, open, readdir, readFile, realpath, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type IdMap, isIdMap } from '../spec/container.js';
import { CaissonError } from '../spec/errors.js';
import { isContainerName } from '../spec/names.js';

export interface StoredContainer {
  readonly version: 1;
  /** What the user asked for, as given. */
  readonly spec: Readonly<Record<string, unknown>>;
  /** The id range it was given, when it asked for none. */
  readonly idmap: IdMap | null;
  /** SHA-256 of the archive that its root file system was unpacked from. */
  readonly layer?: string;
  /** Milliseconds since the epoch. */
  readonly created: number;
}

/** Temp file, fsync, rename: a crash leaves the old content or the new. */
export async function writeAtomic(path: string, text: string): Promise<void> {
  const fresh = `${path}.new`;
  const file = await open(fresh, 'w', 0o600);
  try {
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(fresh, path);
}

function parse(text: string, path: string, name: string): StoredContainer {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new CaissonError('STATE_INVALID', `${path} is not JSON`, { field: path, cause: error });
  }
  const stored = value as Partial<StoredContainer> | null;
  const spec = stored?.spec as { name?: unknown } | undefined;
  if (stored?.version !== 1 || spec?.name !== name || typeof stored.created !== 'number') {
    throw new CaissonError('STATE_INVALID', `${path} is not a container record of this version for ${name}`, {
      field: path,
    });
  }
  const { idmap } = stored;
  if (idmap !== null && !isIdMap(idmap)) {
    throw new CaissonError('STATE_INVALID', `${path}: idmap is neither null nor a range of ids`, { field: 'idmap' });
  }
  return stored as StoredContainer;
}

/** Short name of a state directory (its real path), unique on the host: for cgroups and volatile directories. */
export function storeId(dir: string): string {
  return createHash('sha256').update(dir).digest('hex').slice(0, 8);
}

const RECORD = 'container.json';

/** The record of a container whose directory this is. @throws CaissonError STATE_INVALID */
export async function readRecord(directory: string, name: string): Promise<StoredContainer> {
  const path = join(directory, RECORD);
  return parse(await readFile(path, 'utf8'), path, name);
}

/** Replaces the record of a container whose directory this is. */
export async function writeRecord(directory: string, stored: StoredContainer): Promise<void> {
  await writeAtomic(join(directory, RECORD), `${JSON.stringify(stored, null, 2)}\n`);
}

/** Removes a tree, one that a payload has written too; fine when there is none. */
export type Discard = (path: string) => Promise<void>;

/** Directories being made or removed: a container's name cannot begin with a dot. */
const UNFINISHED = '.unfinished-';

export interface Loaded {
  readonly containers: StoredContainer[];
  readonly setAside: CaissonError[];
  /** How many directories there are that may be a container's, with a record or without. */
  readonly directories: number;
}

export class Store {
  private constructor(
    readonly dir: string,
    readonly id: string,
  ) {}

  static async open(dir: string): Promise<Store> {
    await mkdir(dir, { recursive: true, mode: 0o711 });
    const real = await realpath(dir);
    return new Store(real, storeId(real));
  }

  directoryOf(name: string): string {
    return join(this.dir, name);
  }

  /** Every container recorded; torn or foreign records are set aside as `container.json.bad` and told about. */
  async load(discard: Discard): Promise<Loaded> {
    await this.sweep(discard);
    const containers: StoredContainer[] = [];
    const setAside: CaissonError[] = [];
    let directories = 0;
    for (const entry of await readdir(this.dir, { withFileTypes: true })) {
      if (!entry.isDirectory() || !isContainerName(entry.name)) continue;
      directories++;
      const path = join(this.directoryOf(entry.name), RECORD);
      try {
        containers.push(await readRecord(this.directoryOf(entry.name), entry.name));
      } catch (error) {
        const { code } = error as NodeJS.ErrnoException;
        if (code === 'ENOENT') continue;
        const foreign = code === 'EISDIR' ? new CaissonError('STATE_INVALID', `${path} is a directory`) : error;
        if (!CaissonError.is(foreign)) throw error;
        await this.setAside(entry.name);
        setAside.push(foreign);
      }
    }
    return { containers: containers.sort((a, b) => a.created - b.created), setAside, directories };
  }

  /**
   * Makes a container's directory all at once: `fill` gets a directory of another name, which takes its place when it
   * is complete, so that a crash leaves no half of one.
   * @throws CaissonError CONTAINER_EXISTS
   */
  async add(name: string, fill: (directory: string) => Promise<StoredContainer>): Promise<void> {
    const path = this.directoryOf(name);
    if (await exists(path)) {
      throw new CaissonError('CONTAINER_EXISTS', `${path} exists already`, {
        field: 'name',
        hint: 'choose another name, or remove the container first',
      });
    }
    const staged = join(this.dir, `${UNFINISHED}${name}`);
    await rm(staged, { recursive: true, force: true });
    await mkdir(staged, { mode: 0o711 });
    try {
      const stored = await fill(staged);
      await writeRecord(staged, stored);
      await rename(staged, path);
    } catch (error) {
      await rm(staged, { recursive: true, force: true });
      throw error;
    }
  }

  /** Renames a record that cannot be used, so that a person can look at it and nothing overwrites it. */
  async setAside(name: string, file: string = RECORD): Promise<void> {
    const path = join(this.directoryOf(name), file);
    await rename(path, `${path}.bad`);
  }

  /** Removes a container's directory, for good with the first step: a crash in between does not bring it back. */
  async remove(name: string, discard: Discard): Promise<void> {
    const doomed = join(this.dir, `${UNFINISHED}${name}`);
    await discard(doomed);
    await rename(this.directoryOf(name), doomed);
    await discard(doomed);
  }

  private async sweep(discard: Discard): Promise<void> {
    for (const entry of await readdir(this.dir)) {
      if (entry.startsWith(UNFINISHED)) await discard(join(this.dir, entry));
    }
  }
}

export async function exists(path: string): Promise<boolean> {
  return await lstat(path).then(
    () => true,
    (error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return false;
      throw error;
    },
  );
}
