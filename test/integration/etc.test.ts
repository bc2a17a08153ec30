/** Files of /etc that follow the host: the time zone (HST-20) and the name servers (HST-56). */
import { execFileSync } from 'node:child_process';
import {
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { type RanElsewhere, runElsewhere } from '../lib/other-host.ts';
import { sections } from '../lib/report.ts';
import { MODES, type Mode, type SpecInput, useRig } from '../lib/rig.ts';

const rig = useRig();

const ZONE = 'Test/Nowhere';

/** A host in that zone, with systemd-resolved; all of it in a mount namespace of its own. */
function host(): string {
  const dir = rig.directory('host');
  const over = (path: string, name: string): string =>
    `mkdir ${dir}/${name} ${dir}/${name}.work
     mount -t overlay overlay -o lowerdir=${path},upperdir=${dir}/${name},workdir=${dir}/${name}.work ${path}`;
  return `mount -t tmpfs none ${dir}
${over('/etc', 'etc')}
${over('/usr/lib/systemd', 'lib')}
mount -t tmpfs none /run
mkdir -p /run/systemd/resolve
mount -t tmpfs none /usr/share/zoneinfo
mkdir /usr/share/zoneinfo/Test; echo copied > /usr/share/zoneinfo/${ZONE}
ln -sfn /usr/share/zoneinfo/${ZONE} /etc/localtime
rm -f /etc/resolv.conf; echo '# host' > /etc/resolv.conf
echo '# static' > /usr/lib/systemd/resolv.conf
echo '# uplink' > /run/systemd/resolve/resolv.conf
echo '# stub' > /run/systemd/resolve/stub-resolv.conf`;
}

const LOOK = `
echo '@@ localtime'; readlink /etc/localtime || cat /etc/localtime; stat -c '%u:%g' /etc/localtime
echo '@@ resolv'; readlink /etc/resolv.conf; cat /etc/resolv.conf; stat -c '%u:%g %a' /etc/resolv.conf
echo '@@ etc'; ls -A /etc
echo '@@ mount'; grep ' /etc/' /proc/mounts
echo '@@ end'`;

function spec(mode: Mode, tree: string, more: Partial<SpecInput>): SpecInput {
  return rig.spec(mode, {
    rootfs: { path: tree, overlay: 'ephemeral' },
    init: '/bin/sh',
    args: ['-c', LOOK],
    ...more,
  });
}

/** A tree of its own, changed. */
function treeWith(change: (etc: string, tree: string) => void = () => undefined): string {
  const tree = rig.tree();
  mkdirSync(join(tree, 'usr/share/zoneinfo/Test'), { recursive: true });
  writeFileSync(join(tree, 'usr/share/zoneinfo', ZONE), 'a zone\n');
  change(join(tree, 'etc'), tree);
  return tree;
}

const told = ({ report }: RanElsewhere): string[] =>
  report.entries
    .filter(({ code }) => code === 'timezone' || code === 'resolv-conf')
    .map(({ code, outcome, why }) => `${code} ${outcome}: ${why}`);

/** What each of these containers saw and was told, in that order, on a host as above. */
async function seen(specs: SpecInput[], mounts = host()): Promise<{ look: Map<string, string[]>; told: string[] }[]> {
  const ran = await runElsewhere({ stateDir: rig.stateDir(), mounts, specs });
  expect(ran).toHaveLength(specs.length);
  return ran.map(one => {
    expect(one.end.exit, one.text).toMatchObject({ kind: 'exit', status: 0 });
    const look = sections(one.text);
    expect(look.has('end'), one.text).toBe(true);
    expect(
      look.get('etc')?.filter(name => name.startsWith('.')),
      'left in /etc',
    ).toEqual([]);
    return { look, told: told(one) };
  });
}

describe.each(MODES)('%s', mode => {
  test('HST-20: a relative symlink if the image has that zone, a copy when asked for, nothing by default', async () => {
    const tree = treeWith(etc => writeFileSync(join(etc, 'localtime'), "the image's\n"));
    const without = rig.tree();
    const [off, symlink, copy, unknown] = await seen([
      spec(mode, tree, {}),
      spec(mode, tree, { timezone: 'symlink' }),
      spec(mode, tree, { timezone: 'copy' }),
      spec(mode, without, { timezone: 'symlink' }),
    ]);
    expect(off?.look.get('localtime')).toEqual(["the image's", '0:0']);
    expect(symlink?.look.get('localtime')).toEqual([`../usr/share/zoneinfo/${ZONE}`, '0:0']);
    expect(copy?.look.get('localtime')).toEqual(['copied', '0:0']);
    expect(unknown?.look.get('etc')).not.toContain('localtime');
    expect([off, symlink, copy].flatMap(one => one?.told)).toEqual([]);
    expect(unknown?.told).toEqual([`timezone skipped: the image has no time zone ${ZONE}, which is the host's`]);
  });

  test('HST-56: each mode, in a tree that has the file', async () => {
    const tree = treeWith(etc => writeFileSync(join(etc, 'resolv.conf'), "# the image's\n"));
    const modes = ['copy', 'replace', 'bind'].flatMap(how =>
      ['host', 'static', 'uplink', 'stub'].map(from => [how, from] as const),
    );
    const all = await seen([
      ...modes.map(([how, from]) => spec(mode, tree, { resolvConf: `${how}-${from}` as 'copy-host' })),
      spec(mode, tree, { resolvConf: 'auto' }),
      spec(mode, tree, { resolvConf: 'off' }),
      spec(mode, tree, { resolvConf: 'delete' }),
    ]);
    for (const [index, [how, from]] of modes.entries()) {
      const { look, told } = all[index] ?? { look: new Map<string, string[]>(), told: ['nothing'] };
      const what = `${how}-${from}`;
      expect(look.get('resolv')?.[0], what).toBe(`# ${from}`);
      expect(told, what).toEqual([]);
      const mounts = look.get('mount') ?? [];
      expect(mounts, what).toHaveLength(how === 'bind' ? 1 : 0);
      // Bound, it is the host's root's.
      const owner = how === 'bind' && mode === 'unprivileged' ? '65534:65534 644' : '0:0 644';
      expect(look.get('resolv')?.[1], what).toBe(owner);
      for (const mount of mounts) expect(mount, what).toMatch(/ \/etc\/resolv\.conf \S+ ro,nosuid,nodev,noexec/);
    }
    const [auto, off, deleted] = all.slice(modes.length);
    expect(auto?.look.get('resolv')?.[0]).toBe("# the image's");
    expect(off?.look.get('resolv')?.[0]).toBe("# the image's");
    expect(deleted?.look.get('etc')).not.toContain('resolv.conf');
    expect([auto, off, deleted].flatMap(one => one?.told)).toEqual([]);
  });

  test('HST-20, HST-56: a symlink in the image leads nowhere outside of it', async () => {
    const outside = rig.directory('outside');
    writeFileSync(join(outside, 'file'), 'safe\n');
    const linked = treeWith(etc => {
      symlinkSync(join(outside, 'file'), join(etc, 'localtime'));
      symlinkSync(join(outside, 'file'), join(etc, 'resolv.conf'));
    });
    const moved = treeWith((etc, tree) => {
      rmSync(etc, { recursive: true });
      symlinkSync(outside, join(tree, 'etc'));
    });
    const all = await seen([
      spec(mode, linked, { timezone: 'copy', resolvConf: 'copy-host' }),
      spec(mode, linked, { timezone: 'symlink', resolvConf: 'bind-host' }),
      spec(mode, linked, { resolvConf: 'replace-host' }),
      spec(mode, linked, { resolvConf: 'delete' }),
      spec(mode, moved, { timezone: 'copy', resolvConf: 'replace-host' }),
      spec(mode, moved, { timezone: 'symlink', resolvConf: 'bind-host' }),
      spec(mode, moved, { resolvConf: 'delete' }),
    ]);
    const skipped = "resolv-conf skipped: the image's /etc/resolv.conf is a symlink";
    expect(all[0]?.told).toEqual([skipped]);
    expect(all[0]?.look.get('resolv')?.[0]).toBe(join(outside, 'file'));
    expect(all[1]?.told).toEqual([skipped]);
    expect(all[1]?.look.get('localtime')?.[0]).toBe(`../usr/share/zoneinfo/${ZONE}`);
    expect(all[2]?.look.get('resolv')?.[0]).toBe('# host');
    expect(all[3]?.look.get('etc')).not.toContain('resolv.conf');
    for (const one of all.slice(4)) expect(one.told[0]).toMatch(/degraded: .*ENOENT/);
    expect(readdirSync(outside)).toEqual(['file']);
    expect(readFileSync(join(outside, 'file'), 'utf8')).toBe('safe\n');
  });

  test('HST-20, HST-56: a host without these files is no matter', async () => {
    const tree = treeWith();
    const bare = `${host()}\nrm -f /etc/resolv.conf /etc/localtime; echo x > /etc/localtime; rm -r /run/systemd`;
    const [copy, bind] = await seen(
      [
        spec(mode, tree, { timezone: 'symlink', resolvConf: 'copy-host' }),
        spec(mode, tree, { resolvConf: 'bind-stub' }),
      ],
      bare,
    );
    expect(copy?.told).toEqual([
      "timezone skipped: the host's /etc/localtime is no symlink to a time zone",
      'resolv-conf skipped: the host has no /etc/resolv.conf',
    ]);
    expect(bind?.told).toEqual(['resolv-conf skipped: the host has no /run/systemd/resolve/stub-resolv.conf']);
  });
});

test('HST-20, HST-56: without a layer they are the tree’s own root’s on disk, and the same start again changes nothing', async () => {
  const tree = treeWith();
  const plain = { rootfs: tree, timezone: 'symlink', resolvConf: 'copy-host' } as const;
  const mounts = host();
  await seen([spec('unprivileged', tree, plain)], mounts);
  expect(readlinkSync(join(tree, 'etc/localtime'))).toBe(`../usr/share/zoneinfo/${ZONE}`);
  for (const name of ['localtime', 'resolv.conf'])
    expect(lstatSync(join(tree, 'etc', name)), name).toMatchObject({ uid: 0, gid: 0 });
  const before = lstatSync(join(tree, 'etc/localtime')).ino;
  await seen([spec('unprivileged', tree, plain)], host());
  expect(lstatSync(join(tree, 'etc/localtime')).ino).toBe(before);
  expect(readdirSync(join(tree, 'etc')).filter(name => name.startsWith('.'))).toEqual([]);
});

test('HST-20, HST-56: a tree that is read-only, or whose root may not write /etc, is no error', async () => {
  const readOnly = treeWith();
  const foreign = treeWith(etc => execFileSync('chown', ['1234', etc]));
  const more = { timezone: 'copy', resolvConf: 'replace-host' } as const;
  const [ro, other] = await seen(
    [
      spec('unprivileged', readOnly, { ...more, rootfs: readOnly }),
      spec('unprivileged', foreign, { ...more, rootfs: foreign }),
    ],
    `${host()}\nmount --bind ${readOnly} ${readOnly}; mount -o remount,bind,ro ${readOnly}`,
  );
  expect(ro?.told).toEqual([
    expect.stringMatching(/^timezone skipped: .*EROFS/),
    expect.stringMatching(/^resolv-conf skipped: .*EROFS/),
  ]);
  expect(other?.told).toEqual([
    expect.stringMatching(/^timezone degraded: .*EACCES/),
    expect.stringMatching(/^resolv-conf degraded: .*EACCES/),
  ]);
});
