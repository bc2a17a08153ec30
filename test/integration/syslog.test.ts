/** /dev/log: what programs inside say to syslog (ENV-27). */
import { readFileSync } from 'node:fs';
import type { CaissonEvent, Container } from 'caisson';
import { afterEach, beforeAll, describe, expect, test } from 'vitest';
import { IMAGE_TIMEOUT_MS, image } from '../lib/images.ts';
import { booted, inside } from '../lib/inside.ts';
import { compile, REAPER } from '../lib/programs.ts';
import { endKeepers, finish, MODES, until, useRig } from '../lib/rig.ts';
import { startShell } from '../lib/shell.ts';
import { slow } from '../lib/slow.ts';
import { own } from '../lib/snapshot.ts';
import { Victim } from '../lib/victim.ts';

const rig = useRig();
const victims: Victim[] = [];
let debian = '';

beforeAll(async () => {
  debian = await image('debian-12');
}, IMAGE_TIMEOUT_MS);

afterEach(async () => {
  for (const victim of victims.splice(0)) await victim.release();
});

const texts = (container: Container): string[] => container.syslog.map(({ message }) => message);
const LOOK = 'stat -c "%F|%u:%g|%a" /dev/log';

describe.each(MODES)('%s', mode => {
  test('ENV-27: without systemd it is a socket for all, and what is said there is told', async () => {
    const { container, say } = await startShell(rig, mode);
    const events: CaissonEvent[] = [];
    container.on('syslog', event => events.push(event));
    expect(await say(LOOK)).toBe('socket|0:0|666');
    await say('mkdir -p /etc; echo "nobody:x:65534:65534::/:/bin/sh" >>/etc/passwd');
    await say('logger -t me -p daemon.err "it is $((6 * 7))"; su nobody -c "logger -t you hello"');
    await until(() => container.syslog.length === 3, 'three messages');
    expect(container.syslog).toMatchObject([
      { facility: 'daemon', severity: 'err', tag: 'me', claimedPid: null, message: 'it is 42' },
      // Told by su itself.
      { facility: 'auth', severity: 'notice', tag: 'su' },
      { facility: 'user', severity: 'notice', tag: 'you', message: 'hello' },
    ]);
    expect(events).toMatchObject([
      { type: 'syslog', severity: 'err', message: 'it is 42', untold: 0 },
      { type: 'syslog', severity: 'notice', tag: 'su', untold: 0 },
      { type: 'syslog', severity: 'notice', message: 'hello', untold: 0 },
    ]);
  });

  test('ENV-27: a syslogd of the container takes its place', async () => {
    const { container, say } = await startShell(rig, mode);
    await say('(busybox syslogd -n -O /tmp/messages &)');
    await say('until grep -q "syslogd started" /tmp/messages 2>/dev/null; do sleep 0.05; done');
    expect(await say('test -S /dev/log && logger mine; until grep mine /tmp/messages; do sleep 0.05; done')).toMatch(
      /mine/,
    );
    expect(texts(container)).toEqual([]);
  });

  test('ENV-27: with systemd it is the link that journald knows, and what is said there is in the journal', async () => {
    const container = await rig.start({ mode, rootfs: { path: debian, overlay: 'ephemeral' } });
    await booted(container);
    expect((await inside(container, 'readlink /dev/log; stat -c %u:%g /dev/log')).text).toBe(
      '/run/systemd/journal/dev-log\n0:0',
    );
    await inside(container, 'logger -t me "it is $((6 * 7))"');
    const journal = 'for i in $(seq 100); do journalctl -q -t me -o cat | grep . && break; sleep 0.1; done';
    expect((await inside(container, journal)).text).toBe('it is 42');
    expect(texts(container)).toEqual([]);
  });
});

test('ENV-27: a flood waits, is counted where it is not told, and stops nobody for ever', async () => {
  const { container, say } = await startShell(rig, 'unprivileged');
  const events: (CaissonEvent & { type: 'syslog' })[] = [];
  container.on('syslog', event => events.push(event));
  let longest = 0;
  let last = performance.now();
  const ticks = setInterval(() => {
    const now = performance.now();
    longest = Math.max(longest, now - last);
    last = now;
  }, 5);
  try {
    // syslogd's own client, without a process a message: 3000 of them.
    await say('seq 3000 | logger -t flood');
    await say('logger -t after done');
    await until(() => texts(container).at(-1) === 'done', 'the message after the flood', slow(20_000));
  } finally {
    clearInterval(ticks);
  }
  expect(container.syslog).toHaveLength(256);
  const told = events.length;
  expect(told).toBeGreaterThanOrEqual(200);
  expect(told).toBeLessThan(1000);
  expect(longest).toBeLessThan(slow(1000));
  // In the next second there may be events again, and the first says how many there were not.
  await new Promise(resolve => setTimeout(resolve, 200));
  await say('logger -t last "x\\033[2J$(head -c 9000 /dev/zero | tr "\\0" y)"');
  await until(() => events.at(-1)?.tag === 'last', 'an event after the flood');
  expect(events.length + events.reduce((sum, { untold }) => sum + untold, 0)).toBe(3002);
  expect(events.at(-1)?.message).not.toContain('\u001b');
  expect(events.at(-1)?.message.length).toBeLessThanOrEqual(8192);
});

