/** The import rule of the design (§3): who may import whom, which packages belong to one layer, and where nothing may block. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';

const SRC = fileURLToPath(new URL('../../src', import.meta.url));

interface Source {
  /** Path below src, as `plan/step.ts`. */
  readonly file: string;
  readonly text: string;
}

interface Import {
  readonly file: string;
  readonly line: number;
  readonly specifier: string;
}

const sources: readonly Source[] = readdirSync(SRC, { recursive: true, encoding: 'utf8' })
  .filter(file => file.endsWith('.ts'))
  .sort()
  .map(file => ({ file, text: readFileSync(join(SRC, file), 'utf8') }));

/** The text with comments blanked out, so that lines keep their numbers. */
function withoutComments(text: string): string {
  const comment = /\/\*[\s\S]*?\*\/|\/\/.*|'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*"/g;
  return text.replace(comment, match => (match.startsWith('/') ? match.replaceAll(/[^\n]/g, ' ') : match));
}

/** Every import, type imports and re-exports included: a type is a dependency of the reader all the same. */
function importsOf({ file, text }: Source): Import[] {
  const code = withoutComments(text);
  const pattern = /\bfrom\s*['"]([^'"]+)['"]|\bimport\s*\(?\s*['"]([^'"]+)['"]|\brequire\s*\(\s*['"]([^'"]+)['"]/g;
  return [...code.matchAll(pattern)].map(match => ({
    file,
    line: code.slice(0, match.index).split('\n').length,
    specifier: match[1] ?? match[2] ?? match[3] ?? '',
  }));
}

const imports = sources.flatMap(importsOf);

/** The path below src that a relative import leads to. */
function targetOf({ file, specifier }: Import): string {
  return join(file, '..', specifier).replace(/\.js$/, '.ts');
}

/** `syscalls/abi`, `plan`, …; `face` for what stands at the right end. */
function layerOf(path: string): string {
  if (path.startsWith('syscalls/abi/')) return 'syscalls/abi';
  const folder = path.includes('/') ? path.slice(0, path.indexOf('/')) : '';
  return ['', 'api', 'client', 'guest', 'oci', 'cli'].includes(folder) ? 'face' : folder;
}

/** What each layer may import, besides itself. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  spec: [],
  plan: ['spec'],
  machines: ['spec', 'plan'],
  'syscalls/abi': [],
  // Of the pure layers the system-call layer sees errors and errnos only: it knows nothing of containers.
  syscalls: ['syscalls/abi', 'spec'],
  workers: ['syscalls/abi', 'syscalls', 'spec', 'plan'],
  supervisor: ['syscalls/abi', 'syscalls', 'workers', 'spec', 'plan', 'machines'],
  face: ['syscalls/abi', 'syscalls', 'workers', 'spec', 'plan', 'machines', 'supervisor'],
};

const PURE = ['spec', 'plan', 'machines'];

const show = ({ file, line, specifier }: Import): string => `src/${file}:${line} imports ${specifier}`;
const isRelative = ({ specifier }: Import): boolean => specifier.startsWith('.');

test('the layers are the folders of src: a new folder needs a place in the rule', () => {
  expect([...new Set(sources.map(({ file }) => layerOf(file)))].filter(layer => !(layer in MAY_IMPORT))).toEqual([]);
});

test('each layer imports only what stands to its left', () => {
  const violations = imports.filter(isRelative).filter(one => {
    const from = layerOf(one.file);
    const to = layerOf(targetOf(one));
    return from !== to && !(MAY_IMPORT[from] ?? []).includes(to);
  });
  expect(violations.map(show)).toEqual([]);
});

test('imports inside the package are relative, and lead to a file that exists', () => {
  const files = new Set(sources.map(({ file }) => file));
  const violations = imports.filter(one =>
    isRelative(one) ? !files.has(targetOf(one)) : one.specifier.startsWith('#') || one.specifier.startsWith('/'),
  );
  expect(violations.map(show)).toEqual([]);
});

test('the system-call layer knows of spec only errors and errnos', () => {
  const allowed = ['spec/errors.ts', 'spec/errno.ts'];
  const violations = imports.filter(
    one =>
      isRelative(one) &&
      layerOf(one.file) === 'syscalls' &&
      layerOf(targetOf(one)) === 'spec' &&
      !allowed.includes(targetOf(one)),
  );
  expect(violations.map(show)).toEqual([]);
});

test.each([
  ['koffi', ['syscalls']],
  ['piscina', ['workers']],
  ['valibot', ['spec', 'face']],
  ['hono', ['face']],
  ['@hono/node-server', ['face']],
  ['@valibot/to-json-schema', ['face']],
  ['prom-client', ['face']],
  ['ws', ['face']],
  ['xstate', ['machines', 'supervisor']],
  ['commander', ['face']],
])('%s is imported only in %j', (name, layers) => {
  const uses = imports.filter(({ specifier }) => specifier === name || specifier.startsWith(`${name}/`));
  expect(uses.length).toBeGreaterThan(0);
  expect(uses.filter(({ file }) => !layers.includes(layerOf(file))).map(show)).toEqual([]);
});

test('the client loads nothing native, and nothing of the supervisor: types alone', () => {
  const violations = sources
    .filter(({ file }) => file.startsWith('client/'))
    .flatMap(({ file, text }) =>
      [...text.matchAll(/^import (?!type )[^;]*? from '(\.\.\/[^']+)'/gm)].map(([, from]) => `src/${file}: ${from}`),
    )
    .filter(line => !/ \.\.\/(spec\/errors|api\/problem)\.js$/.test(line));
  expect(violations).toEqual([]);
});

test('the pure layers use no module of Node', () => {
  const violations = imports.filter(
    ({ file, specifier }) => PURE.includes(layerOf(file)) && specifier.startsWith('node:'),
  );
  expect(violations.map(show)).toEqual([]);
});

test('modules of Node are named with node:', () => {
  const bare =
    /^(assert|buffer|child_process|crypto|events|fs|http|net|os|path|process|stream|url|util|v8|worker_threads)(\/|$)/;
  expect(imports.filter(({ specifier }) => bare.test(specifier)).map(show)).toEqual([]);
});

/** Where `pattern` occurs in the code of the files that `chosen` takes. */
function findings(pattern: RegExp, chosen: (file: string) => boolean): string[] {
  return sources
    .filter(({ file }) => chosen(file))
    .flatMap(({ file, text }) =>
      withoutComments(text)
        .split('\n')
        .flatMap((line, index) =>
          [...line.matchAll(pattern)].map(([found]) => `src/${file}:${index + 1} uses ${found}`),
        ),
    );
}

test('supervisor and command line make no synchronous call of node:fs or node:child_process: they share one event loop', () => {
  const blocking = (file: string): boolean =>
    ['supervisor', 'cli', 'api', 'client', 'guest', 'oci'].includes(file.split('/')[0] ?? '');
  expect(findings(/\b[a-z][A-Za-z]*Sync\b/g, blocking)).toEqual([]);
});

test('the pure layers have neither clock, chance nor process', () => {
  const impure =
    /\b(Date\.now|new Date|Math\.random|performance\.now|process\.(?!arch\b)|setTimeout|setInterval|fetch|crypto\.)/g;
  expect(findings(impure, file => ['spec', 'plan'].includes(layerOf(file)))).toEqual([]);
});

describe('the checks themselves', () => {
  const at = (file: string, text: string): Import[] => importsOf({ file, text });

  test('find imports of every form, on the right line', () => {
    const text = [
      "import a from './a.js';",
      '// import b from "./b.js";',
      '/* import c from \'./c.js\'; */ export * from "./d.js";',
      "import {\n  type E,\n} from '../spec/e.js';",
      "import './f.js';",
      "const g = await import('./g.js');",
      "const url = 'https://from/x'; // from './h.js'",
    ].join('\n');
    expect(at('plan/x.ts', text).map(({ line, specifier }) => [line, specifier])).toEqual([
      [1, './a.js'],
      [3, './d.js'],
      [6, '../spec/e.js'],
      [7, './f.js'],
      [8, './g.js'],
    ]);
  });

  test('place files in layers', () => {
    expect(
      ['syscalls/abi/x.ts', 'syscalls/libc.ts', 'syscalls/netlink/x.ts', 'plan/x.ts', 'index.ts', 'cli/main.ts'].map(
        layerOf,
      ),
    ).toEqual(['syscalls/abi', 'syscalls', 'syscalls', 'plan', 'face', 'face']);
    expect(targetOf({ file: 'workers/init/x.ts', line: 1, specifier: '../../plan/step.js' })).toBe('plan/step.ts');
  });

  test('read the whole of src', () => {
    expect(sources.length).toBeGreaterThan(70);
    expect(imports.length).toBeGreaterThan(250);
  });
});
