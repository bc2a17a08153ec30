/** The command line without a container: help, versions, refusals, plans. */

import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { slow } from '../lib/slow.ts';
import { type Finished, inPairs, MAIN, useCli } from './cli.ts';

const cli = useCli();

const version = (
  JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as { version: string }
).version;

/** Standard error of a refusal: one `caisson:` line, then indented ones, no stack. */
function expectComplaint({ code, stderr, stdout }: Finished, exitCode: number): void {
  expect(code, stderr).toBe(exitCode);
  expect(stdout.toString()).toBe('');
  const [first = '', ...rest] = stderr.trimEnd().split('\n');
  expect(first).toMatch(/^caisson: /);
  for (const line of rest) expect(line).toMatch(/^ {2}(field|step|hint|cleanup): |^\(Did you mean/);
}

test("--version is the package's", async () => {
  const { code, text } = await cli.start(['--version']).finished;
  expect([code, text]).toEqual([0, `${version}\n`]);
});

test('help names every option and the exit codes', async () => {
  const commands = [['--help'], ['run', '--help'], ['help', 'run'], ['explain', '--help']];
  const found = new Map<string, string>();
  await inPairs(commands, async words => {
    const { code, text, stderr } = await cli.start(words).finished;
    expect([code, stderr], words.join(' ')).toEqual([0, '']);
    expect(text.endsWith('\n')).toBe(true);
    found.set(words.join(' '), text);
  });
  expect(found.get('--help')).toMatch(/^ +run .*\n.*^ +explain /ms);
  expect(found.get('help run')).toBe(found.get('run --help'));
  const run = found.get('run --help') ?? '';
  for (const option of [
    'name',
    'hostname',
    'image',
    'overlay',
    'read-only',
    'ephemeral',
    'env',
    'state',
    'rm',
    'stop-timeout',
  ])
    expect(run).toContain(`--${option}`);
  // In the unit the option takes.
  expect(run).toMatch(/--stop-timeout <seconds>[^-]*\(default: 10\)/);
  expect(run).toContain('128+n');
  expect(found.get('explain --help')).toContain('--json');
});

test('--help and --version are quick: they load nothing heavy', async () => {
  const log = cli.path('modules');
  const hooks = `import { appendFileSync } from 'node:fs';
    export async function load(url, context, next) { appendFileSync(${JSON.stringify(log)}, url + '\\n'); return next(url, context); }`;
  const data = (text: string): string => `data:text/javascript,${encodeURIComponent(text)}`;
  const register = `import { register } from 'node:module'; register(${JSON.stringify(data(hooks))});`;
  for (const words of [['--help'], ['--version'], ['run', '--bogus']]) {
    writeFileSync(log, '');
    await cli.spawn(process.execPath, ['--import', data(register), MAIN, ...words]).finished;
    const urls = readFileSync(log, 'utf8')
      .split('\n')
      .filter(url => url.startsWith('file:'));
    const packages = urls.flatMap(url => /\/node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(url)?.[1] ?? []);
    expect(urls.some(url => url.endsWith('/cli/main.js'))).toBe(true);
    expect([...new Set(packages)], words.join(' ')).toEqual(['commander']);
    const own = urls.flatMap(url => /\/dist\/(.+)$/.exec(url)?.[1] ?? []);
    expect(
      own.filter(path => !path.startsWith('cli/') && path !== 'spec/errors.js'),
      words.join(' '),
    ).toEqual([]);
  }
  const median = async (args: readonly string[]): Promise<number> => {
    const times: number[] = [];
    for (let round = 0; round < 3; round++) times.push((await cli.spawn(process.execPath, args).finished).ms);
    return times.sort((a, b) => a - b)[1] ?? 0;
  };
  const bare = await median(['-e', '0']);
  const help = await median([MAIN, '--help']);
  const versions = await median([MAIN, '--version']);
  console.log(`bare node ${bare.toFixed(0)} ms, --help ${help.toFixed(0)} ms, --version ${versions.toFixed(0)} ms`);
  // Commander takes about 15 ms; piscina, koffi and xstate 100. On a machine that is busy with other things.
  expect(Math.min(help, versions) - bare).toBeLessThan(slow(150));
});

test('no command: the usage, on standard error', async () => {
  const { code, stdout, stderr } = await cli.start([]).finished;
  expect([code, stdout.toString()]).toEqual([125, '']);
  expect(stderr).toMatch(/^Usage: caisson /);
});

test('a wrong word is refused with 125, its name and where help is', async () => {
  const cases: [string[], string[]][] = [
    [['bogus'], ["unknown command 'bogus'", 'caisson --help']],
    [
      ['runn', 'busybox'],
      ["unknown command 'runn'", 'Did you mean run?'],
    ],
    [['run'], ["missing required argument 'rootfs'", 'caisson run --help']],
    [
      ['run', '--bogus', 'busybox'],
      ["unknown option '--bogus'", 'caisson run --help'],
    ],
    [
      ['run', 'busybox', '--hostnam', 'x'],
      ["unknown option '--hostnam'", 'Did you mean --hostname?'],
    ],
    [
      ['run', '--env', 'x', 'busybox'],
      ["'--env <NAME=VALUE>'", "'x'", 'NAME=VALUE'],
    ],
    [
      ['run', '--stop-timeout', 'soon', 'busybox'],
      ["'--stop-timeout <seconds>'", "'soon'", 'number of seconds'],
    ],
    [
      ['run', '--stop-timeout', '', 'busybox'],
      ["'--stop-timeout <seconds>'", "''"],
    ],
    [
      ['run', '--state', '', 'busybox'],
      ["'--state <dir>'", 'must be a path'],
    ],
    [
      ['explain', '--rm', 'busybox'],
      ["unknown option '--rm'", 'caisson explain --help'],
    ],
  ];
  await inPairs(cases, async ([words, texts]) => {
    const finished = await cli.start(words).finished;
    expectComplaint(finished, 125);
    for (const text of texts) expect(finished.stderr, words.join(' ')).toContain(text);
    expect(finished.stderr).toMatch(/^ {2}hint: see caisson .*--help$/m);
  });
});

test('a bad spec is refused with code, field and hint before anything is made', async () => {
  const state = cli.path('never');
  const cases: [string[], string, string][] = [
    [['--name', 'x'.repeat(300), 'busybox'], 'SPEC_INVALID', 'name'],
    [['--name', '../../../../../../tmp/x', 'busybox'], 'SPEC_INVALID', 'name'],
    [['--hostname', 'no_underscore', 'busybox'], 'SPEC_INVALID', 'hostname'],
    [['--env', '1A=x', 'busybox'], 'SPEC_INVALID', 'environment.1A'],
    [['--env', 'container=lxc', 'busybox'], 'SPEC_INVALID', 'environment.container'],
    [['busybox', '--', 'true'], 'SPEC_INVALID', 'program'],
    [['nosuch'], 'TEMPLATE_UNKNOWN', 'rootfs'],
  ];
  const commands = cases.map(([words, code, field]) => ({
    words: ['run', '--rm', '--state', state, ...words],
    code,
    field,
  }));
  for (const command of [['run'], ['explain', '--json']]) {
    commands.push({
      words: [...command, '--state', state, '--name', 'a/b', 'busybox'],
      code: 'SPEC_INVALID',
      field: 'name',
    });
  }
  await inPairs(commands, async ({ words, code, field }) => {
    const finished = await cli.start(words).finished;
    expectComplaint(finished, 125);
    const [first, ...rest] = finished.stderr.split('\n');
    expect(first, words.join(' ')).toContain(`[${code}]`);
    expect(rest, words.join(' ')).toContain(`  field: ${field}`);
    expect(finished.stderr).toMatch(/^ {2}hint: \S/m);
  });
  expect(existsSync(state)).toBe(false);
});

test('an unusable state directory is told without a stack', async () => {
  const file = cli.path('file');
  writeFileSync(file, 'mine\n');
  for (const rm of [[], ['--rm']]) {
    const finished = await cli.start(['run', ...rm, '--state', file, cli.rootfs]).finished;
    expectComplaint(finished, 125);
    expect(finished.stderr).toMatch(/\[(ENOTDIR|EEXIST)\]/);
    expect(finished.stderr).toContain(file);
  }
  expect(readFileSync(file, 'utf8')).toBe('mine\n');
});

test('without root: told that root is needed', async context => {
  // Nobody may not write the coverage either, and Node would say so.
  const identity = ['--reuid', '65534', '--regid', '65534', '--clear-groups'];
  const nobody = [...identity, 'env', '-u', 'NODE_V8_COVERAGE'];
  const { code } = await cli.spawn('setpriv', [...nobody, process.execPath, MAIN, '--version']).finished;
  if (code !== 0) context.skip('nobody may not read this checkout, or run this Node');
  const finished = await cli.spawn('setpriv', [
    ...nobody,
    process.execPath,
    MAIN,
    'run',
    '--state',
    cli.path('x'),
    cli.rootfs,
  ]).finished;
  expectComplaint(finished, 125);
  expect(finished.stderr).toContain('[EACCES]');
  expect(finished.stderr).toContain('hint: Caisson needs root');
});

interface PlanJSON {
  readonly steps: { readonly phase: string; readonly executor: string; readonly label: string }[];
}

test('explain prints the plan as a table and as JSON, and touches nothing', async () => {
  const state = cli.path('never');
  const words = ['--state', state, '--name', 'told', '--hostname', 'inside', '--env', 'A=b c', cli.rootfs];
  const program = ['--', '/bin/echo', '--json', 'x'];
  const [table, json, template] = await Promise.all([
    cli.start(['explain', ...words, ...program]).finished,
    cli.start(['explain', '--json', ...words, ...program]).finished,
    cli.start(['explain', '--state', state, '--json', 'busybox']).finished,
  ]);
  for (const { code, stderr } of [table, json, template]) expect([code, stderr]).toEqual([0, '']);
  const { steps } = JSON.parse(json.text) as PlanJSON;
  const [head = '', ...rows] = table.text.split('\n\n')[0]?.trimEnd().split('\n') ?? [];
  expect(head).toMatch(/^PHASE +BY +WHAT +CALL +NOTES$/);
  expect(rows.map(row => row.split(/ +/, 2))).toEqual(steps.map(({ phase, executor }) => [phase, executor]));
  expect([...new Set(steps.map(({ phase }) => phase))]).toEqual([
    'creating',
    'mounting',
    'devices',
    'network',
    'running',
  ]);
  for (const text of [cli.rootfs, 'inside', 'A=', '/bin/echo']) {
    expect(table.text.includes(text), `${text} in the table`).toBe(true);
    expect(json.text.includes(text), `${text} in the JSON`).toBe(true);
  }
  expect((JSON.parse(template.text) as PlanJSON).steps.length).toBeGreaterThan(20);
  expect(existsSync(state)).toBe(false);
  await cli.expectNothingLeft();
});

test('explain into a reader that has seen enough, and onto a full disk', async () => {
  const script = `"$0" "$1" explain "$2" | head -n 1; echo "\${PIPESTATUS[0]}"; "$0" "$1" explain --json "$2" > /dev/full; echo $?`;
  const { text, stderr } = await cli.spawn('bash', ['-c', script, process.execPath, MAIN, cli.rootfs]).finished;
  expect(text.split('\n').slice(1)).toEqual(['0', '125', '']);
  expect(stderr).toMatch(/^caisson: .*\[ENOSPC\]\n$/);
});

test('a directory is told from a template by its slash, `.` or `..`', async () => {
  const script =
    'cd "$2" && for path in . .. ./busybox; do "$0" "$1" explain --json "$path" | grep -m 1 -o "open .*/.*[^\\",]" ; done';
  const { text, stderr } = await cli.spawn('bash', ['-c', script, process.execPath, MAIN, cli.rootfs]).finished;
  expect(stderr).toBe('');
  expect(text.split('\n')).toEqual([
    `open ${cli.rootfs}`,
    `open ${cli.dir}`,
    `open ${join(cli.rootfs, 'busybox')}`,
    '',
  ]);
});
