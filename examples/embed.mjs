// One container's whole life from a Node program, as root: node examples/embed.mjs [state directory]
import { CaissonError, describeExit, Supervisor } from 'caisson';

const supervisor = await Supervisor.open({ stateDir: process.argv[2] ?? '/var/lib/caisson-example' });
try {
  supervisor.on(event => {
    if (event.type === 'state') console.log(`${event.container}: ${event.from} -> ${event.to} (${event.reason})`);
  });

  const container = await supervisor.create({
    name: 'hello',
    template: 'busybox',
    limits: { memory: 64 * 1024 * 1024, pids: 32 },
  });
  await container.start();

  // PID 1 is busybox init; it has started a shell on the console.
  const from = container.console.end;
  await container.console.write('echo "hello from $(hostname), uid $(id -u)"\n');
  let printed = '';
  for await (const { data } of container.console.read({ from, signal: AbortSignal.timeout(10_000) })) {
    printed += data.toString();
    if (printed.includes('hello from hello, uid 0')) break;
  }
  console.log(printed.match(/hello from hello, uid \d+/)?.[0] ?? `no answer, but: ${printed}`);

  // Where the time of the start went: every step of the plan is measured.
  const slowest = container.timeline().sort((a, b) => b.end - b.start - (a.end - a.start))[0];
  console.log(`slowest step: ${slowest?.label}`);

  const { exit, forced } = await container.stop({ timeout: 10_000 });
  console.log(`PID 1 ${exit === null ? 'never ran' : describeExit(exit)}${forced ? ', by force' : ''}`);
  await supervisor.remove('hello');

  // A mistake is an error that names the field, and nothing has been made.
  // @ts-expect-error: it is a mistake
  await supervisor.create({ name: 'typo', template: 'busybox', limits: { memori: 1 } });
} catch (error) {
  if (!CaissonError.is(error)) throw error;
  console.log(`${error.code}: ${error.message}`);
} finally {
  // Containers that still run live on; the next supervisor of this directory takes them over.
  await supervisor.close();
}
