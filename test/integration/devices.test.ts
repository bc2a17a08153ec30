/** The device table and policy in every branch: nodes made and nodes bound, v1 controller and BPF (ENV-17 to ENV-25). */
import { lstatSync } from 'node:fs';
import type { CaissonEvent, Supervisor } from 'caisson';
import { describe, expect, test } from 'vitest';
import { compileInto, TERMINAL } from '../lib/programs.ts';
import { mountAt, parseMounts, sections } from '../lib/report.ts';
import { finish, MODES, useRig, waitForText } from '../lib/rig.ts';

const rig = useRig({ prepare: rootfs => compileInto(rootfs, 'terminal', TERMINAL) });

const NODES = ['null', 'zero', 'full', 'random', 'urandom', 'tty', 'fuse', 'net/tun'] as const;

interface HostNode {
  readonly path: string;
  readonly mode: string;
  readonly owner: string;
}

/** Host nodes as they are: recorded before, to be the same after. */
function hostNodes(): HostNode[] {
  return NODES.flatMap(path => {
    const stat = lstatSync(`/dev/${path}`, { throwIfNoEntry: false });
    if (stat === undefined) return [];
    return [{ path, mode: (stat.mode & 0o7777).toString(8), owner: `${stat.uid}:${stat.gid}` }];
  });
}

function noticesSince(supervisor: Supervisor): { codes: () => string[]; messages: () => string[]; stop: () => void } {
  const seen: Extract<CaissonEvent, { type: 'notice' }>[] = [];
  const stop = supervisor.on(event => {
    if (event.type === 'notice') seen.push(event);
  });
  return { codes: () => seen.map(({ code }) => code), messages: () => seen.map(({ message }) => message), stop };
}

describe.each(MODES)('%s', mode => {
  test('ENV-17: a umask of 077 in the manager bends no mode', async () => {
    const script = `cd /dev; stat -c '%n %a' . ${NODES.join(' ')} net pts shm mqueue console pts/0 pts/ptmx / /sys/fs/cgroup; umask`;
    const plain = await rig.run({ mode, script });
    const before = process.umask(0o077);
    try {
      const bent = await rig.run({ mode, script });
      expect(bent.lines).toEqual(plain.lines);
      // Also of what is made in a layout with a directory per hierarchy.
      const look = 'cd /sys/fs/cgroup; stat -c "%n %a" . *';
      for (const layout of ['hybrid', 'legacy'] as const) {
        const facts = rig.supervisor.facts.cgroups;
        if (facts.v1.length === 0 || facts.v2 === null) continue;
        const { lines } = await rig.run({ mode, script: look, cgroups: { layout } });
        for (const line of lines) expect(line).toMatch(/ 755$/);
      }
    } finally {
      process.umask(before);
    }
    expect(plain.lines.slice(0, 1 + NODES.length)).toEqual(['. 755', ...NODES.map(path => `${path} 666`)]);
    expect(plain.lines.at(-1)).toBe('0022');
  });

  test("ENV-19, ENV-20: where nodes cannot be made the host's are bound, and keep mode and owner", async () => {
    const before = hostNodes();
    const supervisor = await rig.open({ facts: { mknod: false } });
    const notices = noticesSince(supervisor);
    const { text } = await rig.run({
      supervisor,
      mode,
      script: `
        echo '@@ mounts'; grep ' /dev/' /proc/self/mountinfo
        echo '@@ modes'; cd /dev; for n in ${NODES.join(' ')}; do [ -e $n ] && stat -c '%n %a' $n; done
        echo '@@ use'; echo x > null && head -c 4 zero | od -An -tx1 && head -c 8 urandom | wc -c
        echo x > full; terminal
        echo '@@ end'`,
    });
    notices.stop();
    const report = sections(text);
    expect(report.has('end'), text).toBe(true);
    const mounts = parseMounts(report.get('mounts') ?? []);
    for (const { path } of before) expect(mountAt(mounts, `/dev/${path}`), path).toMatchObject({ root: `/${path}` });
    expect(report.get('modes')).toEqual(before.map(({ path, mode: hostMode }) => `${path} ${hostMode}`));
    expect(report.get('use')).toEqual([
      ' 00 00 00 00',
      '8',
      expect.stringContaining('No space left'),
      expect.stringMatching(/^\/dev\/pts\/\d+$/),
    ]);
    expect(hostNodes()).toEqual(before);
    // Host nodes narrower than the table: 0600 /dev/fuse and /dev/net/tun are common.
    const narrow = before.filter(node => (Number.parseInt(node.mode, 8) & 0o666) !== 0o666);
    expect(notices.codes().filter(code => code === 'device-degraded')).toHaveLength(narrow.length);
    for (const { path } of narrow) expect(notices.messages().join('\n')).toContain(`/dev/${path}`);
  });

  test('ENV-19: an optional node that the host has not is left out, a necessary one refuses the start', async () => {
    const all = rig.supervisor.facts.deviceNodes;
    const { fuse: _fuse, ...withoutFuse } = all;
    const supervisor = await rig.open({ facts: { mknod: false, deviceNodes: withoutFuse } });
    const { lines } = await rig.run({ supervisor, mode, script: 'ls /dev/fuse; ls -1 /dev/null' });
    expect(lines).toEqual([expect.stringContaining('No such file'), '/dev/null']);
    const { null: _null, ...withoutNull } = all;
    const poor = await rig.open({ facts: { mknod: false, deviceNodes: withoutNull } });
    const refused = { code: 'HOST_UNSUPPORTED', message: expect.stringContaining('/dev/null') };
    await expect(rig.start({ supervisor: poor, mode, init: '/bin/true' })).rejects.toMatchObject(refused);
    expect(poor.list()).toEqual([]);
  });

  test('ENV-30: each node is found by its number, too', async () => {
    const script = `
      cd /dev/char; ls -1 | wc -l
      for link in *; do [ "$(stat -L -c '%t:%T' $link)" = "$(printf '%x:%x' $(echo $link | tr : ' '))" ] || echo $link; done
      stat -c '%N %u:%g' 1:3 10:200`;
    const { lines } = await rig.run({ mode, script });
    expect(lines).toEqual(['8', "'1:3' -> '../null' 0:0", "'10:200' -> '../net/tun' 0:0"]);
  });

  test('ENV-25: a PID 1 that prints 10 MB with no reader finishes, and the last of it is kept', async () => {
    const size = 10 * 1024 * 1024;
    const script = `head -c ${size - 3} /dev/zero | tr '\\0' x; printf end`;
    const container = await rig.create({ mode, init: '/bin/sh', args: ['-c', script] });
    await container.start();
    const end = await finish(container);
    expect(end.exit).toMatchObject({ kind: 'exit', status: 0 });
    expect(container.console.end).toBe(size);
    const kept = container.console.history();
    expect(kept).toHaveLength(128 * 1024);
    expect(kept.toString().slice(-5)).toBe('xxend');
  });
});

