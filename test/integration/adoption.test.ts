/** A supervisor goes, killed or closed, and the next one takes over what runs (LIF-12, LIF-13, design §5). */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import type { CaissonEvent, Supervisor } from 'caisson';
import { afterEach, describe, expect, test } from 'vitest';
import { BESET_INIT, compile, compileInto, REAPER } from '../lib/programs.ts';
import { finish, type Spec, type SpecInput, until, useRig, waitForText } from '../lib/rig.ts';
import { slow } from '../lib/slow.ts';
import { own } from '../lib/snapshot.ts';
import { Victim } from '../lib/victim.ts';

const rig = useRig();

const spec = (script: string, more: Spec = {}): SpecInput =>
  rig.spec('unprivileged', { name: 'web', init: '/bin/sh', args: ['-c', script], ...more });
const WAIT = 'while :; do sleep 0.05; done';

const victims: Victim[] = [];
afterEach(async () => {
  for (const victim of victims.splice(0)) await victim.release();
});

/**
 * Starts `input` in a supervisor of its own process and kills that. The container then belongs to a process that
 * reaps it late (so that its end can be read before), or at once, as systemd does.
 */
async function orphaned(input: SpecInput, mode: 'slow' | 'fast' = 'slow'): Promise<{ stateDir: string; pid: number }> {
  const stateDir = rig.stateDir();
  const program = join(rig.dir, 'reaper');
  if (!existsSync(program)) compile(program, REAPER);
  const victim = new Victim({ stateDir, specs: [input] }, { program, mode });
  victims.push(victim);
  const { pids } = await victim.ready;
  await victim.kill();
  const pid = pids?.[input.name] ?? 0;
  expect(readFileSync(`/proc/${pid}/stat`, 'utf8')).toContain(`${pid} (`);
  return { stateDir, pid };
}

/** Whether this kernel tells how a process ended that somebody else has reaped (PIDFD_INFO_EXIT). */
function tellsReaped(): boolean {
  const { major, minor } = rig.supervisor.facts.kernel;
  return major > 6 || (major === 6 && minor >= 15);
}

/** Everything that has been told so far. */
async function told(supervisor: Supervisor): Promise<CaissonEvent[]> {
  const { seq } = supervisor;
  const out: CaissonEvent[] = [];
  for await (const event of supervisor.events({ since: 0 })) {
    out.push(event);
    if (event.seq === seq) break;
  }
  return out;
}

async function notices(supervisor: Supervisor): Promise<string[]> {
  return (await told(supervisor)).flatMap(event =>
    event.type === 'notice' ? [`${event.container} ${event.code}`] : [],
  );
}

async function exits(supervisor: Supervisor): Promise<unknown[]> {
  return (await told(supervisor)).flatMap(event =>
    event.type === 'state' && event.exit !== undefined ? [event.exit] : [],
  );
}

