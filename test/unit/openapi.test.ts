/** The checked-in OpenAPI document is that of the routes, and the documentation names each. */
import { readFileSync, writeFileSync } from 'node:fs';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { documentOf } from '#src/api/openapi.js';
import { ROUTES } from '#src/api/routes/index.js';
import { VERSION } from '#src/cli/version.js';

const file = (path: string): string => fileURLToPath(new URL(`../../${path}`, import.meta.url));
const FILE = file('docs/openapi.json');

test('docs/openapi.json is the document of the routes; UPDATE_GOLDEN=1 writes it anew', () => {
  const text = `${JSON.stringify(documentOf(ROUTES, VERSION, false), null, 2)}\n`;
  if (process.env.UPDATE_GOLDEN === '1') writeFileSync(FILE, text);
  expect(readFileSync(FILE, 'utf8')).toBe(text);
});

test('every reference leads somewhere, every operation has a name of its own', () => {
  const document = documentOf(ROUTES, VERSION);
  const at = (reference: string): unknown =>
    reference
      .slice(2)
      .split('/')
      .reduce<unknown>((value, key) => (value as Record<string, unknown> | undefined)?.[key], document);
  const references = [...JSON.stringify(document).matchAll(/"\$ref":"([^"]+)"/g)].map(match => match[1] ?? '');
  expect(references.length).toBeGreaterThan(20);
  expect(references.filter(reference => at(reference) === undefined)).toEqual([]);
  expect(new Set(ROUTES.map(({ id }) => id)).size).toBe(ROUTES.length);
});

test('docs/http.md names every route', () => {
  const text = readFileSync(file('docs/http.md'), 'utf8');
  const last = ROUTES.map(({ path }) => path.replace('/v1/containers/{name}/', '…/'));
  expect(last.filter(path => !text.includes(path))).toEqual([]);
});

test('the version is that of the package', () => {
  expect((JSON.parse(readFileSync(file('package.json'), 'utf8')) as { version: string }).version).toBe(VERSION);
});
