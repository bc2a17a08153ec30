/** The main job on a real container: start, console, both ways to reboot, clean stop, and proof that nothing is left. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type CaissonEvent, type Container, describeExit, Supervisor } from 'caisson';
import { own, settledDifference, snapshot } from '../test/lib/snapshot.js';

const WAIT_MS = 20_000;

function headline(text: string): void {
  console.log(`\n== ${text}`);
}

function tell(event: CaissonEvent): void {
  switch (event.type) {
    case 'phase':
      console.log(`   ${event.phase.padEnd(9)} ${((event.end - event.start) / 1e6).toFixed(2).padStart(6)} ms`);
      return;
    case 'state':
      console.log(
        ` ${event.from} -> ${event.to}  (${event.reason}, by ${event.initiator}${event.exit === undefined ? '' : `; PID 1 ${describeExit(event.exit)}`})`,
      );
      return;
    case 'notice':
      console.log(`   notice: ${event.message}`);
  }
}

/** Waits until the console has printed `text` after `offset`. */
async function printed(container: Container, text: string, offset: number): Promise<void> {
  const signal = AbortSignal.timeout(WAIT_MS);
  let seen = '';
  for await (const { data } of container.console.read({ from: offset, signal })) {
    seen += data.toString();
    if (seen.includes(text)) return;
  }
  throw new Error(`the console did not print ${JSON.stringify(text)} within ${WAIT_MS} ms; it printed:\n${seen}`);
}

/** Waits for a move to `state` that happens from now on. */
function reached(container: Container, state: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`not ${state} within ${WAIT_MS} ms`)), WAIT_MS);
    const off = container.on('state', event => {
      if (event.to !== state) return;
      clearTimeout(timer);
      off();
      resolve();
    });
  });
}

async function type(container: Container, line: string, answer: string): Promise<void> {
  const from = container.console.end;
  await container.console.write(`${line}\n`);
  await printed(container, answer, from);
  const text = container.console.since(from).data.toString().replaceAll('\x1b[6n', '');
  for (const output of text.split(/[\r\n]+/).filter(Boolean)) console.log(`   | ${output}`);
}

async function lives(stateDir: string): Promise<void> {
  await using supervisor = await Supervisor.open({ stateDir });
  supervisor.on(tell);
  headline('create a container from the busybox template, unprivileged');
  const container = await supervisor.create({ name: 'demo', template: 'busybox' });
  console.log(
    `   ids 0-${(container.spec.idmap?.count ?? 0) - 1} inside are ${container.spec.idmap?.first} and up outside`,
  );

  headline('start');
  let from = container.console.end;
  await container.start();
  await printed(container, 'demo is up', from);
  console.log(`   PID 1 inside is ${container.pid} outside; it printed "demo is up"`);

  await printed(container, 'demo:/# ', from);
  headline('talk to the shell on its console');
  await type(container, 'echo $((6 * 7)) $(id -u) $(cat /proc/1/cgroup | tail -n 1)', '42 0 0::/');

  headline('reboot, asked for by the host');
  from = container.console.end;
  await container.reboot({ timeout: WAIT_MS });
  await printed(container, 'demo is up', from);

  headline('reboot, asked for from inside');
  from = container.console.end;
  const running = reached(container, 'running');
  await container.console.write('reboot\n');
  await running;
  await printed(container, 'demo is up', from);
  console.log(`   started ${container.restartCount + 1} times in all`);

  headline('clean stop');
  const { exit, forced } = await container.stop({ timeout: WAIT_MS });
  if (forced || exit?.kind !== 'halt') throw new Error(`not a clean stop: ${JSON.stringify({ exit, forced })}`);
  await supervisor.remove('demo');
}

async function warmUp(stateDir: string): Promise<void> {
  await using supervisor = await Supervisor.open({ stateDir });
  const container = await supervisor.create({ name: 'warm', template: 'busybox', init: '/bin/true' });
  await container.start();
  await container.wait();
  await supervisor.remove('warm');
}

async function main(): Promise<void> {
  const stateDir = await mkdtemp(join(tmpdir(), 'caisson-demo-'));
  own(stateDir);
  // Descriptors that Node opens once and keeps (for its threads, for its first child process) are no leak.
  await warmUp(stateDir);
  const before = snapshot();
  try {
    await lives(stateDir);
  } finally {
    await rm(stateDir, { recursive: true, force: true });
  }
  headline('what is left of it');
  const left = await settledDifference(before);
  if (left !== '') throw new Error(`left behind:\n${left}`);
  console.log(`   nothing: ${Object.keys(before).join(', ')} are as before`);
}

await main();