describe('LIF-12: after kill -9 of the supervisor', () => {
  test('the container runs on, is adopted, stops by its own signal, and its exit is decoded', async () => {
    const { stateDir, pid } = await orphaned(spec(`trap 'exit 5' PWR; ${WAIT}`));
    const supervisor = await rig.open({ stateDir });
    const container = supervisor.get('web');
    expect(container).toMatchObject({ state: 'running', pid });
    expect(await notices(supervisor)).toContain('web adopted');
    const end = await container.stop({ timeout: slow(5000) });
    expect(end).toMatchObject({
      state: 'stopped',
      forced: false,
      exit: { kind: 'exit', status: 5, confidence: 'exact' },
    });
  });

  test('it is killed by force', async () => {
    const { stateDir } = await orphaned(spec(WAIT));
    const supervisor = await rig.open({ stateDir });
    const end = await supervisor.get('web').stop({ timeout: 0 });
    expect(end).toMatchObject({ state: 'stopped', forced: true, exit: { kind: 'killed', confidence: 'exact' } });
  });

  test('its own end is seen, with its status', async () => {
    const { stateDir } = await orphaned(spec('while [ ! -e /tmp/end ]; do sleep 0.05; done; exit 3'));
    const supervisor = await rig.open({ stateDir });
    const container = supervisor.get('web');
    const ended = finish(container);
    writeFileSync(`/proc/${container.pid}/root/tmp/end`, '');
    expect(await ended).toMatchObject({
      state: 'failed',
      forced: false,
      exit: { kind: 'exit', status: 3, confidence: 'exact' },
    });
  });

  test('its own end is seen also when another process has reaped it at once', async () => {
    const { stateDir } = await orphaned(spec('while [ ! -e /tmp/end ]; do sleep 0.05; done; exit 3'), 'fast');
    const supervisor = await rig.open({ stateDir });
    const container = supervisor.get('web');
    const ended = finish(container);
    writeFileSync(`/proc/${container.pid}/root/tmp/end`, '');
    const { exit } = await ended;
    if (tellsReaped()) expect(exit).toMatchObject({ kind: 'exit', status: 3, confidence: 'exact' });
    // Whoever is first: the zombie was seen, or it was reaped before.
    else expect([3, undefined]).toContain(exit?.kind === 'exit' ? exit.status : undefined);
  });

  test('its halt is a halt', async () => {
    const { stateDir } = await orphaned(
      spec('while [ ! -e /tmp/end ]; do sleep 0.05; done; (poweroff -f); sleep 1000'),
    );
    const supervisor = await rig.open({ stateDir });
    const container = supervisor.get('web');
    const ended = finish(container);
    writeFileSync(`/proc/${container.pid}/root/tmp/end`, '');
    expect(await ended).toMatchObject({ state: 'stopped', forced: false, exit: { kind: 'halt', confidence: 'exact' } });
  });

  test.each([
    ['PID 1 itself', 'exec reboot -f'],
    ['another process', '(reboot -f); sleep 1000'],
  ])('its reboot, called by %s, brings it back, with a console', async (_, reboot) => {
    const tree = rig.tree();
    const script = `[ -e /etc/again ] && { echo again; sleep 1000; }; while [ ! -e /tmp/end ]; do sleep 0.05; done; touch /etc/again; ${reboot}`;
    const { stateDir, pid } = await orphaned(spec(script, { rootfs: tree }));
    const supervisor = await rig.open({ stateDir });
    const container = supervisor.get('web');
    writeFileSync(join(tree, 'tmp/end'), '');
    await until(() => container.restartCount === 1 && container.state === 'running', 'back after the reboot');
    expect(container.pid).not.toBe(pid);
    await waitForText(container, 'again');
    expect(await container.kill()).toMatchObject({ exit: { kind: 'killed', confidence: 'exact' } });
  });

  test.each(['slow', 'fast'] as const)(
    'what ended meanwhile is told with its exact status, cleaned up, and starts again (reaped: %s)',
    async mode => {
      const { stateDir, pid } = await orphaned(spec('while [ ! -e /tmp/end ]; do sleep 0.05; done; exit 3'), mode);
      writeFileSync(`/proc/${pid}/root/tmp/end`, '');
      await until(() => !existsSync(`/proc/${pid}/root/tmp`), 'ended');
      const supervisor = await rig.open({ stateDir });
      const container = supervisor.get('web');
      await until(() => container.state === 'failed', 'its end is seen');
      expect(container.exit).toMatchObject({ kind: 'exit', status: 3, confidence: 'exact' });
      expect(existsSync(container.runDir)).toBe(false);
      await container.start();
      await container.kill();
    },
  );

  test.each(['slow', 'fast'] as const)('a reboot asked for meanwhile is carried out (reaped: %s)', async mode => {
    const tree = rig.tree();
    const script = `[ -e /etc/again ] && { echo again; sleep 1000; }; while [ ! -e /tmp/end ]; do sleep 0.05; done; touch /etc/again; exec reboot -f`;
    const { stateDir, pid } = await orphaned(spec(script, { rootfs: tree }), mode);
    writeFileSync(join(tree, 'tmp/end'), '');
    await until(() => !existsSync(`/proc/${pid}/root/tmp`), 'ended');
    const supervisor = await rig.open({ stateDir });
    const container = supervisor.get('web');
    await until(() => container.restartCount === 1 && container.state === 'running', 'back after the reboot');
    expect(await exits(supervisor)).toMatchObject([{ kind: 'reboot', confidence: 'exact' }]);
    await waitForText(container, 'again');
    await container.kill();
  });

  test('nothing that is printed meanwhile is lost, and its console goes on', async () => {
    const { stateDir } = await orphaned(
      spec('i=0; while [ $i -lt 20000 ]; do i=$((i+1)); echo "line $i"; done; read word; echo "got $word"; sleep 1000'),
    );
    const supervisor = await rig.open({ stateDir });
    const container = supervisor.get('web');
    await waitForText(container, 'line 20000');
    await container.console.write('typed\n');
    await waitForText(container, 'got typed');
    const numbers = container.console
      .history()
      .toString()
      .split('\n')
      .flatMap(line => /^line (\d+)\r$/.exec(line)?.[1] ?? [])
      .map(Number);
    expect(numbers.at(-1)).toBe(20000);
    expect(numbers).toEqual(numbers.map((_, index) => (numbers[0] ?? 0) + index));
    await container.kill();
  });

  test('and once more, again and again: the keeper is handed on', async () => {
    const first = await orphaned(spec(`trap 'exit 5' PWR; while read word; do echo "got $word"; done; ${WAIT}`));
    const program = join(rig.dir, 'reaper');
    for (let round = 0; round < 3; round++) {
      const victim = new Victim({ stateDir: first.stateDir, specs: [], start: false }, { program, mode: 'fast' });
      victims.push(victim);
      await victim.ready;
      await victim.kill();
    }
    const supervisor = await rig.open({ stateDir: first.stateDir });
    const container = supervisor.get('web');
    expect(container).toMatchObject({ state: 'running', pid: first.pid });
    await container.console.write('typed\n');
    await waitForText(container, 'got typed');
    expect(await container.stop({ timeout: slow(5000) })).toMatchObject({ exit: { status: 5, confidence: 'exact' } });
  });

  test('LIF-33: a frozen container is adopted as frozen, and thaws', async () => {
    const stateDir = rig.stateDir();
    const first = await rig.open({ stateDir });
    const container = await rig.start({ ...spec(WAIT), supervisor: first });
    await container.freeze();
    await rig.close(first);
    const supervisor = await rig.open({ stateDir });
    const adopted = supervisor.get('web');
    expect(adopted.state).toBe('frozen');
    await adopted.unfreeze();
    expect(adopted.state).toBe('running');
    expect(await adopted.kill()).toMatchObject({ state: 'stopped' });
  });
});

