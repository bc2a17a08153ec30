/** Probes of real containers, as readiness and as health checks, and what a failure leads to. */
import type { CaissonEvent, Container } from 'caisson';
import { expect, test } from 'vitest';
import { MODES, type Spec, until, useRig } from '../lib/rig.ts';
import { slow } from '../lib/slow.ts';

const rig = useRig();

/** Does what is typed, line by line. */
const SHELL: Spec = { init: '/bin/sh', args: ['-c', 'while read -r line; do eval "$line"; done'] };
const QUICK = { interval: 20, timeout: 2_000 };

type EventOf<T extends CaissonEvent['type']> = Extract<CaissonEvent, { type: T }>;
function follow<T extends CaissonEvent['type']>(container: Container, type: T): EventOf<T>[] {
  const seen: EventOf<T>[] = [];
  container.on('event', event => {
    if (event.type === type) seen.push(event as EventOf<T>);
  });
  return seen;
}
const healthOf = (events: readonly EventOf<'health'>[]): string[] => events.map(({ health }) => health);

/** Serves one answer after another. */
const serve = (answer: string): string =>
  `echo '#!/bin/sh' > /serve; echo 'printf "${answer}"' >> /serve; chmod +x /serve; busybox nc -ll -p 80 -e /serve &\n`;

test.each(MODES)(
  'LIF-36: %s: a probe of each kind finds it up once it is, and not before',
  async mode => {
    const probes: [object, string][] = [
      [{ file: '/run/up' }, 'mkdir -p /run; ln -s /etc/real /run/up; echo > /etc/real\n'],
      [{ exec: ['/bin/sh', '-c', '[ -e /up ]'] }, 'echo > /up\n'],
      [{ tcp: { port: 80 } }, serve('x')],
      [{ http: { port: 80, path: '/up' } }, serve('HTTP/1.0 204 No Content\\\\r\\\\n\\\\r\\\\n')],
    ];
    for (const [probe, command] of probes) {
      const container = await rig.create({ mode, ...SHELL, ready: { ...probe, ...QUICK } });
      const ready = follow(container, 'ready');
      await container.start();
      await expect(container.start({ waitReady: true }).catch(() => container.ready)).resolves.toBe(false);
      await new Promise(resolve => setTimeout(resolve, 100));
      expect(container.ready, JSON.stringify(probe)).toBe(false);
      await container.console.write(command);
      await until(() => container.ready, `up by ${JSON.stringify(probe)}`, slow(10_000));
      expect(ready).toMatchObject([{ source: 'probe', action: 'instance-ready' }]);
      await container.kill();
      expect(container.ready).toBe(false);
    }
  },
  slow(60_000),
);

test('a probe that is answered with an error, or leads out of the container, finds nothing', async () => {
  const health = async (probe: object, command: string): Promise<string> => {
    const container = await rig.create({ ...SHELL, health: { ...probe, ...QUICK, retries: 2 } });
    const seen = follow(container, 'health');
    await container.start();
    await container.console.write(command);
    await until(() => seen.length > 0, `told of ${JSON.stringify(probe)}`);
    await container.kill();
    return `${seen.at(-1)?.health}: ${seen.at(-1)?.message}`;
  };
  expect(await health({ file: '/link' }, 'ln -s /proc/1/root/etc/passwd /link\n')).toMatch(/^unhealthy: \/link: E/);
  expect(await health({ tcp: { port: 81 } }, '\n')).toBe('unhealthy: 127.0.0.1:81: ECONNREFUSED');
  expect(await health({ http: { port: 81 } }, '\n')).toBe('unhealthy: 127.0.0.1:81: ECONNREFUSED');
  expect(await health({ exec: ['/bin/false'] }, '\n')).toBe('unhealthy: /bin/false: status 1');
  expect(await health({ exec: ['/bin/sleep', '100'], timeout: 50 }, '\n')).toMatch(/unhealthy: \/bin\/sleep: not done/);
});

