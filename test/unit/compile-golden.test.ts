import { readdirSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { explain, explainJSON } from '#src/plan/explain.js';
import { compilePrepare, compileRelease } from '#src/plan/host.js';
import type { Plan } from '#src/plan/step.js';
import { compileFreeze, compileTeardown } from '#src/plan/teardown.js';
import type { ContainerSpec } from '#src/spec/container.js';
import { DEBIAN_12, HOSTS, HYBRID, NESTED, NO_CGROUP_NAMESPACE, NO_IDMAP, PURE_V1, PURE_V2 } from '../lib/facts.js';
import { expectError, expectGolden, planOf, privileged, RUN_DIR, unprivileged } from './kit.js';

const files: string[] = [];

/** A test that compares the plan of `make` with the golden file of that name. */
function golden(title: string, file: string, make: () => Plan, print: (plan: Plan) => string = explain): void {
  files.push(file);
  test(title, () => expectGolden(file, print(make())));
}

/** The JSON form with short lists on one line, so that a person can read it. */
function readable(plan: Plan): string {
  const item = String.raw`(?:"[^"\n]*"|-?\d+|null)`;
  const list = new RegExp(String.raw`\[\s+(${item}(?:,\s+${item})*)\s+\]`, 'g');
  return explainJSON(plan).replace(list, (_, items: string) => `[${items.replace(/\s+/g, ' ')}]`);
}

const MODES: Readonly<Record<string, () => ContainerSpec>> = { unprivileged, privileged };

function forEach(hosts: readonly string[], use: (host: string, mode: string, spec: () => ContainerSpec) => void): void {
  for (const host of hosts) for (const [mode, spec] of Object.entries(MODES)) use(host, mode, spec);
}

describe('start plans', () => {
  forEach(Object.keys(HOSTS), (host, mode, spec) => {
    // A privileged container needs a device policy, which the nested host cannot give (ENV-22).
    if (host === 'nested' && mode === 'privileged') return;
    golden(`on ${host}, ${mode}`, `start-${host}-${mode}.golden.txt`, () => planOf(spec(), HOSTS[host]!));
  });

  test('ENV-22 on nested, privileged: refused', () => {
    expectError(() => planOf(privileged(), NESTED), 'DEVICE_POLICY_REFUSED');
  });

  test('ENV-40 without cgroup namespaces: refused', () => {
    for (const spec of [unprivileged(), privileged()]) {
      expectError(() => planOf(spec, NO_CGROUP_NAMESPACE), 'CGROUP_NS_REQUIRED');
    }
  });

  for (const [host, mode, spec, facts] of [
    ['v2', 'unprivileged', unprivileged, PURE_V2],
    ['hybrid', 'privileged', privileged, HYBRID],
    ['v1', 'unprivileged', unprivileged, PURE_V1],
    ['no-idmap', 'unprivileged', unprivileged, NO_IDMAP],
    ['nested', 'unprivileged', unprivileged, NESTED],
  ] as const) {
    const file = `start-${host}-${mode}.golden.json`;
    golden(`as JSON: on ${host}, ${mode}`, file, () => planOf(spec(), facts), readable);
  }

  for (const layout of ['hybrid', 'legacy']) {
    golden(`ENV-71 on hybrid, layout ${layout}`, `start-hybrid-layout-${layout}.golden.txt`, () =>
      planOf(unprivileged({ cgroups: { layout } }), HYBRID),
    );
  }

  golden('ENV-70 privileged, on an image that it writes', 'start-v2-image-written.golden.txt', () =>
    planOf(privileged({ rootfs: { image: '/srv/web.ext4', overlay: 'none' } }), PURE_V2),
  );
  golden('on an image below a layer', 'start-debian-12-image.golden.txt', () =>
    planOf(unprivileged({ rootfs: { image: '/srv/web.squashfs' } }), DEBIAN_12),
  );

  golden('with every option of a spec', 'start-v2-every-option.golden.txt', () => {
    const spec = unprivileged({
      rootfs: { path: '/srv/full', createMissing: true, overlay: 'ephemeral' },
      init: '/usr/lib/systemd/systemd',
      args: ['--log-level=debug', 'two words'],
      type: 'caisson',
      environment: { LANG: 'C.UTF-8', EMPTY: '' },
      hostname: 'full.example',
      idmap: { first: 200_000, count: 3 },
      devices: { mknod: 'table', size: 65_536 },
      sys: 'rw',
      limits: { memory: 268_435_456, pids: 500 },
      rlimits: { nofile: { soft: 4096, hard: 'unlimited' } },
      oomScoreAdj: 500,
      ttys: 2,
      console: { controlling: false, rows: 50, cols: 132 },
    });
    return planOf(spec, PURE_V2);
  });
});

describe('teardown plans', () => {
  forEach(['v2', 'hybrid', 'v1'], (host, mode, spec) => {
    golden(`on ${host}, ${mode}`, `teardown-${host}-${mode}.golden.txt`, () =>
      compileTeardown(spec(), HOSTS[host]!, { runDir: RUN_DIR }),
    );
  });

  golden('of a container that writes its image', 'teardown-v2-image-written.golden.txt', () =>
    compileTeardown(unprivileged({ rootfs: { image: '/srv/web.ext4', overlay: 'none' } }), PURE_V2, {
      runDir: RUN_DIR,
    }),
  );

  golden('ENV-71 on hybrid, layout legacy', 'teardown-hybrid-layout-legacy.golden.txt', () =>
    compileTeardown(unprivileged({ cgroups: { layout: 'legacy' } }), HYBRID, { runDir: RUN_DIR }),
  );
});

describe('other plans', () => {
  golden('HST-11 prepare on systemd', 'prepare-systemd.golden.txt', () =>
    compilePrepare(HOSTS.systemd!, '/run/caisson'),
  );
  for (const host of ['v2', 'hybrid', 'v1']) {
    const facts = HOSTS[host]!;
    golden(`prepare on ${host}`, `prepare-${host}.golden.txt`, () => compilePrepare(facts, '/run/caisson'));
    golden(`release on ${host}`, `release-${host}.golden.txt`, () => compileRelease(facts, '/run/caisson'));
    golden(`ENV-43 freeze on ${host}`, `freeze-${host}.golden.txt`, () => compileFreeze(unprivileged(), facts, true));
  }
});

test('no golden file is left over from a plan that is gone', () => {
  const present = readdirSync(new URL('./golden', import.meta.url)).filter(name => name.includes('.golden.'));
  expect(present.sort()).toEqual([...files].sort());
});
