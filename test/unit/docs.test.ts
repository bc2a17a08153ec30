/** The documentation names what the code has, and nothing it has not. */
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import * as caisson from 'caisson';
import { describe, expect, test } from 'vitest';
import { INITIATORS, MOVES, REASONS } from '#src/machines/states.js';
import { resolveSpec } from '#src/spec/container.js';
import { RLIMIT_NAMES } from '#src/spec/rlimits.js';
import { containerSpecSchema } from '#src/spec/schema.js';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const read = (path: string): string => readFileSync(join(ROOT, path), 'utf8');
const PAGES = [
  'README.md',
  'CONTRIBUTING.md',
  'CHANGELOG.md',
  ...readdirSync(join(ROOT, 'docs'))
    .filter(name => name.endsWith('.md'))
    .map(name => `docs/${name}`),
];

/** What of a valibot schema says which keys it has. */
interface Schema {
  readonly type: string;
  readonly entries?: Readonly<Record<string, Schema>>;
  readonly pipe?: readonly Schema[];
  readonly wrapped?: Schema;
  readonly getter?: (input: unknown) => Schema;
}

/** Every key of a schema as a path; the key of a nested object comes before the keys in it. */
function keysOf(schema: Schema, prefix = ''): string[] {
  if (schema.wrapped !== undefined) return keysOf(schema.wrapped, prefix);
  // The shorthand of such a field, a string, has no keys; an object may be one of several kinds.
  const { getter } = schema;
  if (getter !== undefined)
    return [...new Set([{}, { image: '' }, { archive: '' }].flatMap(kind => keysOf(getter(kind), prefix)))];
  const entries = Object.entries(schema.entries ?? {});
  const own = entries.flatMap(([key, value]) => [`${prefix}${key}`, ...keysOf(value, `${prefix}${key}.`)]);
  return [...own, ...(schema.pipe ?? []).flatMap(part => keysOf(part, prefix))];
}

/** A limit's name is a row of a table of its own; what is in a limit is the same for all. */
function asDocumented(key: string): string {
  return key.replace(/^rlimits\.[a-z]+/, 'rlimits.<limit>');
}

/** The cells of the rows of every table whose first column has this heading. */
function rowsOf(text: string, heading: string): string[][] {
  const rows: string[][] = [];
  let inside = false;
  for (const line of text.split('\n')) {
    const cells = line.startsWith('|')
      ? line
          .slice(1, -1)
          .split('|')
          .map(cell => cell.trim())
      : [];
    if (cells.length === 0) inside = false;
    else if (cells[0] === heading) inside = true;
    else if (inside && !/^-+$/.test(cells[0] ?? '')) rows.push(cells);
  }
  return rows;
}

const quoted = (text: string): string[] =>
  [...text.replaceAll(/^```[\s\S]*?^```$/gm, '').matchAll(/`([^`]+)`/g)].map(match => match[1] ?? '');

describe('docs/spec.md', () => {
  const text = read('docs/spec.md');
  const rows = rowsOf(text, 'Field');
  const documented = rows.map(([field = '']) => quoted(field)[0] ?? field);
  const keys = keysOf(containerSpecSchema as unknown as Schema);

  test('has a row for every key of the schema, and for no other', () => {
    expect(keys).toContain('rootfs.createMissing');
    const limits = /^rlimits\.[a-z]+$/;
    expect([...documented].sort()).toEqual(
      [...new Set(keys.filter(key => !limits.test(key)).map(asDocumented))].sort(),
    );
  });

  test('has a row for every resource limit', () => {
    expect(rowsOf(text, 'Limit').map(([name = '']) => quoted(name)[0])).toEqual([...RLIMIT_NAMES]);
  });

  test('says the defaults that are filled in', () => {
    const spec = resolveSpec({ name: 'web', rootfs: '/srv/web' }, () => ({ first: 1, count: 1 }));
    const valueAt = (path: string): unknown =>
      path.split('.').reduce<unknown>((value, key) => (value as Record<string, unknown> | null)?.[key], spec);
    const said = rows.flatMap(([field = '', , value = '']): [string, unknown][] => {
      const literal = /^`([^`]+)`$/.exec(value)?.[1];
      const path = quoted(field)[0] ?? '';
      // An object is empty when it is not given; its own fields have the defaults.
      return literal === undefined ||
        (literal === '{}' && !['environment', 'credentials'].includes(path)) ||
        path === 'privileged'
        ? []
        : [[path, JSON.parse(literal)]];
    });
    expect(said.length).toBeGreaterThan(12);
    expect(said.map(([path]) => [path, valueAt(path)])).toEqual(said);
  });
});