describe('LIF-12: while nobody supervises', () => {
  /** A tree with the program, and a container of it whose supervisor is killed once it has said `word`. */
  async function beset(how: 'traced' | 'stopped', mode: 'slow' | 'fast') {
    const tree = rig.tree();
    const init = compileInto(tree, 'beset', BESET_INIT);
    // Once it is back it stays.
    writeFileSync(
      join(tree, 'bin/once'),
      '#!/bin/sh\n[ -e /etc/again ] && exec sleep 1000\ntouch /etc/again\nexec /bin/beset $1\n',
    );
    chmodSync(join(tree, 'bin/once'), 0o755);
    expect(init).toBe('/bin/beset');
    const { stateDir, pid } = await orphaned(spec('', { rootfs: tree, init: '/bin/once', args: [how] }), mode);
    const ticks = (): number => Number(readFileSync(join(tree, 'tmp/ticks'), 'utf8') || 0);
    await until(() => existsSync(join(tree, 'tmp/ticks')), 'it runs');
    return { tree, stateDir, pid, ticks };
  }

  const tracerOf = (pid: number): number =>
    Number(/TracerPid:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]);

  test('a PID 1 that is traced from inside already goes on, and its reboot is carried out', async () => {
    // Its tracer is not ours: how it ends is read from its zombie, which the host's init has to leave long enough.
    const { tree, stateDir, pid, ticks } = await beset('traced', 'slow');
    await until(() => tracerOf(pid) !== 0, 'it is traced');
    const before = ticks();
    await until(() => ticks() > before + 2, 'it goes on');
    writeFileSync(join(tree, 'tmp/end'), '');
    await until(() => !existsSync(`/proc/${pid}/root/tmp`), 'ended');
    const supervisor = await rig.open({ stateDir });
    await until(() => supervisor.get('web').restartCount === 1, 'back after the reboot');
    expect(await exits(supervisor)).toMatchObject([{ kind: 'reboot', confidence: 'exact' }]);
  });

  test('SIGSTOP from inside does not stop a PID 1 that the keeper traces', async () => {
    const { tree, stateDir, pid, ticks } = await beset('stopped', 'fast');
    await until(() => tracerOf(pid) !== 0, 'the keeper traces it');
    const before = ticks();
    await until(() => ticks() > before + 10, 'it goes on');
    writeFileSync(join(tree, 'tmp/end'), '');
    await until(() => !existsSync(`/proc/${pid}/root/tmp`), 'ended');
    const supervisor = await rig.open({ stateDir });
    await until(() => supervisor.get('web').restartCount === 1, 'back after the reboot');
    expect(await exits(supervisor)).toMatchObject([{ kind: 'reboot', confidence: 'exact' }]);
  });
});

