/** Programs run in running containers: streams, terminals, users, ends; and what the payload can make of them. */
import { once } from 'node:events';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import process from 'node:process';
import type { CaissonError, Container, ExecOptions, ExecOutput, ExecProcess } from 'caisson';
import { describe, expect, test } from 'vitest';
import { IMAGE_TIMEOUT_MS, image } from '../lib/images.ts';
import { booted } from '../lib/inside.ts';
import { MuteServer } from '../lib/mute-server.ts';
import { compileInto } from '../lib/programs.ts';
import { MODES, until, useRig, waitForText } from '../lib/rig.ts';
import { slow } from '../lib/slow.ts';
import { WATCHER } from '../lib/watcher.ts';

const rig = useRig({ prepare: rootfs => compileInto(rootfs, 'watcher', WATCHER) });
const SLEEPER = { init: '/bin/sleep', args: ['1000'] };

async function sh(container: Container, script: string, options?: ExecOptions): Promise<ExecOutput & { text: string }> {
  const program = await container.exec(['sh', '-c', script], options);
  const output = await program.output();
  return { ...output, text: output.stdout.toString() };
}

async function refusal(promise: Promise<unknown>): Promise<CaissonError> {
  return await promise.then(
    () => {
      throw new Error('it was not refused');
    },
    (error: CaissonError) => error,
  );
}

const fields = (status: string, ...names: string[]): string[] =>
  status.split('\n').filter(line => names.some(name => line.startsWith(`${name}:`)));