describe('docs/errors.md', () => {
  test('has a section for every code, and for no other', () => {
    const sections = [...read('docs/errors.md').matchAll(/^### ([A-Z_]+)$/gm)].map(match => match[1]);
    expect(sections.sort()).toEqual([...caisson.ERROR_CODES].sort());
  });
});

describe('docs/api.md', () => {
  const text = read('docs/api.md');

  test('names every export', () => {
    const index = read('src/index.ts');
    const names = [...index.matchAll(/export (?:type )?\{([^}]+)\}/g)].flatMap(match =>
      (match[1] ?? '').split(',').map(part =>
        part
          .trim()
          .replace(/^type /, '')
          .replace(/^.* as /, ''),
      ),
    );
    expect(names).toEqual(expect.arrayContaining(Object.keys(caisson)));
    expect(names.filter(name => !new RegExp(`\\b${name}\\b`).test(text))).toEqual([]);
  });

  test.each([
    ['Supervisor', caisson.Supervisor],
    ['Container', caisson.Container],
    ['Group', caisson.Group],
  ])('names every method and property of a %s that is for callers', (_, type) => {
    const internal = ['constructor', 'settled', ...internalMembers(type)];
    const members = Object.getOwnPropertyNames(type.prototype).filter(name => !internal.includes(name));
    expect(members.filter(name => !new RegExp(`\\b${name}\\b`).test(text))).toEqual([]);
  });

  test('names every type of event, and every notice', () => {
    const events = read('src/supervisor/events.ts') + read('src/supervisor/tree-events.ts');
    const types = [...events.matchAll(/type: '([a-z-]+)'/g)].map(match => match[1] ?? '');
    expect(
      rowsOf(text, '`type`')
        .flatMap(([type = '']) => quoted(type))
        .sort(),
    ).toEqual([...new Set(types)].sort());
    // Only types say which there are: `code: PlanNotice['code'] | 'adopted'`.
    const codes = [...`${events}${read('src/plan/step.ts')}`.matchAll(/readonly code:([^;]+);/g)]
      .flatMap(match => [...(match[1] ?? '').replaceAll(/\['code'\]/g, '').matchAll(/'([a-z-]+)'/g)])
      .map(match => match[1] ?? '');
    expect(codes).toContain('adopted');
    expect(codes.filter(code => !quoted(text).includes(code))).toEqual([]);
  });

  test('names every reason and initiator, and every move', () => {
    for (const name of [...REASONS, ...INITIATORS]) expect(quoted(text)).toContain(name);
    const moves = rowsOf(text, 'From').flatMap(([from = '', to = '']) =>
      quoted(from).map(state => [state, quoted(to)]),
    );
    expect(Object.fromEntries(moves)).toEqual(MOVES);
  });
});

/** What the declarations say is private, or for the supervisor only; JavaScript does not. */
function internalMembers(type: { readonly name: string }): string[] {
  const declaration = readFileSync(join(ROOT, `dist/supervisor/${type.name.toLowerCase()}.d.ts`), 'utf8');
  const marked = /private (?:readonly |get )?(\w+)|\/\*\* For the supervisor[^*]*\*\/\s*(\w+)/g;
  return [...declaration.matchAll(marked)].map(match => match[1] ?? match[2] ?? '');
}

describe('docs/cli.md', () => {
  const text = read('docs/cli.md');
  const help = (...args: string[]): string =>
    execFileSync(process.execPath, [join(ROOT, 'dist/cli/main.js'), ...args, '--help'], { encoding: 'utf8' });

  test.each([
    ['run', 5],
    ['explain', 5],
    ['inspect', 2],
    ['exec', 5],
    ['daemon', 7],
    ['ls', 6],
    ['create', 8],
    ['stop', 3],
    ['events', 4],
  ])('has every option of %s', (command, least) => {
    const options = [...help(command).matchAll(/^ {2}(?:-\w, )?(--[a-z-]+(?: <[^>]+>)?)/gm)].map(
      match => match[1] ?? '',
    );
    expect(options.length).toBeGreaterThan(least);
    expect(options.filter(option => !text.includes(`\`${option}\``))).toEqual([]);
  });

  test('has every command, and no option that is not there', () => {
    const commands = [...help().matchAll(/^ {2}(\w+) \[options\]/gm)].map(match => match[1] ?? '');
    expect([...text.matchAll(/^## caisson (\w+)$/gm)].map(match => match[1])).toEqual(commands);
    const all = commands.map(command => help(command)).join('\n');
    const options = rowsOf(text, 'Option').map(([option = '']) => quoted(option)[0] ?? '');
    expect(options.filter(option => !all.includes(option))).toEqual([]);
  });
});

describe('README.md', () => {
  test('has the example as it is, which test/integration/example.test.ts runs', () => {
    expect(read('README.md')).toContain(`\`\`\`js\n${read('examples/embed.mjs')}\`\`\`\n`);
  });
});

describe.each(PAGES)('%s', page => {
  test('its links lead somewhere', () => {
    const targets = [...read(page).matchAll(/\]\(([^)\s]+)\)/g)]
      .map(match => match[1] ?? '')
      .filter(target => !/^https?:/.test(target));
    const broken = targets.filter(target => {
      const [path = '', anchor] = target.split('#');
      const file = path === '' ? page : join(dirname(page), path);
      if (!existsSync(join(ROOT, file))) return true;
      return anchor !== undefined && !anchorsOf(read(file)).includes(anchor);
    });
    expect(broken).toEqual([]);
  });
});

/** What GitHub makes of headings: lower case, punctuation dropped, blanks to hyphens. */
function anchorsOf(text: string): string[] {
  return [...text.matchAll(/^#+ (.+)$/gm)].map(match =>
    (match[1] ?? '')
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N}\s_-]/gu, '')
      .replaceAll(' ', '-'),
  );
}
