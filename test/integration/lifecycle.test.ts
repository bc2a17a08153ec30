/** How a container lives and dies: operations, exits, signals, force, freezing (lifecycle.md). */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import type { CaissonError, CaissonEvent, Container } from 'caisson';
import { afterEach, describe, expect, test } from 'vitest';
import { outerV2 } from '../lib/place.ts';
import { CRASH, compileInto, REBOOT_CALLS, SIGNAL_INIT } from '../lib/programs.ts';
import { parseStatus } from '../lib/report.ts';
import { finish, MODES, type Mode, type Spec, until, useRig, waitForText } from '../lib/rig.ts';
import { slow } from '../lib/slow.ts';

const rig = useRig({
  prepare: rootfs => {
    compileInto(rootfs, 'signal-init', SIGNAL_INIT);
    compileInto(rootfs, 'reboot-calls', REBOOT_CALLS);
    compileInto(rootfs, 'crash', CRASH);
    writeFileSync(join(rootfs, 'bin/missing-interpreter'), '#!/no/such/shell\n', { mode: 0o755 });
    writeFileSync(join(rootfs, 'bin/garbage'), 'neither ELF nor script', { mode: 0o755 });
  },
});

type StateEvent = Extract<CaissonEvent, { type: 'state' }>;

const SLEEP = { init: '/bin/sleep', args: ['1000'] };
const shell = (script: string): Spec => ({ init: '/bin/sh', args: ['-c', script] });

/** State events of a container from now on. */
function follow(container: Container): StateEvent[] {
  const seen: StateEvent[] = [];
  stops.push(container.on('state', event => seen.push(event)));
  return seen;
}
const stops: (() => void)[] = [];
afterEach(() => {
  for (const stop of stops.splice(0)) stop();
});

const path = (events: readonly StateEvent[]): string => [events[0]?.from, ...events.map(({ to }) => to)].join('>');
const START = 'creating>mounting>devices>network>running';

describe('operations', () => {
  test('LIF-02: a second start joins the first', async () => {
    const container = await rig.create(SLEEP);
    const events = follow(container);
    await Promise.all([container.start(), container.start(), container.start()]);
    expect(path(events)).toBe(`stopped>${START}`);
    await expect(container.start()).rejects.toMatchObject({ code: 'INVALID_TRANSITION', field: 'state' });
  });

  test('LIF-02: a stop during a start cancels it', async () => {
    const container = await rig.create(SLEEP);
    const events = follow(container);
    const started = container.start();
    const stopped = container.stop({ force: true });
    await expect(started).rejects.toMatchObject({ code: 'CANCELLED' });
    const end = await stopped;
    expect(end).toMatchObject({ exit: null, state: 'failed' });
    expect(container.state).toBe('failed');
    expect(events.at(-1)).toMatchObject({ reason: 'cancelled', error: { code: 'CANCELLED' } });
    await container.start();
    expect(container.state).toBe('running');
  });

  test('LIF-02: a stop at each phase of a start ends it, whatever had been done', async () => {
    const ends: string[] = [];
    for (const phase of ['creating', 'mounting', 'devices', 'network', 'running'] as const) {
      const container = await rig.create(SLEEP);
      let stopped: Promise<unknown> | undefined;
      container.on('state', event => {
        if (event.to === phase && stopped === undefined) stopped = container.stop({ timeout: 0 });
      });
      await container.start().catch((error: CaissonError) => expect(error.code).toBe('CANCELLED'));
      await until(() => stopped !== undefined, `${phase} reached`);
      await stopped;
      ends.push(container.state);
      expect(container.pid, phase).toBeUndefined();
      await rig.supervisor.remove(container.name);
      await rig.expectNothingLeft();
    }
    expect(ends.at(-1)).toBe('stopped');
  });

  test('LIF-02: others are refused with BUSY, naming what is under way', async () => {
    const container = await rig.start(SLEEP);
    const freezing = container.freeze();
    await expect(container.reboot()).rejects.toMatchObject({
      code: 'BUSY',
      message: expect.stringContaining('freeze'),
    });
    await expect(container.unfreeze()).rejects.toMatchObject({ code: 'BUSY' });
    await freezing;
    const thawing = container.unfreeze();
    await expect(container.freeze()).rejects.toMatchObject({
      code: 'BUSY',
      message: expect.stringContaining('unfreeze'),
    });
    await thawing;
    const stopping = container.stop({ timeout: 0 });
    await expect(container.start()).rejects.toMatchObject({ code: 'BUSY', message: expect.stringContaining('stop') });
    await expect(container.freeze()).rejects.toMatchObject({ code: 'BUSY' });
    // A second stop joins.
    expect(await Promise.all([stopping, container.stop({ timeout: 0 })])).toMatchObject([
      { state: 'stopped' },
      { state: 'stopped' },
    ]);
    await expect(rig.supervisor.remove('nobody')).rejects.toMatchObject({ code: 'CONTAINER_NOT_FOUND' });
  });

  test('what runs cannot be removed', async () => {
    const container = await rig.start(SLEEP);
    await expect(rig.supervisor.remove(container.name)).rejects.toMatchObject({
      code: 'INVALID_TRANSITION',
      field: 'state',
    });
    expect(rig.supervisor.get(container.name)).toBe(container);
  });

  test('LIF-34: freezing a stopped or frozen container, or thawing a running one, is an error that names the state', async () => {
    const container = await rig.create(SLEEP);
    const refuses = (state: string) => ({ code: 'INVALID_TRANSITION', message: expect.stringContaining(state) });
    await expect(container.freeze()).rejects.toMatchObject(refuses('stopped'));
    await expect(container.unfreeze()).rejects.toMatchObject(refuses('stopped'));
    await expect(container.stop()).rejects.toMatchObject(refuses('stopped'));
    await expect(container.reboot()).rejects.toMatchObject(refuses('stopped'));
    await expect(container.kill()).rejects.toMatchObject(refuses('stopped'));
    await container.start();
    await expect(container.unfreeze()).rejects.toMatchObject(refuses('running'));
    await container.freeze();
    await expect(container.freeze()).rejects.toMatchObject(refuses('frozen'));
    expect(container.state).toBe('frozen');
  });
});

