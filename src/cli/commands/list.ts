/** `caisson ls`: the containers of a state directory. */
import { readdir } from 'node:fs/promises';
import process from 'node:process';
import { describe, type ExitStatus } from '../../machines/exit.js';
import { STATES, type StateName } from '../../machines/states.js';
import type { ContainerSpec } from '../../spec/container.js';
import { CaissonError } from '../../spec/errors.js';
import { findDaemon, type Where } from '../backend.js';
import { print } from '../print.js';
import { table } from '../table.js';

export interface ListCommandOptions extends Where {
  readonly columns: string;
  readonly sort?: string;
  readonly filter?: string;
  readonly json?: boolean;
  readonly quiet?: boolean;
}

interface Listed {
  readonly name: string;
  readonly state: StateName;
  readonly pid: number | null;
  readonly restartCount: number;
  readonly exit: ExitStatus | null;
  readonly spec: ContainerSpec;
}

const COLUMNS: Readonly<Record<string, (one: Listed) => string | number>> = {
  name: ({ name }) => name,
  state: ({ state }) => state,
  pid: ({ pid }) => pid ?? '-',
  restarts: ({ restartCount }) => restartCount,
  exit: ({ exit }) => (exit === null ? '-' : describe(exit)),
  ids: ({ spec: { idmap } }) => idmap?.first ?? 'privileged',
  rootfs: ({ spec }) => spec.rootfs.path,
};
const COLOURS: Readonly<Partial<Record<StateName, number>>> = { running: 32, failed: 31, frozen: 36 };

function columnOf(name: string, field: string): (one: Listed) => string | number {
  const column = Object.hasOwn(COLUMNS, name) ? COLUMNS[name] : undefined;
  if (column !== undefined) return column;
  throw new CaissonError('REQUEST_INVALID', `${field}: there is no column ${JSON.stringify(name)}`, {
    field,
    hint: `what there is: ${Object.keys(COLUMNS).join(', ')}`,
  });
}

function statesOf(text: string): readonly string[] {
  const states = text.split(',');
  const wrong = states.find(state => !(STATES as readonly string[]).includes(state));
  if (wrong === undefined) return states;
  throw new CaissonError('REQUEST_INVALID', `filter: there is no state ${JSON.stringify(wrong)}`, {
    field: 'filter',
    hint: `what there is: ${STATES.join(', ')}`,
  });
}

export async function listCommand(options: ListCommandOptions): Promise<void> {
  const names = options.columns.split(',');
  const columns = names.map(name => columnOf(name, 'columns'));
  const key = options.sort === undefined ? undefined : columnOf(options.sort, 'sort');
  const states = options.filter === undefined ? undefined : statesOf(options.filter);
  let found = (await list(options)).filter(({ state }) => states?.includes(state) !== false);
  if (key !== undefined) found = found.toSorted((a, b) => compare(key(a), key(b)));
  if (options.json === true) return await print(`${JSON.stringify(found, null, 2)}\n`);
  if (options.quiet === true) return await print(found.map(({ name }) => `${name}\n`).join(''));
  const text = table([
    names.map(name => name.toUpperCase()),
    ...found.map(one => columns.map(cell => String(cell(one)))),
  ]);
  await print(process.stdout.isTTY && process.env.NO_COLOR === undefined ? coloured(text, found) : text);
}

function compare(a: string | number, b: string | number): number {
  return typeof a === 'number' && typeof b === 'number' ? a - b : String(a).localeCompare(String(b));
}

/** By line, after the widths are known: a colour takes no place. */
function coloured(text: string, found: readonly Listed[]): string {
  const [heading = '', ...lines] = text.split('\n');
  const painted = lines.map((line, index) => {
    const colour = COLOURS[found[index]?.state ?? 'stopped'];
    return colour === undefined ? line : `\x1b[${colour}m${line}\x1b[0m`;
  });
  return [heading, ...painted].join('\n');
}

async function list(where: Where): Promise<readonly Listed[]> {
  const daemon = await findDaemon(where);
  if (daemon === undefined) return await listFiles(where.state);
  try {
    return await daemon.list();
  } finally {
    daemon.close();
  }
}

/** Without the state directory's lock: beside a `caisson run`, too, and those that it throws away. */
async function listFiles(state: string): Promise<Listed[]> {
  const entries = await readdir(state, { withFileTypes: true }).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [];
    throw error;
  });
  const names = entries.filter(entry => entry.isDirectory()).map(({ name }) => name.replace(/^run\./, ''));
  if (names.length === 0) return [];
  const { inspectAll } = await import('../../supervisor/inspect.js');
  return await inspectAll([...new Set(names)].sort(), state);
}
