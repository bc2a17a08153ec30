// A supervision tree from a Node program, as root: node examples/groups.mjs [state directory]
import { Supervisor } from 'caisson';

const supervisor = await Supervisor.open({ stateDir: process.argv[2] ?? '/var/lib/caisson-groups' });
const told = [];
supervisor.on(event => {
  told.push(event);
  if (event.type === 'group-state') console.log(`${event.group}: ${event.from} -> ${event.to}`);
  if (event.type === 'state' && event.to === 'running') console.log(`  ${event.container} runs`);
  if (event.type === 'group-decided')
    console.log(`${event.group}: ${event.decision} ${event.affected.join(', ')}, since ${event.child} ${event.cause}`);
});
/** Resolves once something has been told that `wanted` takes. */
const until = async wanted => {
  while (!told.some(wanted)) await new Promise(resolve => setTimeout(resolve, 10));
};

try {
  for (const name of ['db', 'worker', 'web']) await supervisor.create({ name, template: 'busybox' });

  // Workers and web server have the database's connections: when it crashes, they are started anew, in this order.
  await supervisor.createGroup({ name: 'front', strategy: 'one_for_one', children: ['worker', 'web'] });
  const site = await supervisor.createGroup({
    name: 'site',
    strategy: 'rest_for_one',
    intensity: 3,
    period: 60_000,
    children: ['db', 'front'],
  });
  await site.start();

  // A crash: PID 1 is killed behind the supervisor's back.
  told.length = 0;
  process.kill(supervisor.get('db').pid ?? 0, 'SIGKILL');
  await until(event => event.type === 'group-state' && event.group === 'site' && event.to === 'running');

  // A deliberate stop of one child is not undone.
  await supervisor.get('worker').kill();
  console.log(
    supervisor
      .group('front')
      .children.map(({ name, status }) => `${name} ${status}`)
      .join(', '),
  );

  await site.stop();
} finally {
  await supervisor.close();
}