describe('LIF-03: events', () => {
  test('one per move, ordered, with reason and initiator; equal to what was polled; resumable', async () => {
    const { supervisor } = rig;
    const since = supervisor.seq;
    const container = await rig.create(SLEEP);
    const polled: string[] = [];
    container.on('state', event => polled.push(event.to));
    await container.start();
    expect(container.state).toBe('running');
    await container.freeze();
    await container.unfreeze();
    await container.stop({ timeout: 0 });
    const last = supervisor.seq;
    const read = async (from: number): Promise<CaissonEvent[]> => {
      const out: CaissonEvent[] = [];
      for await (const event of supervisor.events({ since: from })) {
        out.push(event);
        if (event.seq === last) break;
      }
      return out;
    };
    const events = await read(since);
    expect(events.map(({ seq }) => seq)).toEqual(events.map((_, index) => since + 1 + index));
    for (const event of events) expect(event.container).toBe(container.name);
    const moves = events.filter((event): event is StateEvent => event.type === 'state');
    expect(moves.map(({ to }) => to)).toEqual(polled);
    expect(path(moves)).toBe(`stopped>${START}>freezing>frozen>thawing>running>stopping>stopped`);
    for (const [index, move] of moves.entries()) expect(move.from).toBe(moves[index - 1]?.to ?? 'stopped');
    expect(moves.map(({ reason }) => reason)).toEqual([
      'start',
      ...Array(4).fill('phase-done'),
      'freeze',
      'freeze',
      'unfreeze',
      'unfreeze',
      'stop',
      'stop',
    ]);
    expect(new Set(moves.map(({ initiator }) => initiator))).toEqual(new Set(['api']));
    expect(moves.map(({ action }) => action).filter(Boolean)).toEqual([
      'instance-started',
      'instance-paused',
      'instance-resumed',
      'instance-stopped',
    ]);
    expect(events.filter(({ type }) => type === 'phase')).toHaveLength(5);
    const middle = events[4]?.seq ?? 0;
    expect(await read(middle)).toEqual(events.slice(5));
  });

  test('LIF-36: running means that exec succeeded; each phase is told with its times, in order', async () => {
    const container = await rig.create(shell('echo first; sleep 1000'));
    const phases: Extract<CaissonEvent, { type: 'phase' }>[] = [];
    container.on('phase', event => phases.push(event));
    await container.start();
    expect(phases.map(({ phase }) => phase)).toEqual(['creating', 'mounting', 'devices', 'network', 'running']);
    for (const [index, { start, end }] of phases.entries()) {
      expect(end).toBeGreaterThanOrEqual(start);
      expect(start).toBe(phases[index - 1]?.end ?? start);
    }
    // Its shell may have gone on to its last command by now.
    expect(['sh', 'sleep']).toContain(readFileSync(`/proc/${container.pid}/comm`, 'utf8').trim());
    const timeline = container.timeline();
    const ids = container.plan().steps.map(({ id }) => id);
    expect(timeline.map(({ id }) => id).sort()).toEqual([...ids].sort());
    for (const entry of timeline) expect(entry.end, entry.id).toBeGreaterThanOrEqual(entry.start);
    await waitForText(container, 'first');
  });
});

