/** Paths of the host that are passed on if it has them: present, absent, refused (ENV-37 to ENV-39). */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { StartReport } from 'caisson';
import { describe, expect, test } from 'vitest';
import { runElsewhere } from '../lib/other-host.ts';
import { type Mount, parseMounts, peerGroups, SHARED_INSIDE, sections } from '../lib/report.ts';
import { MODES, useRig } from '../lib/rig.ts';

const rig = useRig();

const PATHS = {
  binfmt: '/proc/sys/fs/binfmt_misc',
  efivars: '/sys/firmware/efi/efivars',
  fuse: '/sys/fs/fuse/connections',
  pstore: '/sys/fs/pstore',
  debug: '/sys/kernel/debug',
  security: '/sys/kernel/security',
  config: '/sys/kernel/config',
  tracing: '/sys/kernel/tracing',
  selinux: '/sys/fs/selinux',
} as const;
type Name = keyof typeof PATHS;
const NAMES = Object.keys(PATHS) as Name[];
const GUARDED: readonly Name[] = ['binfmt', 'efivars', 'pstore', 'debug', 'security', 'config', 'tracing'];

const MOUNTS = 'cat /proc/self/mountinfo';
const at = (mounts: readonly Mount[], name: Name): Mount[] => mounts.filter(({ point }) => point === PATHS[name]);
const skipped = (report: StartReport): string[] =>
  report.entries.filter(({ outcome }) => outcome === 'skipped').map(({ what, why }) => `${what}: ${why}`);

/** From Linux 6.7 on a user namespace has a binfmt_misc of its own. */
function hasOwnBinfmt(): boolean {
  const { major, minor } = rig.supervisor.facts.kernel;
  return (
    (major > 6 || (major === 6 && minor >= 7)) && readFileSync('/proc/filesystems', 'utf8').includes('binfmt_misc')
  );
}

describe.each(MODES)('%s', mode => {
  const unconfined = (): boolean => mode === 'privileged' && rig.supervisor.facts.apparmor === null;

  test('ENV-38, ENV-37: what this host has is bound, what it has not is in the report', async () => {
    const { text, container } = await rig.run({ mode, script: MOUNTS });
    const mounts = parseMounts(text.split('\n').filter(Boolean));
    for (const name of NAMES) {
      const own = name === 'binfmt' && mode === 'unprivileged' && hasOwnBinfmt();
      const present = existsSync(PATHS[name]) || own;
      expect(at(mounts, name), name).toHaveLength(present ? 1 : 0);
      const told = skipped(container.report()).filter(line => line.includes(`${PATHS[name]}:`));
      expect(told, name).toEqual(present ? [] : [expect.stringMatching(/ENOENT: the host has no such path$/)]);
      for (const mount of at(mounts, name)) {
        expect(mount.options, name).toEqual(expect.arrayContaining(['nosuid', 'nodev', 'noexec']));
        expect(mount.propagation, name).toEqual(SHARED_INSIDE);
        const readOnly = name === 'selinux' || (unconfined() && GUARDED.includes(name));
        expect(mount.options, name).toContain(readOnly ? 'ro' : 'rw');
      }
    }
    // Without a profile nothing but flags of mounts keeps host root off (ENV-39).
    if (unconfined()) expect(container.report().entries.map(({ code }) => code)).toContain('unconfined');
  });

  test('ENV-38: refused or gone at the last moment, one or all, is no error', async () => {
    const EACCES = 13;
    const faults = Object.fromEntries(NAMES.map(name => [`mounting.host.${name}.open`, EACCES]));
    const supervisor = await rig.open({ faults: { ...faults, 'mounting.host.binfmt': 1 } });
    const { text, end, container } = await rig.run({ supervisor, mode, script: MOUNTS });
    expect(end.exit).toMatchObject({ kind: 'exit', status: 0 });
    const mounts = parseMounts(text.split('\n').filter(Boolean));
    for (const name of NAMES) expect(at(mounts, name), name).toEqual([]);
    const told = skipped(container.report());
    for (const name of NAMES) {
      expect(
        told.filter(line => line.includes(`${PATHS[name]}:`)),
        name,
      ).toEqual([expect.stringMatching(/(EACCES: the host does not let it be bound|EPERM: the kernel refuses it)$/)]);
    }
    // An errno that says nothing of the kind is an error.
    const broken = await rig.open({ faults: { 'mounting.host.debug.open': 12 } });
    await expect(rig.start({ supervisor: broken, mode, init: '/bin/true' })).rejects.toMatchObject({ errno: 'ENOMEM' });
  });
});

/** What a distribution mounts there; each may be missing in a kernel. */
const FULL = `
mount -t binfmt_misc none ${PATHS.binfmt}
mount -t fusectl none ${PATHS.fuse}
mount -t pstore none ${PATHS.pstore}
mount -t debugfs none ${PATHS.debug}
mount -t securityfs none ${PATHS.security}
mount -t tracefs none ${PATHS.tracing}
mount -t tmpfs none ${PATHS.tracing}/instances
mount --make-rshared /
`;

const LOOK = `
echo '@@ mounts'; ${MOUNTS}
echo '@@ debug'; ls /sys/kernel/debug; echo 1 > /sys/kernel/tracing/tracing_on
echo '@@ mine'; mount -t tmpfs mine /sys/kernel/debug && ls /sys/kernel/debug | wc -l
echo '@@ end'`;

