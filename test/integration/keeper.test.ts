/** The keeper: one small process that holds what must outlive the supervisor (LIF-12, design §5). */
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import type { Container, Supervisor } from 'caisson';
import { expect, test } from 'vitest';
import { compile, REAPER } from '../lib/programs.ts';
import { type Spec, type SpecInput, until, useRig, waitForText } from '../lib/rig.ts';
import { slow } from '../lib/slow.ts';
import { own } from '../lib/snapshot.ts';
import { Victim } from '../lib/victim.ts';

const rig = useRig();
const ECHO = 'echo up; while read word; do echo "got $word"; done; sleep 1000';

const spec = (name: string, more: Spec = {}): SpecInput =>
  rig.spec('unprivileged', { name, init: '/bin/sh', args: ['-c', ECHO], ...more });

/** Host pid of the keeper of a supervisor. */
function keeperOf(supervisor: Supervisor): number {
  const record = readFileSync(join(runDirOf(supervisor), '.keeper'), 'utf8');
  expect(record).toMatch(/^\d+ \d+\n$/);
  return Number(record.split(' ')[0]);
}

function runDirOf(supervisor: Supervisor): string {
  const [first] = supervisor.list();
  if (first === undefined) throw new Error('a container is needed to know the directory');
  return join(first.runDir, '..');
}

function held(pid: number): string[] {
  return readdirSync(`/proc/${pid}/fd`).map(fd => readlinkSync(`/proc/${pid}/fd/${fd}`));
}

function residentKiB(pid: number): number {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]);
}

async function answers(container: Container, word: string): Promise<void> {
  await container.console.write(`${word}\n`);
  await waitForText(container, `got ${word}`);
}

test('holds a few descriptors of each container that runs, and nothing of one that has ended', async () => {
  const supervisor = await rig.open({ stateDir: rig.stateDir() });
  const containers = await Promise.all(['a', 'b', 'c'].map(name => supervisor.create(spec(name))));
  await Promise.all(containers.map(container => container.start()));
  const keeper = keeperOf(supervisor);
  expect(readFileSync(`/proc/${keeper}/comm`, 'utf8')).toBe('caisson-keeper\n');
  const count = (what: string): number => held(keeper).filter(target => target.includes(what)).length;
  await until(() => count('ptmx') === 3 && count('pidfd') === 3, 'all are held');
  expect(held(keeper).length).toBeLessThan(3 * 12 + 5);
  expect(residentKiB(keeper)).toBeLessThan(1024);
  // Whoever reads the output of the supervisor does not wait for it, and a ^C does not reach it.
  for (const fd of [0, 1, 2]) expect(readlinkSync(`/proc/${keeper}/fd/${fd}`)).toBe('/dev/null');
  expect(readFileSync(`/proc/${keeper}/stat`, 'utf8').split(' ')[5]).toBe(String(keeper));
  await Promise.all(containers.map(container => container.kill()));
  await until(() => count('pidfd') === 0 && count('ptmx') === 0, 'nothing is held');
  await rig.close(supervisor);
  expect(existsSync(`/proc/${keeper}`)).toBe(false);
});

test('is replaced when it dies, and the new one is handed everything', async () => {
  const stateDir = rig.stateDir();
  const supervisor = await rig.open({ stateDir });
  const containers = await Promise.all(['a', 'b'].map(name => supervisor.create(spec(name))));
  await Promise.all(containers.map(container => container.start()));
  const before = keeperOf(supervisor);
  process.kill(before, 'SIGKILL');
  await until(() => keeperOf(supervisor) !== before, 'another keeper');
  const keeper = keeperOf(supervisor);
  await until(() => held(keeper).filter(target => target.includes('pidfd')).length === 2, 'it holds both');
  await rig.close(supervisor);
  expect(existsSync(`/proc/${keeper}`)).toBe(true);
  const next = await rig.open({ stateDir });
  await answers(next.get('a'), 'one');
  await answers(next.get('b'), 'two');
});

test('started anew while containers start, it has them all', async () => {
  const stateDir = rig.stateDir();
  const supervisor = await rig.open({ stateDir });
  const names = Array.from({ length: 8 }, (_, index) => `c${index}`);
  const containers = await Promise.all(names.map(name => supervisor.create(spec(name))));
  const starts = containers.map(container => container.start());
  process.kill(keeperOf(supervisor), 'SIGKILL');
  await Promise.all(starts);
  await until(() => {
    const pidfds = held(keeperOf(supervisor)).filter(target => target.includes('pidfd'));
    return pidfds.length === names.length;
  }, 'it holds all');
  await rig.close(supervisor);
  const next = await rig.open({ stateDir });
  for (const name of names) await answers(next.get(name), name);
});