describe.each(MODES)('exits, %s', mode => {
  test('LIF-09, ENV-07: a missing interpreter is named, before anything is made', async () => {
    const container = await rig.create({ mode, init: '/bin/missing-interpreter' });
    await expect(container.start()).rejects.toMatchObject({
      code: 'ROOTFS_INIT_INTERPRETER',
      message: expect.stringMatching(/\/bin\/missing-interpreter .* is run by \/no\/such\/shell,/),
      step: { id: 'creating.rootfs.check' },
    });
    expect(container.state).toBe('failed');
    expect(container.error).toMatchObject({ code: 'ROOTFS_INIT_INTERPRETER' });
  });

  test('LIF-09: a file in no executable format is EXEC_FAILED with ENOEXEC', async () => {
    const container = await rig.create({ mode, init: '/bin/garbage' });
    await expect(container.start()).rejects.toMatchObject({ code: 'EXEC_FAILED', errno: 'ENOEXEC' });
  });

  test.each([
    ['exit 0', 'exit 0', 'stopped', { kind: 'exit', status: 0 }],
    ['exit 3', 'exit 3', 'failed', { kind: 'exit', status: 3 }],
    // What runc would report for a reboot and a halt: here it is what it is.
    ['exit 129', 'exit 129', 'failed', { kind: 'exit', status: 129 }],
    ['exit 255', 'exit 255', 'failed', { kind: 'exit', status: 255 }],
  ] as const)('LIF-15: %s', async (_, script, state, exit) => {
    const { end, container } = await rig.run({ mode, script });
    expect(end).toMatchObject({ state, exit: { ...exit, confidence: 'exact' }, forced: false });
    expect(container.exit).toMatchObject(exit);
  });

  test.each([
    ['segv', 11, 'SIGSEGV'],
    ['ill', 4, 'SIGILL'],
  ])('LIF-15: PID 1 dies of its own %s', async (how, number, signal) => {
    const { end } = await rig.run({ mode, init: '/bin/crash', args: [how] });
    expect(end).toMatchObject({ state: 'failed', exit: { kind: 'signal', number, signal, confidence: 'exact' } });
  });

  test('LIF-15, LIF-16: SIGKILL from outside, not by us, is a crash', async () => {
    const container = await rig.start({ mode, ...SLEEP });
    const ended = finish(container);
    process.kill(container.pid ?? 0, 'SIGKILL');
    expect(await ended).toMatchObject({ state: 'failed', forced: false, exit: { kind: 'signal', signal: 'SIGKILL' } });
  });

  test.each(['poweroff -f', 'halt -f'])('LIF-15, LIF-32: %s inside is a halt, caused by the guest', async command => {
    const container = await rig.create({ mode, ...shell(command) });
    const events = follow(container);
    await container.start();
    const end = await finish(container);
    expect(end).toMatchObject({
      state: 'stopped',
      forced: false,
      by: 'guest',
      exit: { kind: 'halt', confidence: 'exact' },
    });
    expect(events.at(-1)).toMatchObject({
      to: 'stopped',
      reason: 'exit',
      initiator: 'guest',
      action: 'instance-shutdown',
    });
    expect(container.restartCount).toBe(0);
  });

  test('LIF-15, LIF-41: reboot -f inside comes back through every stage, with another PID 1 and the same ids', async () => {
    const tree = rig.tree();
    const spec = {
      mode,
      rootfs: { path: tree, overlay: 'none' as const, allowSharedSuperblock: mode === 'privileged' },
    };
    const container = await rig.create({
      ...spec,
      ...shell('[ -e /etc/again ] && sleep 1000; touch /etc/again; reboot -f'),
    });
    const events = follow(container);
    await container.start();
    const first = container.pid;
    await until(() => container.restartCount === 1 && container.state === 'running', 'back after the reboot');
    expect(path(events)).toBe(`stopped>${START}>rebooting>${START}`);
    const rebooting = events.find(({ to }) => to === 'rebooting');
    expect(rebooting).toMatchObject({
      reason: 'reboot',
      initiator: 'guest',
      exit: { kind: 'reboot', confidence: 'exact' },
    });
    expect(events.at(-5)).toMatchObject({ from: 'rebooting', to: 'creating', action: 'instance-restarted' });
    expect(container.pid).not.toBe(first);
    const { idmap } = container.spec;
    expect(parseStatus(readFileSync(`/proc/${container.pid}/status`, 'utf8')).Uid?.split('\t')[0]).toBe(
      String(idmap?.first ?? 0),
    );
  });

  test('LIF-15: other reboot(2) commands are refused inside and end nothing', async () => {
    // CAD_ON, CAD_OFF, SW_SUSPEND, KEXEC, and one that does not exist.
    const commands = ['0x89ABCDEF', '0x00000000', '0xD000FCE2', '0x45584543', '0x12345678'];
    const { lines, end } = await rig.run({ mode, init: '/bin/reboot-calls', args: commands });
    expect(lines).toEqual(commands.map(command => `${command} EINVAL`));
    expect(end).toMatchObject({ state: 'stopped', exit: { kind: 'exit', status: 0 } });
  });

  test('LIF-18: reboot(2) by a process that is not PID 1 ends the container just so', async () => {
    const container = await rig.create({ mode, ...shell('(sleep 0.1; poweroff -f) & while :; do sleep 1000; done') });
    await container.start();
    expect(await finish(container)).toMatchObject({ state: 'stopped', exit: { kind: 'halt' } });
  });

  test('out of memory', async () => {
    const spec = { mode, limits: { memory: 16 * 1024 * 1024 } };
    const { end } = await rig.run({
      ...spec,
      init: '/bin/dd',
      args: ['if=/dev/zero', 'of=/dev/null', 'bs=128M', 'count=1'],
    });
    expect(end).toMatchObject({ state: 'failed', exit: { kind: 'oom', confidence: 'exact' } });
    // A child that is killed does not end PID 1, and PID 1's own end keeps its meaning.
    const child = await rig.run({
      ...spec,
      script: 'dd if=/dev/zero of=/dev/null bs=128M count=1; echo "dd: $?"; exit 4',
    });
    expect(child.lines).toContain('dd: 137');
    expect(child.end).toMatchObject({ state: 'failed', exit: { kind: 'exit', status: 4 } });
  });

  test('LIF-16: PID 1 without a handler is shielded from all signals but SIGKILL and SIGSTOP', async () => {
    const container = await rig.start({ mode, ...SLEEP });
    const pid = container.pid ?? 0;
    const state = (): string => parseStatus(readFileSync(`/proc/${pid}/status`, 'utf8')).State ?? '';
    for (const signal of [1, 2, 3, 10, 12, 13, 15, 30, 37, 64]) process.kill(pid, signal);
    await new Promise(resolve => setTimeout(resolve, 100));
    expect(state()).toMatch(/^S/);
    process.kill(pid, 'SIGSTOP');
    await until(() => state().startsWith('T'), 'stopped');
    process.kill(pid, 'SIGCONT');
    await until(() => state().startsWith('S'), 'going on');
    expect(container.state).toBe('running');
  });
});