/** Where the policy is: on the v1 controller, or, as on a host without it, a BPF program on the v2 cgroup. */
const BACKENDS = ['as found', 'BPF'] as const;

async function backend(name: (typeof BACKENDS)[number]): Promise<Supervisor> {
  if (name === 'as found') return rig.supervisor;
  const { v1, v2 } = rig.supervisor.facts.cgroups;
  if (v2 === null || !rig.supervisor.facts.bpfDevicePolicy) throw new Error('this host has no cgroup v2 with BPF');
  return await rig.openWith({ v1: v1.filter(({ controllers }) => !controllers.includes('devices')) });
}

/** 8:0 is what no container may read. Where the machine has no such disk, a missing policy shows as ENXIO. */
const TRY = (where: string): string => `
  cd ${where}
  mknod x b 8 0 && dd if=x of=/dev/null count=1 2>&1 | grep -i 'permi\\|no such'
  mknod n c 1 3 && echo y > n && echo 'null written'
  mknod m c 1 1 && dd if=m of=/dev/null count=1 2>&1 | grep -i 'permi\\|no such'
  mknod k c 1 11 && { : < k; } 2>&1 | grep -o 'Operation not permitted'
  mknod r c 1 8 && head -c 4 r | wc -c
`;

describe.each(BACKENDS)('device policy: %s', name => {
  test('ENV-21: privileged: nodes can be made, those of the table used, others not', async () => {
    const supervisor = await backend(name);
    const plan = (await rig.create({ supervisor, mode: 'privileged' })).plan();
    const policy = plan.steps.filter(({ id }) => id.includes('policy'));
    expect(policy.map(({ action }) => action.op)).toEqual(
      name === 'BPF' || supervisor.facts.cgroups.v1.length === 0 ? ['policy.bpf'] : ['write', 'write.lines'],
    );
    // On the root file system: a tmpfs of the container's own would be another mount.
    const { lines } = await rig.run({ supervisor, mode: 'privileged', script: TRY('/root') });
    expect(lines).toEqual([
      expect.stringContaining('Operation not permitted'),
      'null written',
      expect.stringContaining('Operation not permitted'),
      'Operation not permitted',
      '4',
    ]);
  });

  test('ENV-23: devices.mknod: table refuses to make what is not in the table', async () => {
    const supervisor = await backend(name);
    const script = `cd /root
      mknod x b 8 0; mknod k c 1 11; mknod n c 1 3 && echo y > n && echo 'null written'; mknod f p && echo 'fifo made'`;
    const table = await rig.run({ supervisor, mode: 'privileged', devices: { mknod: 'table' }, script });
    expect(table.lines).toEqual([
      expect.stringMatching(/x.*Operation not permitted/),
      expect.stringMatching(/k.*Operation not permitted/),
      'null written',
      'fifo made',
    ]);
    const any = await rig.run({ supervisor, mode: 'privileged', devices: { mknod: 'any' }, script });
    expect(any.lines).toEqual(['null written', 'fifo made']);
  });

  test("ENV-21: unprivileged: the kernel makes no device node, and the table's work under the policy", async () => {
    const supervisor = await backend(name);
    const script =
      'cd /root; mknod n c 1 3; echo x > /dev/null && head -c 4 /dev/zero | wc -c; : <>/dev/fuse && terminal';
    const { lines } = await rig.run({ supervisor, script });
    expect(lines).toEqual([expect.stringContaining('Operation not permitted'), '4', '/dev/pts/1']);
  });

  test.each(['hybrid', 'legacy'] as const)(
    'ENV-21: privileged, %s layout: the same policy, and the payload cannot widen it',
    async layout => {
      const supervisor = await backend(name);
      const { v1, v2 } = supervisor.facts.cgroups;
      if (v1.length === 0 || v2 === null) {
        console.log(`not tried: this host is not hybrid, it has no ${layout} layout to choose`);
        return;
      }
      const script = `${TRY('/root')}
      cd /sys/fs/cgroup/devices && echo a > devices.allow && echo 'all allowed'
      dd if=/root/x of=/dev/null count=1 2>&1 | grep -i 'permi\\|no such'`;
      const { lines } = await rig.run({ supervisor, mode: 'privileged', cgroups: { layout }, script });
      expect(lines.slice(0, 5)).toEqual([
        expect.stringContaining('Operation not permitted'),
        'null written',
        expect.stringContaining('Operation not permitted'),
        'Operation not permitted',
        '4',
      ]);
      expect(lines).not.toContain('all allowed');
      expect(lines.at(-1)).toMatch(/dd:.*Operation not permitted/);
    },
  );
});