describe.each(MODES)('%s', mode => {
  test('streams are separate, the exit code is exact; env, cwd and user are what was asked for', async () => {
    const container = await rig.start({ mode, ...SLEEPER });
    const options = { cwd: '/tmp', user: { uid: 33, gid: 44, groups: [55, 66] }, env: { A: 'b c', PATH: '/bin' } };
    const { text, stderr, exit } = await sh(container, 'pwd; id; env | sort; echo wrong >&2; exit 42', options);
    expect(text.split('\n')).toEqual([
      '/tmp',
      expect.stringMatching(/^uid=33\S* gid=44\S* groups=55\S*,66/),
      'A=b c',
      'HOME=/',
      'PATH=/bin',
      'PWD=/tmp',
      expect.stringMatching(/^SHLVL/),
      'container=lxc',
      '',
    ]);
    expect(stderr.toString()).toBe('wrong\n');
    expect(exit).toEqual({ kind: 'exit', status: 42, confidence: 'exact' });
    // The user may open its own streams again.
    expect((await sh(container, 'echo again > /dev/stdout', { user: 33 })).text).toBe('again\n');
    expect((await sh(container, 'kill -USR1 $$')).exit).toMatchObject({
      kind: 'signal',
      number: 10,
      signal: 'SIGUSR1',
    });
  });

  test('a program has the restrictions of PID 1, its cgroups and namespaces, and only its own descriptors', async () => {
    const container = await rig.start({
      mode,
      ...SLEEPER,
      rlimits: { nofile: { soft: 333, hard: 444 } },
      oomScoreAdj: 321,
    });
    const { pid } = container;
    const program = await container.exec(['cat']);
    const of = (file: string, which: number | undefined): string => readFileSync(`/proc/${which}/${file}`, 'utf8');
    const names = [
      'CapInh',
      'CapPrm',
      'CapEff',
      'CapBnd',
      'CapAmb',
      'NoNewPrivs',
      'Seccomp',
      'Seccomp_filters',
      'SigBlk',
      'SigIgn',
      'Uid',
      'Gid',
      'Groups',
    ];
    expect(fields(of('status', program.pid), ...names)).toEqual(fields(of('status', pid), ...names));
    for (const file of ['cgroup', 'uid_map', 'oom_score_adj', 'limits', 'loginuid', 'attr/current'])
      expect(
        readOr(() => of(file, program.pid)),
        file,
      ).toEqual(readOr(() => of(file, pid)));
    const spaces = (which: number | undefined): string[] =>
      ['mnt', 'pid', 'uts', 'ipc', 'net', 'cgroup', 'user'].map(name => readlinkSync(`/proc/${which}/ns/${name}`));
    expect(spaces(program.pid)).toEqual(spaces(pid));
    expect(readdirSync(`/proc/${program.pid}/fd`)).toEqual(['0', '1', '2']);
    program.stdin?.end('through\n');
    expect((await program.output()).stdout.toString()).toBe('through\n');
  });

  test('a terminal: of the container, with a size that changes, and what is typed', async () => {
    const container = await rig.start({ mode, ...SLEEPER });
    const program = await container.exec(['sh'], { tty: { rows: 30, cols: 100 }, env: { PS1: '$ ' } });
    const tty = program.tty;
    if (tty === null) throw new Error('no terminal');
    expect([program.stdin, program.stdout, program.stderr]).toEqual([null, null, null]);
    let shown = '';
    tty.on('data', (data: Buffer) => {
      shown += data.toString();
    });
    tty.write('tty; stty size; echo $TERM\n');
    await until(() => /\/dev\/pts\/\d+\r\n30 100\r\nxterm\r\n/.test(shown), `the shell answers: ${shown}`);
    program.resize(50, 132);
    tty.write('stty size\n');
    await until(() => shown.includes('50 132'), 'the new size');
    tty.write("sh -c 'echo asleep; exec sleep 100'\n");
    await until(() => shown.includes('\r\nasleep\r\n'), 'the program in the foreground');
    tty.write('\x03');
    tty.write('echo $((6 * 7))\n');
    await until(() => shown.includes('\r\n42\r\n'), '^C ends what runs in the foreground');
    tty.write('exit 5\n');
    expect(await program.wait()).toMatchObject({ kind: 'exit', status: 5 });
    if (!tty.readableEnded) await once(tty, 'end');
  });

  test('LIF-20: a program ends with its container, in whatever session, and holds up no stop', async () => {
    const container = await rig.start({ mode, ...SLEEPER });
    const program = await container.exec(['sh', '-c', 'setsid sleep 1000 & sleep 1000']);
    const begun = performance.now();
    await container.kill();
    expect(performance.now() - begun).toBeLessThan(slow(5_000));
    expect(await program.wait()).toMatchObject({ kind: 'signal', signal: 'SIGKILL' });
    expect(program.kill()).toBe(false);
    program.stdout?.destroy();
    program.stderr?.destroy();
  });

  test('what a payload sees that watches a thousand programs come: none of the supervisor', async () => {
    const container = await rig.start({ mode, ...SLEEPER });
    const watcher = await container.exec(['watcher']);
    let told = '';
    watcher.stdout?.on('data', (data: Buffer) => {
      told += data.toString();
    });
    watcher.stderr?.resume();
    await until(() => told.includes('watching'), 'it watches');
    const rounds = 100;
    for (let round = 0; round < rounds; round++) {
      const outputs = await Promise.all(
        Array.from({ length: 10 }, async () => await (await container.exec(['true'])).output()),
      );
      for (const { exit } of outputs) expect(exit).toMatchObject({ kind: 'exit', status: 0 });
    }
    await (await container.exec(['touch', '/stop'])).output();
    await until(() => told.includes('told'), 'it tells', slow(20_000));
    await watcher.wait();
    const lines = [...told.matchAll(/^saw (\S+) (.*)$/gm)].map(([, what, text]) => `${what} ${text}`);
    const seen = (what: RegExp): string[] =>
      lines.filter(line => what.test(line)).map(line => line.replace(/^\S+ /, ''));
    console.log(`${mode}: ${lines.sort().join('; ')}`);
    expect(seen(/^exe/), 'it did see them').toContain('/bin/busybox');
    // Root of a privileged container may look into what runs the joiner's code, and finds nothing but that.
    const own = ['/memfd:caisson (deleted)'];
    for (const path of seen(/^(exe|map)/)) expect(['/bin/busybox', ...own]).toContain(path);
    for (const path of seen(/^(cwd|root)/)) expect(path).toBe('/');
    for (const file of seen(/^fd[012]$/)) expect(file).toBe('pipe');
    for (const file of seen(/^fd3/)) expect(['socket', '/stop', '/proc']).toContain(file);
    expect(seen(/^fd([4-9]|\d\d)/)).toEqual([]);
    if (mode === 'unprivileged') for (const path of seen(/^(exe|map)/)) expect(path).toBe('/bin/busybox');
  }, 120_000);
});