describe('stop and reboot', () => {
  const signalled = async (spec: Spec, how: 'handle' | 'block', ...numbers: number[]): Promise<Container> => {
    const container = await rig.start({ init: '/bin/signal-init', args: [how, ...numbers.map(String)], ...spec });
    await waitForText(container, 'ready');
    return container;
  };
  const got = (container: Container): string =>
    /got (\d+)/.exec(container.console.history().toString())?.[1] ?? 'nothing';

  test('LIF-22, LIF-23: an init that blocks 37, as systemd does, is halted by SIGRTMIN+3, which is 37', async () => {
    const container = await signalled({}, 'block', 37, 30, 2);
    expect(await container.stop()).toMatchObject({
      state: 'stopped',
      forced: false,
      exit: { kind: 'exit', status: 0 },
    });
    expect(got(container)).toBe('37');
  });

  test('LIF-22: an init that does not is halted by SIGPWR', async () => {
    const container = await signalled({}, 'handle', 30, 37, 2, 15);
    expect(await container.stop()).toMatchObject({ state: 'stopped', forced: false });
    expect(got(container)).toBe('30');
  });

  test.each([
    ['SIGUSR1', '10'],
    ['RTMIN+4', '38'],
    [39, '39'],
  ])('LIF-22: signals.halt: %s wins', async (halt, number) => {
    const container = await signalled({ signals: { halt } }, 'handle', 10, 30, 37, 38, 39);
    expect(await container.stop()).toMatchObject({ forced: false });
    expect(got(container)).toBe(number);
    const blocking = await signalled({ signals: { halt } }, 'block', 10, 30, 37, 38, 39);
    expect(await blocking.stop()).toMatchObject({ forced: false });
    expect(got(blocking)).toBe(number);
  });

  test('LIF-21: a reboot is asked for by SIGINT, or signals.reboot', async () => {
    const container = await signalled({}, 'handle', 2, 30);
    await container.reboot({ timeout: slow(5000), force: true });
    expect(got(container)).toBe('2');
    const other = await signalled({ signals: { reboot: 'SIGTERM' } }, 'handle', 2, 15);
    await other.reboot({ timeout: slow(5000), force: true });
    expect(got(other)).toBe('15');
  });

  test('LIF-28, LIF-49: a signal that PID 1 neither catches nor blocks is not waited for: killed, and told so', async () => {
    const container = await rig.start(SLEEP);
    const begun = performance.now();
    expect(await container.stop({ timeout: 60_000 })).toMatchObject({
      state: 'stopped',
      forced: true,
      by: 'force',
      exit: { kind: 'killed', requested: true },
    });
    expect(performance.now() - begun).toBeLessThan(slow(5000));
  });

  test('LIF-28: an init that hears the signal and does not end is killed after the timeout, not before', async () => {
    const container = await rig.start(shell("trap 'echo heard' PWR; echo ready; while :; do sleep 0.05; done"));
    await waitForText(container, 'ready');
    const begun = performance.now();
    expect(await container.stop({ timeout: 700 })).toMatchObject({
      state: 'stopped',
      forced: true,
      exit: { kind: 'killed' },
    });
    expect(performance.now() - begun).toBeGreaterThan(690);
    expect(container.console.history().toString()).toContain('heard');
  });

  test.each([{ timeout: 0 }, { force: true }, { timeout: 60_000, force: true }])(
    'LIF-28: %o kills at once, without a signal',
    async options => {
      const container = await rig.start(shell("trap 'echo heard' PWR; echo ready; while :; do sleep 0.05; done"));
      await waitForText(container, 'ready');
      expect(await container.stop(options)).toMatchObject({ state: 'stopped', forced: true });
      expect(container.console.history().toString()).not.toContain('heard');
    },
  );

  test('LIF-28: a stop excuses a non-zero exit, not a crash', async () => {
    const container = await rig.start(shell("trap 'exit 7' PWR; echo ready; while :; do sleep 0.05; done"));
    await waitForText(container, 'ready');
    expect(await container.stop()).toMatchObject({
      state: 'stopped',
      forced: false,
      exit: { kind: 'exit', status: 7 },
    });
    const crashing = await rig.start(shell("trap 'exec /bin/crash' PWR; echo ready; while :; do sleep 0.05; done"));
    await waitForText(crashing, 'ready');
    expect(await crashing.stop()).toMatchObject({
      state: 'failed',
      forced: false,
      exit: { kind: 'signal', signal: 'SIGSEGV' },
    });
  });

  test('LIF-28: a kill while a stop waits takes over, and both get the end', async () => {
    const container = await rig.start(shell("trap 'echo heard' PWR; echo ready; while :; do sleep 0.05; done"));
    await waitForText(container, 'ready');
    const stopped = container.stop({ timeout: 60_000 });
    await waitForText(container, 'heard');
    expect(await container.kill()).toMatchObject({ state: 'stopped', forced: true });
    expect(await stopped).toMatchObject({ state: 'stopped', forced: true });
  });

  test('LIF-31: a reboot without force leaves a container that does not react running on, and says so', async () => {
    const container = await rig.start(SLEEP);
    const { pid } = container;
    await expect(container.reboot({ timeout: 300 })).rejects.toMatchObject({ code: 'TIMEOUT' });
    expect(container.pid).toBe(pid);
    expect(container.restartCount).toBe(0);
    expect(await container.stop({ timeout: 0 })).toMatchObject({ state: 'stopped' });
  });

  test('LIF-31: a reboot with force kills after the timeout and starts again', async () => {
    const container = await rig.start(shell("trap 'echo heard' INT; echo ready; while :; do sleep 0.05; done"));
    await waitForText(container, 'ready');
    const { pid } = container;
    const events = follow(container);
    await container.reboot({ timeout: 300, force: true });
    expect(container.state).toBe('running');
    expect(container.pid).not.toBe(pid);
    expect(container.restartCount).toBe(1);
    expect(events.map(({ reason }) => reason)).toContain('reboot');
    expect(path(events)).toMatch(/^running>stopping>.*creating>mounting>devices>network>running$/);
  });

  test('LIF-31, LIF-32: restart is a stop and a start: other reasons than a reboot, and no SIGINT', async () => {
    const container = await signalled({}, 'handle', 2, 30);
    const events = follow(container);
    await container.restart();
    expect(path(events)).toBe(`running>stopping>stopped>${START}`);
    expect(events.map(({ reason, initiator }) => `${reason} ${initiator}`)).toEqual([
      'stop api',
      'stop api',
      'start api',
      ...Array(4).fill('phase-done api'),
    ]);
    expect(container.restartCount).toBe(0);
    expect(got(container)).toBe('30');
  });

  test('LIF-20: what joined the container goes with it: a process in its namespaces, and one in its cgroup only', async () => {
    const container = await rig.start(SLEEP);
    const join1 = spawn(
      'nsenter',
      ['--target', String(container.pid), '--user', '--mount', '--pid', '--preserve-credentials', '/bin/sleep', '1000'],
      { stdio: 'ignore' },
    );
    const joined = new Promise<string | null>(resolve => join1.once('exit', (_, signal) => resolve(signal)));
    const outside = spawn('sleep', ['1000'], { stdio: 'ignore' });
    const ended = new Promise<string | null>(resolve => outside.once('exit', (_, signal) => resolve(signal)));
    await once(outside, 'spawn');
    const { v1, v2, prefix } = rig.supervisor.facts.cgroups;
    const groups =
      v2 === null
        ? v1.map(({ base }) => `${base}/${prefix}/${container.name}`)
        : [`${outerV2(rig.supervisor.facts, container.name)}/payload`];
    for (const group of groups) writeFileSync(`${group}/cgroup.procs`, String(outside.pid));
    await until(() => readFileSync(`/proc/${join1.pid}/task/${join1.pid}/stat`, 'utf8').length > 0, 'nsenter runs');
    await new Promise(resolve => setTimeout(resolve, 100));
    expect(await container.stop({ timeout: 0 })).toMatchObject({ state: 'stopped' });
    expect(await ended).toBe('SIGKILL');
    // nsenter passes on how its child ended.
    expect(await joined).toBe('SIGKILL');
    await rig.expectNothingLeft();
  });

  test('LIF-29: a fork bomb within its pids limit is stopped', async () => {
    const container = await rig.start({
      ...shell('bomb() { bomb | bomb & }; bomb; while :; do :; done'),
      limits: { pids: 60 },
    });
    await new Promise(resolve => setTimeout(resolve, 300));
    expect(await container.stop({ timeout: 0 })).toMatchObject({ state: 'stopped', forced: true });
    await rig.expectNothingLeft();
  });

  test("ENV-64: orphans are PID 1's to reap, and end with it", async () => {
    const container = await rig.start(
      shell('(setsid sleep 1000 &); (setsid sleep 1000 &); sleep 0.1; echo up; sleep 1000'),
    );
    await waitForText(container, 'up');
    await container.kill();
    await rig.expectNothingLeft();
  });
});