describe('a host that has them mounted, and every mount shared', () => {
  const filesystems = readFileSync('/proc/filesystems', 'utf8')
    .split('\n')
    .map(line => line.split('\t')[1]);
  const missing = ['binfmt_misc', 'fusectl', 'pstore', 'debugfs', 'securityfs', 'tracefs'].filter(
    name => !filesystems.includes(name),
  );
  const runAll = async (facts?: object, look = '') =>
    await runElsewhere({
      stateDir: rig.stateDir(),
      mounts: FULL + look,
      specs: MODES.map(mode => rig.spec(mode, { init: '/bin/sh', args: ['-c', LOOK] })),
      ...(facts === undefined ? {} : { facts }),
    });

  test('ENV-38, ENV-39: bound with what is mounted below, severed from the host', async ({ skip }) => {
    if (missing.length > 0) skip(`this kernel has no ${missing.join(', ')} (modules are not loaded by a test)`);
    const types: Partial<Record<Name, string>> = {
      binfmt: 'binfmt_misc',
      fuse: 'fusectl',
      pstore: 'pstore',
      debug: 'debugfs',
      security: 'securityfs',
      tracing: 'tracefs',
    };
    const found = join(rig.directory('found'), 'mountinfo');
    const ran = await runAll({ apparmor: null }, `cat /proc/self/mountinfo > ${found}`);
    const host = peerGroups(parseMounts(readFileSync(found, 'utf8').trimEnd().split('\n')));
    expect(host.length).toBeGreaterThan(10);
    for (const [index, mode] of MODES.entries()) {
      const { text, end } = ran[index] ?? { text: '', end: undefined };
      expect(end?.exit, text).toMatchObject({ kind: 'exit', status: 0 });
      const report = sections(text);
      const mounts = parseMounts(report.get('mounts') ?? []);
      expect(peerGroups(mounts).filter(group => host.includes(group))).toEqual([]);
      for (const [name, type] of Object.entries(types) as [Name, string][]) {
        const [mount, ...more] = at(mounts, name);
        expect(mount, `${mode} ${name}`).toMatchObject({ type, root: '/', propagation: SHARED_INSIDE });
        expect(more).toEqual([]);
        const readOnly = mode === 'privileged' && GUARDED.includes(name);
        expect(mount?.options, `${mode} ${name}`).toContain(readOnly ? 'ro' : 'rw');
      }
      // With everything that is mounted below it, as read-only as the rest.
      const below = mounts.filter(({ point }) => point === `${PATHS.tracing}/instances`);
      expect(below, mode).toMatchObject([{ type: 'tmpfs', propagation: SHARED_INSIDE }]);
      expect(below[0]?.options, mode).toContain(mode === 'privileged' ? 'ro' : 'rw');
      const refused = mode === 'privileged' ? [/Read-only file system/] : [/Permission denied/, /Permission denied/];
      const said = (report.get('debug') ?? []).filter(line => line.startsWith('ls:') || line.includes('tracing_on'));
      expect(said).toEqual(refused.map(pattern => expect.stringMatching(pattern)));
      expect(report.get('mine')).toEqual(['0']);
    }
    // What the second payload found is the host's: the first one's mount stayed its own.
    expect(ran).toHaveLength(2);
  });

  test('ENV-39: with an LSM profile, which keeps host root off, they are bound as they are', async ({ skip }) => {
    if (missing.length > 0) skip(`this kernel has no ${missing.join(', ')} (modules are not loaded by a test)`);
    if (rig.supervisor.facts.apparmor === null) skip('this host has no AppArmor');
    const [, privileged] = await runAll();
    const report = sections(privileged?.text ?? '');
    const mounts = parseMounts(report.get('mounts') ?? []);
    for (const name of GUARDED.filter(name => at(mounts, name).length > 0)) {
      expect(at(mounts, name)[0]?.options, name).toContain('rw');
    }
    expect(report.get('debug')?.[0]).toMatch(/ls:.*Permission denied/);
  });
});

test('ENV-38: a path that the host has and the kernel shows nowhere in a container is left out', async ({ skip }) => {
  if (existsSync('/sys/firmware/efi')) skip('this kernel has efivars: it shows them in a container, too');
  const [ran] = await runElsewhere({
    stateDir: rig.stateDir(),
    mounts: 'mount -t tmpfs none /sys/firmware; mkdir -p /sys/firmware/efi/efivars; touch /sys/firmware/efi/efivars/x',
    // In a user namespace the kernel itself wants to see all of sysfs, and refuses.
    specs: [rig.spec('privileged', { init: '/bin/sh', args: ['-c', 'ls /sys/firmware'] })],
  });
  expect(ran?.end.exit).toMatchObject({ kind: 'exit', status: 0 });
  expect(skipped(ran?.report as StartReport).filter(line => line.includes('efivars'))).toEqual([
    'attach /sys/firmware/efi/efivars: ENOENT: the kernel shows no such path in the namespaces of the container',
  ]);
});

test('ENV-38: an unprivileged container has a binfmt_misc of its own, and what it registers is nobody else’s', async ({
  skip,
}) => {
  if (!hasOwnBinfmt()) skip('this kernel has no binfmt_misc of user namespaces (Linux 6.7)');
  const script = `
    printf '#!/bin/echo\\n' > /root/interpreter; chmod 755 /root/interpreter
    echo ':caisson-test:E::cstest::/bin/echo:' > ${PATHS.binfmt}/register && ls -1 ${PATHS.binfmt}
    printf x > /root/program.cstest; chmod 755 /root/program.cstest; /root/program.cstest said`;
  const { lines } = await rig.run({ script });
  expect(lines).toEqual(['caisson-test', 'register', 'status', '/root/program.cstest said']);
  const host = execFileSync('unshare', [
    ...['--mount', '--propagation', 'private', 'sh', '-c'],
    `mount -t binfmt_misc none ${PATHS.binfmt} && ls ${PATHS.binfmt}`,
  ]).toString();
  expect(host).not.toContain('caisson-test');
});