test('a supervisor killed while it takes over leaves two keepers: the next one takes each life from the one that knows it', async () => {
  const stateDir = rig.stateDir();
  const program = join(rig.dir, 'reaper');
  if (!existsSync(program)) compile(program, REAPER);
  const victims: Victim[] = [];
  const supervise = (options: { specs: SpecInput[]; start?: boolean }): Victim => {
    const victim = new Victim({ stateDir, ...options }, { program, mode: 'slow' });
    victims.push(victim);
    return victim;
  };
  const keeperFile = `/run/caisson/${own(stateDir)}/.keeper`;
  const keepers = (): number[] =>
    readFileSync(keeperFile, 'utf8')
      .split('\n')
      .filter(Boolean)
      .map(line => Number(line.split(' ')[0]));
  const pidFile = `/run/caisson/${own(stateDir)}/again/pid`;
  const recordedPid = (): number => (existsSync(pidFile) ? Number(readFileSync(pidFile, 'utf8').split(' ')[0]) : 0);
  let stopped = 0;
  try {
    const first = supervise({ specs: [spec('again', { restart: { policy: 'always' } }), spec('other')] });
    const { pids } = await first.ready;
    await first.kill();
    const [life = 0, otherLife = 0] = [pids?.again, pids?.other];
    // The second one cannot end the first one's keeper, since its own does not answer.
    const second = supervise({ specs: [], start: false });
    await until(() => keepers().length === 2, 'it is taking over', slow(10_000));
    stopped = keepers()[1] ?? 0;
    process.kill(stopped, 'SIGSTOP');
    // What the old keeper holds of it is the life before.
    process.kill(life, 'SIGKILL');
    await until(() => ![0, life].includes(recordedPid()), 'its next life', slow(4000));
    const nextLife = recordedPid();
    await second.kill();
    expect(keepers()).toHaveLength(2);
    process.kill(stopped, 'SIGCONT');
    stopped = 0;

    const supervisor = await rig.open({ stateDir });
    expect(supervisor.get('again')).toMatchObject({ state: 'running', pid: nextLife });
    expect(supervisor.get('other')).toMatchObject({ state: 'running', pid: otherLife });
    await answers(supervisor.get('again'), 'one');
    await answers(supervisor.get('other'), 'two');
    expect(keepers()).toHaveLength(1);
  } finally {
    if (stopped !== 0) process.kill(stopped, 'SIGCONT');
    for (const victim of victims) await victim.release();
  }
});

test('a place that a record still claims is given to nobody else', async () => {
  const stateDir = rig.stateDir();
  const first = await rig.open({ stateDir });
  const containers = await Promise.all(['a', 'b'].map(name => first.create(spec(name))));
  await Promise.all(containers.map(container => container.start()));
  process.kill(keeperOf(first), 'SIGSTOP');
  const stopped = keeperOf(first);
  await rig.close(first);
  // A keeper that is gone has nothing to give, but what the records say of places holds.
  process.kill(stopped, 'SIGKILL');
  const next = await rig.open({ stateDir });
  const third = await next.create(spec('c'));
  await third.start();
  const placeOf = (container: Container): string | undefined =>
    readFileSync(join(container.runDir, 'pid'), 'utf8').split(' ')[2];
  const places = ['a', 'b', 'c'].map(name => placeOf(next.get(name)));
  expect(new Set(places).size).toBe(3);
  await rig.close(next);
  const last = await rig.open({ stateDir });
  await answers(last.get('c'), 'three');
});

test('LIF-12: many containers are adopted in one go, each with its console', async () => {
  const count = Number(process.env.CAISSON_TEST_ADOPTED ?? 60);
  const stateDir = rig.stateDir();
  const program = join(rig.dir, 'reaper');
  if (!existsSync(program)) compile(program, REAPER);
  const names = Array.from({ length: count }, (_, index) => `m${index}`);
  const victim = new Victim(
    { stateDir, specs: names.map(name => spec(name, { rootfs: rig.rootfs })) },
    { program, mode: 'fast' },
  );
  try {
    await victim.ready;
    await victim.kill();
    const begun = performance.now();
    const supervisor = await rig.open({ stateDir });
    const took = performance.now() - begun;
    console.log(`adopting ${count} containers: ${took.toFixed(0)} ms`);
    expect(supervisor.list().filter(({ state }) => state === 'running')).toHaveLength(count);
    // Half a second for the threads to load; then far below a second for a thousand.
    expect(took).toBeLessThan(slow(1000 + 2 * count));
    await Promise.all(supervisor.list().map(container => answers(container, container.name)));
    await Promise.all(supervisor.list().map(container => container.kill()));
    await rig.close(supervisor);
  } finally {
    await victim.release();
  }
});

test('its program is what keeper.c compiles to', () => {
  const root = new URL('../..', import.meta.url).pathname;
  const source = readFileSync(join(root, 'src/syscalls/keeper/binary.ts'), 'utf8');
  const version = /KEEPER_COMPILER = '([^']+)'/.exec(source)?.[1];
  const own = execFileSync('gcc', ['-dumpfullversion']).toString().trim();
  if (own !== version) {
    console.log(`skipped: this gcc is ${own}, the program was compiled by ${version}`);
    return;
  }
  const bytes = execFileSync('bash', [join(root, 'scripts/keeper-bytes.sh'), 'x64'])
    .toString()
    .trim();

  const strings = [...source.matchAll(/'([A-Za-z0-9+/=]{20,})'/g)].map(match => match[1] ?? '');
  expect(strings.join('').startsWith(bytes)).toBe(true);
});
