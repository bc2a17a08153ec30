import { defineConfig } from 'vitest/config';
import { slow } from './test/lib/slow.ts';

// Tests run against the built package (dist): the worker threads load real JavaScript files,
// and the coverage of worker threads is collected by Node itself (NODE_V8_COVERAGE), see scripts/test.sh.
export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    pool: 'forks',
    setupFiles: ['./test/lib/coverage.ts'],
    // Integration tests compare mounts, cgroups and links of the whole machine before and after: one file at a time.
    fileParallelism: false,
    testTimeout: slow(120_000),
    hookTimeout: slow(120_000),
    server: { deps: { external: [/\/dist\//] } },
  },
});