test('a user by its name inside, from files that the payload writes: links and odd files lead nowhere else', async () => {
  const container = await rig.start(SLEEPER);
  const passwd = 'web:x:33:44::/tmp:/bin/sh';
  await sh(
    container,
    `mkdir -p /etc; echo '${passwd}' > /etc/passwd; printf 'web:x:44:\\nadm:x:4:web\\n' > /etc/group`,
  );
  expect((await sh(container, 'id -u; id -g; id -G; echo $HOME $USER', { user: 'web' })).text).toBe(
    '33\n44\n44 4\n/tmp web\n',
  );
  expect((await sh(container, 'id -u; id -g', { user: 'web:adm' })).text).toBe('33\n4\n');
  expect((await sh(container, 'id -u; id -g', { user: '33' })).text).toBe('33\n44\n');
  expect(await refusal(container.exec(['true'], { user: 'nobody-here' }))).toMatchObject({ field: 'user' });
  // The host's file has root, the container's has not.
  await sh(container, 'mv /etc/passwd /etc/real; ln -s /../../../../etc/real /etc/passwd');
  expect((await sh(container, 'id -u', { user: 'web' })).text).toBe('33\n');
  expect(await refusal(container.exec(['true'], { user: 'daemon' }))).toMatchObject({ field: 'user' });
  for (const odd of [
    'mkfifo /etc/passwd',
    'mkdir /etc/passwd',
    'ln -s passwd /etc/passwd',
    'ln -s /dev/zero /etc/passwd',
    'ln -s /proc/self/fd/0 /etc/passwd',
    'ln -s /dev/console /etc/passwd',
    'true',
  ]) {
    await sh(container, `rm -rf /etc/passwd; ${odd}`);
    expect(await refusal(container.exec(['true'], { user: 'web' })), odd).toMatchObject({ field: 'user' });
  }
});

test('input of any length, and a reader that is slow holds up only its own program', async () => {
  const container = await rig.start(SLEEPER);
  const slowOne = await container.exec(['sh', '-c', 'while :; do echo aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa; done']);
  const counting = await container.exec(['wc', '-c']);
  counting.stdin?.end(Buffer.alloc(5_000_000, 'x'));
  expect((await counting.output()).stdout.toString().trim()).toBe('5000000');
  expect(slowOne.exit).toBeUndefined();
  const [chunk] = (await once(slowOne.stdout ?? process.stdin, 'data')) as [Buffer];
  expect(chunk.toString()).toContain('aaaa');
  slowOne.kill('SIGKILL');
  expect(await slowOne.wait()).toMatchObject({ signal: 'SIGKILL' });
  slowOne.stdout?.destroy();
  slowOne.stderr?.destroy();
  const endless = await container.exec(['sh', '-c', 'while :; do echo aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa; done']);
  expect(await refusal(endless.output(100_000))).toMatchObject({ code: 'OUTPUT_TOO_LONG' });
  await endless.wait();
  endless.stderr?.destroy();
  // Written to a program that does not read, and has ended.
  const deaf = await container.exec(['true']);
  deaf.stdin?.write(Buffer.alloc(1_000_000));
  expect((await deaf.output()).exit).toMatchObject({ status: 0 });
});

test('a terminal where the payload has mounted something of its own over /dev/pts, or in it: refused, in time', async () => {
  const container = await rig.start({ mode: 'privileged', ...SLEEPER });
  const wish: ExecOptions = { tty: true };
  // Opening it would be an access with the host's rights to whatever the payload can mount.
  await sh(container, 'echo mine > /mine; mount --bind /mine /dev/pts/ptmx');
  expect(await refusal(container.exec(['true'], wish))).toMatchObject({ code: 'STEP_FAILED', errno: 'EXDEV' });
  await sh(container, 'umount /dev/pts/ptmx; mount -t tmpfs none /dev/pts');
  expect(await refusal(container.exec(['true'], wish))).toMatchObject({ code: 'EXEC_FAILED' });
  await sh(container, 'umount /dev/pts && umount -l /dev/pts && mv /dev/pts /dev/was && ln -s was /dev/pts');
  expect(await refusal(container.exec(['true'], wish))).toMatchObject({ code: 'EXEC_FAILED' });
  await sh(container, 'rm -f /dev/pts; mkdir -p /dev/pts');
  const server = new MuteServer('/dev/pts', 'fuse', container.pid);
  try {
    const begun = performance.now();
    expect(await refusal(container.exec(['true'], wish))).toMatchObject({ code: 'TIMEOUT' });
    expect(performance.now() - begun).toBeLessThan(slow(6000));
    expect(server.taken).toBeGreaterThan(0);
    expect((await sh(container, 'echo on')).text).toBe('on\n');
  } finally {
    server.end();
  }
  await new Promise(resolve => setTimeout(resolve, slow(300)));
  // A thread reaps a child that it had to leave to itself when it sends the next one: here all threads do.
  await Promise.all(Array.from({ length: 16 }, () => refusal(container.removeMount('/nowhere'))));
  await container.kill();
});