describe('a supervisor that closes', () => {
  test('leaves its containers running; the next one has them, with the same ids', async () => {
    const stateDir = rig.stateDir();
    const first = await rig.open({ stateDir });
    const container = await rig.start({ ...spec(`trap 'exit 0' PWR; ${WAIT}`), supervisor: first });
    const { pid, spec: before } = container;
    await rig.close(first);
    await expect(first.create(spec(WAIT, { name: 'late' }))).rejects.toMatchObject({ code: 'CLOSED' });
    expect(existsSync(`/proc/${pid}/root/bin/busybox`)).toBe(true);
    const second = await rig.open({ stateDir });
    expect(second.get('web')).toMatchObject({ state: 'running', pid });
    expect(second.get('web').spec).toEqual(before);
    await second.get('web').console.write('x');
    // HST-53: a range in use is not given out again.
    const other = await rig.create({ supervisor: second, name: 'other' });
    expect(other.spec.idmap?.first).not.toBe(before.idmap?.first);
    expect(await second.get('web').stop({ timeout: slow(5000) })).toMatchObject({ state: 'stopped', forced: false });
  });

  test('finishes a start under way first', async () => {
    const stateDir = rig.stateDir();
    const first = await rig.open({ stateDir });
    const container = await rig.create({ ...spec(WAIT), supervisor: first });
    const started = container.start();
    await rig.close(first);
    await started;
    const second = await rig.open({ stateDir });
    expect(second.get('web').state).toBe('running');
  });

  test('closes twice without harm, and by `await using`', async () => {
    const supervisor = await rig.open();
    await Promise.all([supervisor.close(), supervisor.close()]);
    await supervisor[Symbol.asyncDispose]();
    const seen: CaissonEvent[] = [];
    for await (const event of supervisor.events()) seen.push(event);
    expect(seen).toEqual([]);
  });
});

describe('LIF-13: a record that names another process', () => {
  test.each([
    ['its pid with another start time', (pid: number, start: string) => `${pid} ${Number(start) + 1}`],
    ['a pid that nobody has', () => '4194000 1'],
    ['nonsense', () => 'web'],
    ['nothing', () => ''],
  ])('%s: the container is stopped, and that process lives', async (_, record) => {
    const stateDir = rig.stateDir();
    const first = await rig.open({ stateDir });
    await rig.create({ ...spec(WAIT), supervisor: first });
    await rig.close(first);
    const other = spawn('sleep', ['1000'], { stdio: 'ignore' });
    await once(other, 'spawn');
    try {
      const stat = readFileSync(`/proc/${other.pid}/stat`, 'utf8');
      const start = stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? '';
      const runDir = join('/run/caisson', own(stateDir), 'web');
      mkdirSync(runDir, { recursive: true });
      writeFileSync(join(runDir, 'pid'), `${record(other.pid ?? 0, start)} running\n`);
      const supervisor = await rig.open({ stateDir });
      expect(supervisor.get('web').state).toBe('stopped');
      expect(existsSync(runDir)).toBe(false);
      expect(other.exitCode).toBeNull();
      process.kill(other.pid ?? 0, 0);
    } finally {
      other.kill('SIGKILL');
      await once(other, 'exit');
    }
  });
});