test('ENV-27: in vain is the end of it, when the container stops while it is written to', async () => {
  const { container, say } = await startShell(rig, 'unprivileged');
  await say('(while :; do echo x; done | logger &)');
  await until(() => container.syslog.length > 50, 'messages');
  await container.kill();
  await finish(container);
});

test('ENV-27, LIF-12: the next supervisor listens, unless somebody inside does by now', async () => {
  const stateDir = rig.stateDir();
  const program = `${rig.dir}/reaper`;
  compile(program, REAPER);
  const script = (more: string): string[] => ['-c', `${more} while :; do logger again; sleep 0.1; done`];
  const syslogd = 'syslogd -n -O /tmp/messages & until grep -q started /tmp/messages; do sleep 0.05; done;';
  const specs = [
    rig.spec('unprivileged', { name: 'plain', init: '/bin/sh', args: script('') }),
    rig.spec('privileged', { name: 'root', init: '/bin/sh', args: script('') }),
    rig.spec('unprivileged', { name: 'own', init: '/bin/sh', args: script(syslogd) }),
    rig.spec('unprivileged', { name: 'link', init: '/bin/sh', args: script('ln -sf /tmp/x /dev/log;') }),
    rig.spec('unprivileged', { name: 'file', init: '/bin/sh', args: script('rm /dev/log; echo mine > /dev/log;') }),
    rig.spec('unprivileged', { name: 'bare', init: '/bin/sh', args: script('rm /dev/log;') }),
  ];
  const victim = new Victim({ stateDir, specs }, { program, mode: 'slow' });
  victims.push(victim);
  const { pids } = await victim.ready;
  const has = (text: string) => () => {
    try {
      return readFileSync(`/proc/${pids?.own}/root/tmp/messages`, 'utf8').includes(text);
    } catch {
      return false;
    }
  };
  await until(has('again'), 'its own syslogd');
  await victim.kill();
  // What it holds would do: the socket has to be made again only without it.
  endKeepers(`/run/caisson/${own(stateDir)}`);
  const supervisor = await rig.open({ stateDir });
  const plain = supervisor.get('plain');
  await until(() => texts(plain).includes('again'), 'a message after the adoption');
  expect(texts(supervisor.get('own'))).toEqual([]);
  expect(texts(supervisor.get('link'))).toEqual([]);
  const look = async (name: string): Promise<string> => (await inside(supervisor.get(name), LOOK)).text;
  for (const name of ['plain', 'root']) {
    await until(() => texts(supervisor.get(name)).includes('again'), `a message of ${name}`);
    expect(await look(name)).toBe('socket|0:0|666');
  }
  expect(await look('link')).toMatch(/^symbolic link/);
  expect((await inside(supervisor.get('file'), 'cat /dev/log')).text).toBe('mine');
  expect(await look('bare')).not.toMatch(/socket/);
  const notices: string[] = [];
  for await (const event of supervisor.events({ since: 0, signal: AbortSignal.timeout(30) }))
    if (event.type === 'notice') notices.push(event.code);
  expect(notices).not.toContain('syslog-lost');
});

test('ENV-27, LIF-12: a payload that serves its /dev itself and never answers keeps no adoption waiting', async () => {
  const stateDir = rig.stateDir();
  const program = `${rig.dir}/reaper`;
  compile(program, REAPER);
  const mute = 'exec 3<>/dev/fuse; mount -t fuse -o fd=3,rootmode=40000,user_id=0,group_id=0 x /dev;';
  const specs = [
    rig.spec('privileged', {
      name: 'mute',
      init: '/bin/sh',
      args: ['-c', `${mute} while :; do sleep 1; done`],
    }),
    rig.spec('unprivileged', {
      name: 'other',
      init: '/bin/sh',
      args: ['-c', 'while :; do logger again; sleep 0.1; done'],
    }),
  ];
  const victim = new Victim({ stateDir, specs }, { program, mode: 'slow' });
  victims.push(victim);
  const { pids } = await victim.ready;
  await until(() => / \/dev .* - fuse x /.test(readFileSync(`/proc/${pids?.mute}/mountinfo`, 'utf8')), 'its /dev');
  await victim.kill();
  // What it holds would do: the socket has to be made again only without it.
  endKeepers(`/run/caisson/${own(stateDir)}`);
  const begun = performance.now();
  const supervisor = await rig.open({ stateDir });
  const other = supervisor.get('other');
  await until(() => texts(other).includes('again'), 'a message after the adoption');
  expect(performance.now() - begun).toBeLessThan(slow(15_000));
  const lost: string[] = [];
  for await (const event of supervisor.events({ since: 0, signal: AbortSignal.timeout(slow(4000)) })) {
    if (event.type === 'notice' && event.code === 'syslog-lost') lost.push(event.message);
    if (lost.length > 0) break;
  }
  expect(lost).toEqual([expect.stringContaining('/dev/log did not answer')]);
  await supervisor.get('mute').kill();
});