test('LIF-36: a probe that leaves something behind, which holds its output, is over when it has ended; one that never stops writing, too', async () => {
  for (const [script, why] of [
    ['sleep 1000 & exit 3', 'unhealthy: /bin/sh: status 3'],
    ['sleep 1000 & exit 0', 'healthy: '],
    ['yes', 'unhealthy: /bin/sh: more than 65536 bytes of output'],
    ['trap "" TERM; sleep 1000 & sleep 1000', 'unhealthy: /bin/sh: not done within 300 ms'],
  ] as const) {
    const check = { exec: ['/bin/sh', '-c', script], interval: 20, timeout: script === 'yes' ? 10_000 : 300 };
    const container = await rig.create({ ...SHELL, health: { ...check, retries: 1, enforce: false } });
    const seen = follow(container, 'health');
    await container.start();
    await until(() => seen.length > 0, `told of ${script}`);
    await container.kill();
    expect(`${seen[0]?.health}: ${seen[0]?.message}`).toBe(why);
  }
});

test(
  'LIF-43: a health check that fails counts as a failure: the policy restarts it',
  async () => {
    const container = await rig.create({
      ...SHELL,
      health: { file: '/etc', ...QUICK, interval: 30, retries: 2 },
      restart: { policy: 'on-failure', backoff: { initial: 0 } },
    });
    const seen = follow(container, 'health');
    const decided = follow(container, 'restart-decided');
    await container.start();
    await until(() => container.health === 'healthy', 'healthy');
    await container.console.write('mv /etc /elsewhere\n');
    await until(() => container.restartCount === 1 && container.health === 'healthy', 'back and healthy', slow(20_000));
    expect(healthOf(seen)).toEqual(['healthy', 'unhealthy', 'healthy']);
    expect(decided).toMatchObject([
      { decision: 'restart', cause: 'unhealthy', message: 'its health check failed: /etc: ENOENT' },
    ]);
    // A deliberate stop stays one.
    await container.kill();
    expect(decided.at(-1)).toMatchObject({ decision: 'stay', cause: 'asked' });
  },
  slow(40_000),
);

test('where nobody would restart it, and with enforce: false, it is only told of', async () => {
  const check = { file: '/none', ...QUICK, retries: 1 };
  for (const spec of [
    { health: check },
    { health: { ...check, enforce: false }, restart: { policy: 'always' as const } },
  ]) {
    const container = await rig.start({ ...SHELL, ...spec });
    await until(() => container.health === 'unhealthy', 'unhealthy');
    await new Promise(resolve => setTimeout(resolve, 100));
    expect(container.toJSON()).toMatchObject({ state: 'running', health: 'unhealthy', restartCount: 0 });
    await container.kill();
  }
});

test(
  'a group takes an unhealthy child for a failed one, and a frozen one is not looked at',
  async () => {
    const supervisor = await rig.open();
    const container = await rig.create({ supervisor, ...SHELL, health: { file: '/etc', ...QUICK, retries: 1 } });
    const group = await supervisor.createGroup({ name: 'g', children: [container.name] });
    const seen = follow(container, 'health');
    await group.start();
    await until(() => container.health === 'healthy', 'healthy');
    await container.freeze();
    await new Promise(resolve => setTimeout(resolve, 100));
    await container.unfreeze();
    await container.console.write('mv /etc /elsewhere\n');
    await until(
      () => container.restartCount === 1 && group.state === 'running',
      'restarted by its group',
      slow(20_000),
    );
    await until(() => container.health === 'healthy', 'healthy again');
    expect(healthOf(seen)).toEqual(['healthy', 'unhealthy', 'healthy']);
  },
  slow(40_000),
);

test('what is wrong with a probe is refused with its field', async () => {
  const refused = async (spec: object, field: string): Promise<void> => {
    await expect(rig.create({ ...SHELL, ...spec })).rejects.toMatchObject({ code: 'SPEC_INVALID', field });
  };
  await refused({ ready: 'maybe' }, 'ready');
  await refused({ ready: {} }, 'ready');
  await refused({ ready: { file: '/a', exec: ['b'] } }, 'ready');
  await refused({ ready: { file: 'a' } }, 'ready.file');
  await refused({ health: { tcp: { port: 0 } } }, 'health.tcp.port');
  await refused({ health: { http: { port: 1, host: '1.2.3.256' } } }, 'health.http.host');
  await refused({ health: { http: { port: 1, path: '/a b' } } }, 'health.http.path');
  await refused({ health: { file: '/a', retries: 0 } }, 'health.retries');
});