test('hundreds at once', async () => {
  const container = await rig.start(SLEEPER);
  const begun = performance.now();
  const texts = await Promise.all(
    Array.from({ length: 300 }, async (_, index) => (await sh(container, `echo ${index}`)).text),
  );
  console.log(`300 programs at once: ${((performance.now() - begun) / 300).toFixed(2)} ms each`);
  expect(texts).toEqual(texts.map((_, index) => `${index}\n`));
}, 60_000);

test('an abort gives the call up, or kills the program', async () => {
  const container = await rig.start(SLEEPER);
  expect(await refusal(container.exec(['true'], { signal: AbortSignal.abort() }))).toMatchObject({ code: 'CANCELLED' });
  const abort = new AbortController();
  const program = await container.exec(['sleep', '1000'], { signal: abort.signal });
  abort.abort();
  expect((await program.output()).exit).toMatchObject({ kind: 'signal', signal: 'SIGKILL' });
});

test('LIF-35: a frozen container, and one that does not run, have no programs run in them', async () => {
  const container = await rig.start(SLEEPER);
  await container.freeze();
  expect(await refusal(container.exec(['true']))).toMatchObject({ code: 'INVALID_TRANSITION', field: 'state' });
  await container.unfreeze();
  expect((await sh(container, 'echo up')).text).toBe('up\n');
  await container.kill();
  expect(await refusal(container.exec(['true']))).toMatchObject({ code: 'INVALID_TRANSITION' });
});

test.each([
  ['argv', [], {}],
  ['argv.0', [''], {}],
  ['argv.1', ['true', 'a\0b'], {}],
  ['argv.0', ['x'.repeat(4096)], {}],
  ['cwd', ['true'], { cwd: 'relative' }],
  ['cwd', ['true'], { cwd: `/${'x/'.repeat(2048)}` }],
  ['env.PATH', ['true'], { env: { PATH: ':'.repeat(512) } }],
  ['user', ['true'], { user: -1 }],
  ['user', ['true'], { user: 70_000 }],
  ['user.groups.1', ['true'], { user: { uid: 0, groups: [1, 70_000] } }],
  ['env.A', ['true'], { env: { A: 'b\0c' } }],
  ['env.A=B', ['true'], { env: { 'A=B': 'c' } }],
  ['tty.rows', ['true'], { tty: { rows: 0 } }],
] as const)('bad input is refused by its name: %s', async (field, argv, options) => {
  const container = await rig.start(SLEEPER);
  expect(await refusal(container.exec(argv, options))).toMatchObject({ code: 'SPEC_INVALID', field });
});

test('as much as may be asked for: the longest path, most directories and groups, most words', async () => {
  const container = await rig.start(SLEEPER);
  const groups = Array.from({ length: 65_536 }, (_, index) => index % 60_000);
  const PATH = `${`${'d'.repeat(100)}:`.repeat(511)}/bin`;
  const cwd = `/${'./'.repeat(2047)}`;
  const most = await sh(container, 'grep ^Groups: /proc/self/status | wc -w; pwd', {
    user: { uid: 0, groups },
    cwd,
    env: { PATH },
  });
  expect(most.text).toBe('65537\n/\n');
  const words = Array.from({ length: 150_000 }, () => 'word');
  const { stdout } = await (await container.exec(['sh', '-c', 'echo $#', ...words])).output();
  expect(stdout.toString()).toBe('149999\n');
});

test('what cannot be executed is told with its errno, and leaves nothing', async () => {
  const container = await rig.start(SLEEPER);
  const told = async (argv: string[], options?: ExecOptions): Promise<CaissonError> =>
    await refusal(container.exec(argv, options));
  expect(await told(['nonesuch'])).toMatchObject({ code: 'EXEC_FAILED', errno: 'ENOENT' });
  expect(await told(['/etc'])).toMatchObject({ code: 'EXEC_FAILED', errno: 'EACCES' });
  expect(await told(['true'], { cwd: '/nowhere' })).toMatchObject({ code: 'STEP_FAILED', errno: 'ENOENT' });
});

test.each([
  'exec.pipes',
  'exec.sync',
  'exec.launch',
  'exec.born',
  'exec.namespaces',
  'exec.inside',
  'exec.exec',
  'exec.follow',
  'exec.close',
])('a failure of %s leaves nothing behind', async step => {
  const supervisor = await rig.open({ faults: { [step]: 12 } });
  const container = await rig.start({ supervisor, ...SLEEPER });
  const before = readdirSync('/proc/self/fd').length;
  expect(await refusal(container.exec(['true']))).toMatchObject({ errno: 'ENOMEM' });
  await until(() => readdirSync('/proc/self/fd').length <= before, 'its descriptors are closed');
  await container.kill();
});

