/**
 * Coverage is written when a process exits by itself. A test file's process may be ended instead, when it still watches
 * something: so it is written at the end of each file, too.
 */
import process from 'node:process';
import { takeCoverage } from 'node:v8';
import { afterAll } from 'vitest';

if (process.env.NODE_V8_COVERAGE !== undefined) afterAll(() => takeCoverage());
