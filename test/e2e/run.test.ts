/** `caisson run` with files and pipes: exit codes, input, output, ends, and what stays. */

import { execFileSync } from 'node:child_process';
import {
  closeSync,
  existsSync,
  lstatSync,
  openSync,
  readdirSync,
  readFileSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { makeImage } from '../lib/make-image.ts';
import { CRASH, compileInto } from '../lib/programs.ts';
import { slow } from '../lib/slow.ts';
import { type Finished, inPairs, isAlive, MAIN, recorded, useCli } from './cli.ts';

/** Every byte value, and no period that a buffer size could hide a swap behind. */
const BYTES = Buffer.from(Array.from({ length: 65_521 }, (_, index) => (index * 7 + (index >> 8)) & 0xff));
/** Five megabytes of numbered lines. */
const LINES = Buffer.from(
  Array.from({ length: 5 * 65_536 }, (_, index) => `${String(index).padStart(15, '0')}\n`).join(''),
);

const cli = useCli(rootfs => {
  compileInto(rootfs, 'crash', CRASH);
  writeFileSync(join(rootfs, 'bytes'), BYTES);
  writeFileSync(join(rootfs, 'lines'), LINES);
  writeFileSync(join(rootfs, 'text'), 'not a program\n', { mode: 0o644 });
  writeFileSync(join(rootfs, 'orphan'), '#!/bin/nosuch\n', { mode: 0o755 });
});

/** One `caisson:` line and its details, nothing of Node's. */
function expectComplaint({ stderr }: Finished, texts: readonly string[]): void {
  expect(stderr).toMatch(/^caisson: [^\n]*\n( {2}\w+: [^\n]*\n)*$/);
  for (const text of texts) expect(stderr).toContain(text);
}

function expectSame(found: Buffer, wanted: Buffer): void {
  // Not toEqual: five megabytes make an unreadable difference.
  const at = found.findIndex((byte, index) => byte !== wanted[index]);
  const around = at < 0 ? '' : found.subarray(Math.max(0, at - 40), at + 40).toString('latin1');
  expect({ length: found.length, firstDifference: at, around }).toEqual({
    length: wanted.length,
    firstDifference: -1,
    around: '',
  });
}

describe('exit code', () => {
  test("is the payload's own", async () => {
    const cases: [string, number][] = [
      ['exit 3', 3],
      ['exit 255', 255],
      // The kernel's way to halt and power off.
      ['poweroff -f; sleep 9', 0],
    ];
    await inPairs(cases, async ([script, code]) => {
      const finished = await cli.sh(script);
      expect([finished.code, finished.stderr], script).toEqual([code, '']);
    });
  });

  test('is 128+n when PID 1 died of signal n', async () => {
    const [segv, ill] = await Promise.all([cli.run(['/bin/crash', 'segv']), cli.run(['/bin/crash', 'ill'])]);
    expect([segv.code, ill.code]).toEqual([139, 132]);
    // Killed from outside, by whom nobody knows.
    const [state, name] = [cli.state(), cli.name()];
    const running = cli.begin(['/bin/sh', '-c', 'echo up; sleep 60'], { state, name });
    await running.shows('up');
    process.kill(cli.pidOf(cli.throwAwayPath(state, name), name), 'SIGKILL');
    const killed = await running.finished;
    expect([killed.code, killed.stderr]).toEqual([137, '']);
  });

  test('is 127, 126 or 125 when there is no payload', async () => {
    const file = join(cli.rootfs, 'text');
    const empty = cli.state();
    const cases: [string[], string | undefined, number, string[]][] = [
      [['/bin/nosuch'], undefined, 127, ['/bin/nosuch', '[ROOTFS_INIT_MISSING]', '  step: ', '  hint: ']],
      [['/text'], undefined, 126, ['/text', '[ROOTFS_INIT_NOT_EXECUTABLE]', '  hint: ']],
      [['/bin'], undefined, 126, ['/bin', '[ROOTFS_INIT_NOT_FILE]', '  hint: ']],
      [['/orphan'], undefined, 126, ['[ROOTFS_INIT_INTERPRETER]', '  hint: ', '/orphan']],
      [['/bin/true'], join(cli.dir, 'nowhere'), 125, ['[ROOTFS_MISSING]', '  field: rootfs', '  hint: ', 'nowhere']],
      [['/bin/true'], file, 125, ['[ROOTFS_NOT_DIR]', '  field: rootfs', '  hint: ', file]],
      [['/bin/true'], empty, 125, ['[ROOTFS_DEV_MISSING]', '  hint: ', '/dev']],
    ];
    await inPairs(cases, async ([program, rootfs, code, texts]) => {
      const finished = await cli.run(program, rootfs === undefined ? {} : { rootfs });
      expect([finished.code, finished.stdout.toString()], `${program} ${finished.stderr}`).toEqual([code, '']);
      expectComplaint(finished, texts);
    });
  });
});

describe('options', () => {
  test('--env, --hostname and --name reach the payload; what follows -- is its own', async () => {
    const words = [
      '/bin/sh',
      '-c',
      'hostname; echo "$A|$B|$PATH"; echo "$@"',
      'zero',
      '--rm',
      '--',
      '-x',
      '--help',
      'a b',
    ];
    const options = ['--env', 'A=b c=d', '--env', 'B=', '--env', 'PATH=/bin'];
    const [named, hosted] = await Promise.all([
      cli.run(words, { name: 'e2e-named', options }),
      cli.run(words, { options: [...options, '--hostname', 'in.side'] }),
    ]);
    expect(named.text).toBe('e2e-named\nb c=d||/bin\n--rm -- -x --help a b\n');
    expect(hosted.text).toBe('in.side\nb c=d||/bin\n--rm -- -x --help a b\n');
  });

  test('--ephemeral throws changes away; without it they stay', async () => {
    const [kept, thrown] = [join(cli.rootfs, 'kept'), join(cli.rootfs, 'thrown')];
    const state = cli.state();
    const name = cli.name();
    cli.throwAway(state, name);
    const [direct, ephemeral] = await Promise.all([
      cli.start(['run', '--rm', '--state', state, '--name', name, cli.rootfs, '--', '/bin/touch', '/kept']).finished,
      cli.sh('touch /thrown && ls /thrown'),
    ]);
    expect([direct.code, direct.stderr, ephemeral.code, ephemeral.text]).toEqual([0, '', 0, '/thrown\n']);
    expect([existsSync(kept), existsSync(thrown)]).toEqual([true, false]);
    // Root inside is nobody special outside, and yet the tree stays root's own (an idmapped mount).
    expect(lstatSync(kept).uid).toBe(0);
  });

  test('--image, --overlay and --read-only: what follows is the program', async () => {
    const image = makeImage('ext4', cli.rootfs, join(cli.dir, 'root.ext4'));
    const state = cli.state();
    const run = async (options: readonly string[], script: string): Promise<[number | null, string]> => {
      const name = cli.name();
      cli.throwAway(state, name);
      const words = ['run', '--rm', '--state', state, '--name', name, '--image', image, ...options, '--'];
      const { code, text, stderr } = await cli.start([...words, '/bin/sh', '-c', script]).finished;
      return [code, text + stderr];
    };
    const look = 'ls /x 2>/dev/null; touch /x 2>/dev/null && ls /x';
    expect(await run([], look)).toEqual([0, '/x\n']);
    expect(await run(['--read-only'], look)).toEqual([1, '']);
    expect(await run(['--overlay', 'none'], look)).toEqual([0, '/x\n']);
    expect(await run(['--ephemeral'], look)).toEqual([0, '/x\n/x\n']);
    const [code, text] = await run(['--overlay', 'none', '--read-only'], 'ls /x');
    expect([code, text]).toEqual([0, '/x\n']);
    const conflict = await cli.start(['run', '--image', image, '--overlay', 'none', '--ephemeral']).finished;
    expect(conflict.code).toBe(125);
    expectComplaint(conflict, ['--overlay', '--ephemeral']);
    const directory = await cli.start(['explain', '--read-only', cli.rootfs]).finished;
    expect(directory.code).toBe(125);
    expectComplaint(directory, ['[SPEC_INVALID]', 'rootfs.readOnly']);
  });
});

describe('--archive', () => {
  function archive(): string {
    const path = cli.path('archive');
    execFileSync('tar', ['-C', cli.rootfs, '-cf', path, '.']);
    return path;
  }

  test('is unpacked for the container and goes with it; what follows -- is the program', async () => {
    const [state, name] = [cli.state(), cli.name()];
    cli.throwAway(state, name);
    const options = ['--rm', '--state', state, '--name', name, '--archive', archive()];
    const { code, text, stderr } = await cli.start([
      'run',
      ...options,
      '--',
      '/bin/sh',
      '-c',
      'touch /x; echo $0 ok',
      'a',
    ]).finished;
    expect([code, text, stderr]).toEqual([0, 'a ok\n', '']);
    expect(readdirSync(state)).toEqual([]);
  });

  test('given up while it is read: 128+n, nothing left; damaged: refused, nothing left', async () => {
    const [state, name] = [cli.state(), cli.name()];
    const dir = cli.throwAway(state, name);
    const words = ['run', '--rm', '--state', state, '--name', name, '--archive'];
    const long = cli.path('long');
    // Nothing but a hole: long to read, and no work to make.
    writeFileSync(long, '');
    truncateSync(long, 32 * 1024 ** 3);
    const running = cli.start([...words, long]);
    await cli.until(() => existsSync(join(dir, `.unfinished-${name}`)), 'it is being read');
    await sleep(200);
    running.kill('SIGTERM');
    expect(await running.finished).toMatchObject({ code: 143, stderr: '' });
    expect(readdirSync(state)).toEqual([]);
    const text = cli.path('text');
    writeFileSync(text, 'no archive'.repeat(100));
    const refused = await cli.start([...words, text]).finished;
    expectComplaint(refused, ['[ARCHIVE_UNSUPPORTED]', text, 'field: rootfs.archive']);
    expect([refused.code, readdirSync(state)]).toEqual([125, []]);
  });
});

describe('standard input', () => {
  test('of a pipe reaches the payload to its last byte, then it ends', async () => {
    const last = (script: string, stdin: string): Promise<Finished> => cli.sh(`stty -echo; ${script}`, { stdin });
    const [whole, part, none] = await Promise.all([
      last('cat -v | tail -n 2; echo end', 'one\ntwo\n'),
      // A line that nothing ends: end of file in its middle.
      last('cat | tail -n 1 | od -An -c; echo end', 'one\ntw'),
      last('cat | wc -c; echo end', ''),
    ]);
    expect(whole.text).toMatch(/one\ntwo\nend\n$/);
    expect(part.text).toMatch(/ t {3}w\nend\n$/);
    expect(none.text).toMatch(/0\nend\n$/);
  });

  test('larger than every buffer waits for a payload that reads late', async () => {
    const text = Array.from({ length: 20_000 }, (_, index) => `line ${index}\n`).join('');
    const { code, text: printed } = await cli.sh('stty -echo; sleep 1; cat > /all; wc -c < /all; tail -n 1 /all', {
      stdin: text,
    });
    expect(code).toBe(0);
    expect(printed).toMatch(new RegExp(`${text.length}\\nline 19999\\n$`));
  });

  test('closed, /dev/null, a file, a directory, or a pipe that says nothing: none keeps the command', async () => {
    const script = 'stty -echo; cat | wc -c';
    const name = cli.name();
    const words = cli
      .words(['/bin/sh', '-c', script], { name })
      .map(word => `'${word}'`)
      .join(' ');
    const file = cli.path('input');
    writeFileSync(file, 'from a file\n');
    const descriptor = openSync(file, 'r');
    const directory = openSync(cli.dir, 'r');
    try {
      const silent = cli.begin(['/bin/sh', '-c', 'echo bye'], { stdin: 'pipe' });
      const results = await Promise.all([
        cli.spawn('bash', ['-c', `exec '${process.execPath}' '${MAIN}' ${words} <&-`], { stdin: 'inherit' }).finished,
        cli.sh(script, { stdin: descriptor }),
        cli.sh(script, { stdin: directory }),
        silent.finished,
      ]);
      expect(results.map(({ code, stderr }) => [code, stderr])).toEqual(results.map(() => [0, '']));
      expect(results.map(({ text }) => text.trim())).toEqual(['0', '12', '0', 'bye']);
    } finally {
      closeSync(descriptor);
      closeSync(directory);
    }
  });

  test('that has ended has ended for the next life of a container that reboots, too', async () => {
    const rootfs = cli.tree();
    const script = 'stty -echo; cat; [ -e /rebooted ] && exit 8; touch /rebooted; reboot -f; sleep 9';
    const { code, text, stderr } = await cli.sh(script, { rootfs, stdin: 'once\n' });
    expect([code, text.replace(/^once\n(?=once)/, ''), stderr]).toEqual([8, 'once\n', '']);
  });
});

describe('standard output', () => {
  test('has every byte value as the payload wrote it, once its terminal does not process output', async () => {
    const { code, stdout } = await cli.sh('stty -opost; cat /bytes');
    expect(code).toBe(0);
    expectSame(stdout, BYTES);
  });

  test('has 5 MB complete and in order, also for a slow reader, and the payload does not wait for that one', async () => {
    const script = 'stty -opost; cat /lines; echo "done" > /dev/null; exit 7';
    const quick = await cli.sh(script);
    expect([quick.code, quick.stderr]).toEqual([7, '']);
    expectSame(quick.stdout, LINES);

    const [state, name] = [cli.state(), cli.name()];
    const running = cli.begin(['/bin/sh', '-c', script], { state, name });
    running.child.stdout?.pause();
    // The container is over and cleaned up while nobody has read a byte.
    const dir = cli.throwAwayPath(state, name);
    await cli.until(() => existsSync(dir), 'the state directory appears');
    await cli.until(() => !existsSync(dir), 'the state directory goes');
    expect(running.ended).toBe(false);
    running.child.stdout?.resume();
    const slow = await running.finished;
    expect([slow.code, slow.stderr]).toEqual([7, '']);
    expectSame(slow.stdout, LINES);
  });

  test('whose reader goes away ends the container, quietly, and what it left', async () => {
    const state = cli.state();
    const forever = cli.words(['/bin/sh', '-c', 'while :; do echo line; done'], { state });
    const polite = cli.words(
      ['/bin/sh', '-c', 'trap "exit 9" PWR; echo first; while :; do echo line; sleep 0.1; done'],
      { state },
    );
    const silent = cli.words(['/bin/sh', '-c', 'echo only; sleep 0.3; echo; exit 4'], { state });
    const quote = (words: string[]): string => words.map(word => `'${word}'`).join(' ');
    const caisson = `'${process.execPath}' '${MAIN}'`;
    const script = (words: string[]): string =>
      `${caisson} ${quote(words)} < /dev/null | head -n 1; echo "\${PIPESTATUS[0]}"`;
    const results = await Promise.all(
      [forever, polite].map(words => cli.spawn('bash', ['-c', script(words)]).finished),
    );
    expect(results.map(({ text, stderr }) => [text, stderr])).toEqual([
      ['line\n137\n', ''],
      ['first\n9\n', ''],
    ]);
    // It ended by itself before the command found out, or was killed.
    const late = await cli.spawn('bash', ['-c', script(silent)]).finished;
    expect(late.stderr).toBe('');
    expect(late.text).toMatch(/^only\n(4|137)\n$/);
    expect(readdirSync(state)).toEqual([]);
  });

  test('that is closed or full', async () => {
    const full = openSync('/dev/full', 'w');
    try {
      const words = cli
        .words(['/bin/sh', '-c', 'echo lost; exit 6'])
        .map(word => `'${word}'`)
        .join(' ');
      const [closed, filled] = await Promise.all([
        cli.spawn('bash', ['-c', `exec '${process.execPath}' '${MAIN}' ${words} < /dev/null >&-`]).finished,
        cli.sh('while :; do echo lost; done', { stdout: full }),
      ]);
      expect([closed.code, closed.stderr]).toEqual([6, '']);
      expect([filled.code, filled.stderr]).toEqual([137, '']);
    } finally {
      closeSync(full);
    }
  });
});

describe('told to end', () => {
  const POLITE = 'trap "echo bye; exit 5" PWR; echo up; while :; do sleep 0.1; done';

  test('SIGTERM, SIGINT and SIGHUP halt the payload, whose exit code counts', async () => {
    await inPairs(['SIGTERM', 'SIGINT', 'SIGHUP'] as const, async signal => {
      const running = cli.begin(['/bin/sh', '-c', POLITE], { stdin: 'pipe' });
      await running.shows('up\r\n');
      running.kill(signal);
      const { code, text, stderr } = await running.finished;
      expect([code, text, stderr], signal).toEqual([5, 'up\nbye\n', '']);
    });
  });

  test('a payload that takes no notice is killed after --stop-timeout, one that cannot listen at once', async () => {
    const deaf = cli.begin(['/bin/sh', '-c', 'trap "echo heard" PWR; echo up; while :; do sleep 0.1; done'], {
      options: ['--stop-timeout', '1.2'],
    });
    const unable = cli.begin(['/bin/sh', '-c', 'echo up; while :; do sleep 0.1; done']);
    await Promise.all([deaf.shows('up\r\n'), unable.shows('up\r\n')]);
    const begun = performance.now();
    for (const running of [deaf, unable]) running.kill('SIGTERM');
    // Told once more: nothing to add.
    deaf.kill('SIGTERM');
    const quick = await unable.finished;
    const quickly = performance.now() - begun;
    const late = await deaf.finished;
    const slowly = performance.now() - begun;
    expect([late.code, late.text, late.stderr]).toEqual([137, 'up\nheard\n', '']);
    expect([quick.code, quick.stderr]).toEqual([137, '']);
    expect(slowly).toBeGreaterThan(1200);
    expect(slowly).toBeLessThan(slow(6000));
    expect(quickly).toBeLessThan(slow(5000));
  });

  test('before the container runs: 128+n, nothing started, nothing left', async () => {
    const state = cli.state();
    // At different moments, from the first directory made on.
    await inPairs([0, 30, 90], async delay => {
      const name = cli.name();
      const dir = cli.throwAway(state, name);
      const running = cli.begin([], { rootfs: 'busybox', state, name });
      await cli.until(() => existsSync(dir), 'the state directory appears');
      await sleep(delay);
      running.kill('SIGTERM');
      const { code, stderr } = await running.finished;
      // 0: it ran already, and halted.
      expect([143, 0], stderr).toContain(code);
      expect(stderr).toBe('');
    });
    expect(readdirSync(state)).toEqual([]);
  });

  test('while it reboots, over and over', async () => {
    const state = cli.state();
    await inPairs([0, 10, 25, 45], async delay => {
      const running = cli.begin(['/bin/sh', '-c', 'echo life; reboot -f; sleep 60'], { state });
      await running.shows(/(life\r\n){2}/);
      await sleep(delay);
      running.kill('SIGTERM');
      const { code, stderr } = await running.finished;
      // Between lives: 0, as it had rebooted. During a start: as before the first. In a life: killed, it cannot listen.
      expect([0, 143, 137], stderr).toContain(code);
      expect(stderr).toBe('');
    });
    expect(readdirSync(state)).toEqual([]);
  });
});

describe('what stays', () => {
  test('--rm: nothing, and two run side by side', async () => {
    const state = cli.state();
    const [first, second] = [1, 2].map(() =>
      cli.begin(['/bin/sh', '-c', 'trap "exit 0" PWR; hostname; while :; do sleep 0.1; done'], { state }),
    );
    await Promise.all([first?.shows('e2e-'), second?.shows('e2e-')]);
    expect(readdirSync(state)).toHaveLength(2);
    for (const running of [first, second]) running?.kill('SIGTERM');
    expect((await Promise.all([first?.finished, second?.finished])).map(end => end?.code)).toEqual([0, 0]);
    expect(readdirSync(state)).toEqual([]);
    await cli.expectNothingLeft();
  });

  test('--rm: a name that runs already is refused; what a killed run left, the next of its name clears', async () => {
    const state = cli.state();
    const name = cli.name();
    const killed = cli.begin(['/bin/sh', '-c', 'echo up; sleep 60'], { state, name });
    await killed.shows('up');
    const refused = await cli.start(['run', '--rm', '--state', state, '--name', name, cli.rootfs, '--', '/bin/true'])
      .finished;
    expect(refused.code).toBe(125);
    expectComplaint(refused, ['[STATE_LOCKED]', name, '  field: name', '  hint: ']);
    const dir = cli.throwAwayPath(state, name);
    const pid = cli.pidOf(dir, name);
    killed.kill('SIGKILL');
    await killed.finished;
    expect([isAlive(pid), recorded(dir)]).toEqual([true, [name]]);
    const next = await cli.sh('echo mine', { state, name });
    expect([next.code, next.text, next.stderr]).toEqual([0, 'mine\n', '']);
    expect([isAlive(pid), readdirSync(state)]).toEqual([false, []]);
  });

  test('--rm: files of others in its state directory are not touched', async () => {
    const state = cli.state();
    const name = cli.name();
    const dir = cli.state(cli.throwAwayPath(state, name));
    writeFileSync(join(dir, 'precious'), 'mine\n');
    const words = ['run', '--rm', '--state', state, '--name', name, cli.rootfs, '--', '/bin/true'];
    expect((await cli.start(words).finished).code).toBe(0);
    expect(readdirSync(dir)).toEqual(['precious']);
    expect(readFileSync(join(dir, 'precious'), 'utf8')).toBe('mine\n');
  });

  test('without --rm: the record, and its name is taken; one command at a time has the state directory', async () => {
    const state = cli.state();
    const options = { state, name: 'kept', rm: false };
    const running = cli.begin(['/bin/sh', '-c', 'echo up; read x; exit 2'], { ...options, stdin: 'pipe' });
    await running.shows('up');
    const locked = await cli.sh('exit 0', { state, name: 'other', rm: false });
    expect(locked.code).toBe(125);
    expectComplaint(locked, ['[STATE_LOCKED]', state, '  field: stateDir', '  hint: ']);
    running.write('go\n');
    expect((await running.finished).code).toBe(2);
    expect(recorded(state)).toEqual(['kept']);
    // What never ran leaves its name to a better try.
    expect((await cli.run(['/bin/nosuch'], { state, name: 'mistyped', rm: false })).code).toBe(127);
    expect(recorded(state)).toEqual(['kept']);
    const record = readFileSync(join(state, 'kept', 'container.json'), 'utf8');
    const again = await cli.sh('exit 0', options);
    expect(again.code).toBe(125);
    expectComplaint(again, ['[CONTAINER_EXISTS]', 'kept', '  field: name', '  hint: ']);
    expect(readFileSync(join(state, 'kept', 'container.json'), 'utf8')).toBe(record);
    await cli.expectNothingLeft();
  });
});