describe.each(MODES)('freezing, %s', (mode: Mode) => {
  const COUNT = shell('i=0; while :; do i=$((i+1)); echo $i > /tmp/count; done');

  test('LIF-33: a frozen container stands still and goes on after the thaw', async () => {
    const container = await rig.start({ mode, ...shell('i=0; while :; do i=$((i+1)); echo $i; sleep 0.01; done') });
    await waitForText(container, /3\r\n/);
    await container.freeze();
    expect(container.state).toBe('frozen');
    const { v1, v2, prefix } = rig.supervisor.facts.cgroups;
    if (v2 !== null) {
      const outer = outerV2(rig.supervisor.facts, container.name);
      expect(readFileSync(`${outer}/cgroup.events`, 'utf8')).toContain('frozen 1');
    }
    const freezer = v1.find(({ controllers }) => controllers.includes('freezer'));
    if (v2 !== null && freezer !== undefined) {
      // ENV-43: on a hybrid host the v2 freezer does it, the v1 one is left alone.
      expect(readFileSync(`${freezer.base}/${prefix}/${container.name}/freezer.state`, 'utf8').trim()).toBe('THAWED');
    }
    await new Promise(resolve => setTimeout(resolve, 50));
    const { end } = container.console;
    await new Promise(resolve => setTimeout(resolve, 200));
    expect(container.console.end).toBe(end);
    await container.unfreeze();
    expect(container.state).toBe('running');
    await until(() => container.console.end > end, 'it goes on');
  });

  test('LIF-29: a frozen container is killed', async () => {
    const container = await rig.start({ mode, ...COUNT });
    await container.freeze();
    expect(await container.kill()).toMatchObject({ state: 'stopped', forced: true, exit: { kind: 'killed' } });
  });

  test('LIF-30: a stop of a frozen container thaws first, gives init a moment, and then asks it', async () => {
    const container = await rig.start({ mode, init: '/bin/signal-init', args: ['handle', '30'] });
    await waitForText(container, 'ready');
    await container.freeze();
    const events = follow(container);
    const begun = performance.now();
    expect(await container.stop()).toMatchObject({
      state: 'stopped',
      forced: false,
      exit: { kind: 'exit', status: 0 },
    });
    expect(performance.now() - begun).toBeGreaterThan(2900);
    expect(path(events)).toBe('frozen>thawing>running>stopping>stopped');
  });
});