test('a container that runs out of memory all the time takes programs with it, but not the supervisor', async () => {
  const script = 'while :; do dd if=/dev/zero of=/dev/null bs=64M count=1 2>/dev/null; done';
  const container = await rig.start({
    init: '/bin/sh',
    args: ['-c', `(${script}) & (${script}) & echo hungry; while :; do sleep 1; done`],
    limits: { memory: 3 * 1024 * 1024 },
  });
  await waitForText(container, 'hungry');
  const ends: Record<string, number> = {};
  for (let round = 0; round < 20; round++) {
    await Promise.all(
      Array.from({ length: 10 }, async () => {
        const how = await container.exec(['true']).then(
          async program => (await program.output()).exit.kind,
          (error: CaissonError) => error.code,
        );
        ends[how] = (ends[how] ?? 0) + 1;
      }),
    );
  }
  console.log(`200 programs in 3 MiB: ${JSON.stringify(ends)}`);
  // Whatever became of each; PID 1 may have been chosen, too.
  expect(Object.values(ends).reduce((sum, count) => sum + count, 0)).toBe(200);
}, 60_000);

test('a payload that stops every process it sees, as killall5 does, holds up neither the stop nor other containers', async () => {
  const container = await rig.start(SLEEPER);
  const stopper = await container.exec(['sh', '-c', 'echo up; while :; do kill -STOP -1; done']);
  await once(stopper.stdout ?? process.stdin, 'data');
  const calls = Array.from({ length: 20 }, async () => {
    try {
      return (await (await container.exec(['true'])).output()).exit.kind;
    } catch (error) {
      return (error as CaissonError).code;
    }
  });
  const other = await rig.start(SLEEPER);
  expect((await sh(other, 'echo well')).text).toBe('well\n');
  const begun = performance.now();
  await container.kill();
  expect(performance.now() - begun).toBeLessThan(slow(5_000));
  const ends = await Promise.all(calls);
  console.log(`20 programs among SIGSTOPs: ${ends.sort().join(' ')}`);
  await stopper.output();
});

test('programs on their way in when their container is frozen, or ends, settle', async () => {
  const container = await rig.start(SLEEPER);
  const settle = (program: Promise<ExecProcess>): Promise<string> =>
    program.then(
      async begun => (await begun.output()).exit.kind,
      (error: CaissonError) => error.code,
    );
  const first = Array.from({ length: 10 }, () => settle(container.exec(['true'])));
  await container.freeze();
  await container.unfreeze();
  expect(await Promise.all(first)).toEqual(first.map(() => 'exit'));
  const second = Array.from({ length: 10 }, () => settle(container.exec(['true'])));
  await container.kill();
  const ends = await Promise.all(second);
  expect(ends).toHaveLength(10);
  // Ended before it was executed, while it ran, or with the container.
  for (const end of ends)
    expect(['exit', 'signal', 'CHILD_DIED', 'STEP_FAILED', 'EXEC_FAILED', 'INVALID_TRANSITION']).toContain(end);
});

test('LBC-37: a reboot ends programs and does not start them again', async () => {
  const container = await rig.supervisor.create({ name: 'bb', template: 'busybox' });
  await container.start();
  const program = await container.exec(['sleep', '1000']);
  await container.reboot({ timeout: slow(20_000) });
  expect((await program.output()).exit.kind).toBe('signal');
  const found = await sh(container, 'ps | grep -c "[s]leep 1000"');
  expect(found.text.trim()).toBe('0');
});

test(
  'with systemd as PID 1 a program is where PID 1 is, since its own root group may hold no processes',
  async () => {
    const path = await image('debian-12');
    const container = await rig.start({ rootfs: { path, overlay: 'ephemeral' } });
    expect(['running', 'degraded']).toContain(await booted(container));
    const { text } = await sh(container, 'cat /proc/self/cgroup; systemctl is-active init.scope; id -un', {
      user: 'daemon',
    });
    expect(text).toMatch(/^0::\/init\.scope$/m);
    expect(text).toMatch(/^active\ndaemon$/m);
    expect(await container.stop({ timeout: slow(30_000) })).toMatchObject({ by: 'signal', forced: false });
  },
  IMAGE_TIMEOUT_MS,
);

function readOr(read: () => string): string {
  try {
    return read();
  } catch (error) {
    return String((error as NodeJS.ErrnoException).code);
  }
}