describe('ENV-22: no policy can be installed', () => {
  const without = async (): Promise<Supervisor> => {
    const { v1 } = rig.supervisor.facts.cgroups;
    return await rig.openWith(
      { v1: v1.filter(({ controllers }) => !controllers.includes('devices')) },
      { bpfDevicePolicy: false },
    );
  };

  test('privileged: refused before anything is touched', async () => {
    const supervisor = await without();
    const refused = { code: 'DEVICE_POLICY_REFUSED', hint: expect.stringContaining('BPF') };
    await expect(rig.start({ supervisor, mode: 'privileged', init: '/bin/true' })).rejects.toMatchObject(refused);
    expect(supervisor.list()).toEqual([]);
  });

  test('unprivileged: runs, and says so', async () => {
    const supervisor = await without();
    const notices = noticesSince(supervisor);
    const { lines } = await rig.run({ supervisor, script: 'echo on' });
    notices.stop();
    expect(lines).toEqual(['on']);
    expect(notices.codes()).toContain('device-policy-none');
  });
});

test('ENV-24: without a mapped gid 5 devpts has no gid option, and ptys still work', async () => {
  const idmap = { first: 300_000_000, count: 5 };
  const { lines } = await rig.run({
    idmap,
    script: 'grep devpts /proc/self/mountinfo | head -n 1; terminal; stat -c "%u:%g %a" /dev/console',
  });
  const [mounts = '', ...rest] = lines;
  expect(mountAt(parseMounts([mounts]), '/dev/pts').superOptions.filter(option => option.startsWith('gid='))).toEqual(
    [],
  );
  expect(rest).toEqual(['/dev/pts/1', '0:0 620']);
});

test('ENV-22: the policy of one container does not outlive it, nor reach another', async () => {
  const supervisor = await backend('BPF');
  const narrow = await rig.start({
    supervisor,
    mode: 'privileged',
    devices: { mknod: 'table' },
    init: '/bin/sleep',
    args: ['1000'],
  });
  const { lines } = await rig.run({ supervisor, mode: 'privileged', script: 'mknod /root/x b 8 0 && echo made' });
  expect(lines).toEqual(['made']);
  await narrow.kill();
  const again = await rig.start({
    supervisor,
    mode: 'privileged',
    name: `${narrow.name}x`,
    init: '/bin/sh',
    args: ['-c', 'mknod /root/x b 8 0 && echo made'],
  });
  await waitForText(again, 'made');
});

test('ENV-70: a privileged container on a plain directory is refused, unless allowed by name', async () => {
  const refused = {
    code: 'ROOTFS_SHARES_HOST_SUPERBLOCK',
    field: 'rootfs.overlay',
    hint: expect.stringContaining('allowSharedSuperblock'),
  };
  await expect(rig.start({ mode: 'privileged', rootfs: rig.rootfs, init: '/bin/true' })).rejects.toMatchObject(refused);
  expect(rig.supervisor.list()).toEqual([]);
  const allowed = await rig.run({
    mode: 'privileged',
    rootfs: { path: rig.rootfs, allowSharedSuperblock: true },
    script: 'echo runs',
  });
  expect(allowed.lines).toEqual(['runs']);
});