describe('the busybox template', () => {
  test('LIF-24, LIF-48: boots, shows a shell on its console, reboots and stops by its own signals', async () => {
    const container = await rig.supervisor.create({ name: 'bb', template: 'busybox' });
    const events = follow(container);
    await container.start();
    await waitForText(container, 'bb is up');
    await waitForText(container, 'bb:/# ');
    const from = container.console.end;
    await container.console.write('echo $((6 * 7)); cat /proc/1/comm\n');
    await until(() => /42\r\ninit\r\n/.test(container.console.since(from).data.toString()), 'the shell answers');
    const { pid } = container;
    await container.reboot({ timeout: slow(15_000) });
    expect(container.pid).not.toBe(pid);
    expect(container.restartCount).toBe(1);
    expect(path(events)).toBe(`stopped>${START}>stopping>rebooting>${START}`);
    const rebooted = events.find(({ to }) => to === 'rebooting');
    expect(rebooted).toMatchObject({ initiator: 'api', exit: { kind: 'reboot' } });
    // Its init needs a moment until it listens to signals.
    await until(() => container.console.history().toString().split('bb is up').length >= 3, 'second boot');
    const end = await container.stop({ timeout: slow(15_000) });
    expect(end).toMatchObject({ state: 'stopped', forced: false, exit: { kind: 'halt' } });
  });

  test("LIF-32: poweroff typed inside is the guest's own doing", async () => {
    const container = await rig.supervisor.create({ name: 'bb', template: 'busybox' });
    const events = follow(container);
    await container.start();
    await waitForText(container, 'bb:/# ');
    await container.console.write('poweroff\n');
    expect(await finish(container)).toMatchObject({ state: 'stopped', exit: { kind: 'halt' }, forced: false });
    expect(events.at(-1)).toMatchObject({ initiator: 'guest', reason: 'exit' });
  });
});

test('LIF-27: nothing but a pidfd is ever signalled', () => {
  // A signal by number could hit another process that got it meanwhile. That cannot be provoked here, but be seen.
  const root = fileURLToPath(new URL('../../src', import.meta.url));
  const sources = readdirSync(root, { recursive: true, encoding: 'utf8' }).filter(name => name.endsWith('.ts'));
  const by = (pattern: RegExp): string[] =>
    sources.filter(name => pattern.test(readFileSync(join(root, name), 'utf8')));
  expect(by(/process\.kill\(|NR\.(t|tg)?kill\b|yscall\('(t|tg)?kill'/)).toEqual([]);
  expect(by(/yscall\('pidfd_send_signal'/)).toEqual(['syscalls/process.ts']);
});
