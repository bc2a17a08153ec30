/** Debian's systemd in each layout of cgroups that a hybrid host can show it (ENV-40 to ENV-43, ENV-71, HST-10, HST-50). */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Container } from 'caisson';
import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { IMAGE_TIMEOUT_MS, type ImageName, image } from '../lib/images.ts';
import { booted, inside } from '../lib/inside.ts';
import { mountAt, parseMounts } from '../lib/report.ts';
import { MODES, type Mode, useRig } from '../lib/rig.ts';

const rig = useRig();
const IMAGES = ['debian-12', 'debian-13'] as const;
/** Each with the hierarchies that systemd writes to, by their place below /sys/fs/cgroup. */
const LAYOUTS = {
  auto: ['.'],
  unified: ['.'],
  hybrid: ['systemd', 'unified'],
  legacy: ['systemd'],
} as const;
type Layout = keyof typeof LAYOUTS;
const limits = { memory: 512 << 20, pids: 300 };
const trees = new Map<ImageName, string>();

beforeAll(async () => {
  for (const name of IMAGES) trees.set(name, await image(name));
}, IMAGE_TIMEOUT_MS);

beforeEach(({ skip }) => {
  const { v1, v2 } = rig.supervisor.facts.cgroups;
  if (v1.length === 0 || v2 === null) skip('this host is not hybrid: there is no choice of layouts');
});

/** The directory of PID 1's cgroup in every hierarchy that is mounted inside. */
async function ownDirectories(container: Container): Promise<string[]> {
  const { text } = await inside(container, 'cat /proc/1/cgroup; echo @; cat /proc/self/mountinfo');
  const [own = '', mountinfo = ''] = text.split('\n@\n');
  const mounts = parseMounts(mountinfo.split('\n')).filter(({ point }) => point.startsWith('/sys/fs/cgroup'));
  return mounts
    .filter(({ type }) => type.startsWith('cgroup'))
    .map(({ type, point, superOptions }) => {
      const line = own.split('\n').find(line => {
        const controllers = line.split(':')[1] ?? '';
        return type === 'cgroup2' ? line.startsWith('0::') : controllers !== '' && superOptions.includes(controllers);
      });
      return `${point}${line?.replace(/^[^/]*/, '')}`;
    });
}

/** What is writable of /sys/fs/cgroup, by making a group in each hierarchy. */
const MAKE = `cd /sys/fs/cgroup; for h in . */; do h=\${h%/}
  [ -e $h/cgroup.procs ] && mountpoint -q $h || continue
  mkdir $h/mine 2>/dev/null && rmdir $h/mine && echo $h
done`;
/** Every file of a limit that is in sight, tried. */
const LIFT = `for f in /sys/fs/cgroup/memory.max /sys/fs/cgroup/pids.max /sys/fs/cgroup/*/memory.limit_in_bytes /sys/fs/cgroup/*/pids.max; do
  [ -e $f ] && echo 999999999 > $f && echo $f
done 2>/dev/null; true`;

describe.each(IMAGES.flatMap(name => MODES.map(mode => [name, mode] as const)))('%s, %s', (name, mode: Mode) => {
  test.each(Object.keys(LAYOUTS) as Layout[])('ENV-71: boots in the layout %s', async layout => {
    const container = await rig.start({
      mode,
      rootfs: { path: trees.get(name) ?? '', overlay: 'ephemeral' },
      cgroups: { layout },
      limits,
    });
    const say = async (script: string): Promise<string> => (await inside(container, script)).text;
    const state = await booted(container);
    const failed = await say('systemctl --failed --no-legend --plain');
    expect({ state, failed }).toEqual({ state: 'running', failed: '' });

    // ENV-41: it makes its slices, in what is its own of the tree.
    const slices = await say('systemctl list-units --type=slice --no-legend --plain');
    for (const slice of ['-.slice', 'system.slice', 'user.slice']) expect(slices).toContain(`${slice} `);
    const writable = LAYOUTS[layout];
    for (const place of writable.slice(0, 1)) {
      expect(await say(`ls -d /sys/fs/cgroup/${place}/init.scope /sys/fs/cgroup/${place}/system.slice | wc -l`)).toBe(
        '2',
      );
    }

    // ENV-42, HST-50: what /proc says of PID 1's place is there, in each hierarchy that is mounted.
    const own = await ownDirectories(container);
    expect(own).toHaveLength(layout === 'auto' || layout === 'unified' ? 1 : layout === 'hybrid' ? 10 : 9);
    expect(await say(`ls -d ${own.join(' ')}`)).toBe([...own].sort().join('\n'));

    // HST-10: of v1 only name=systemd can be written.
    expect((await say(MAKE)).split('\n').sort()).toEqual([...writable].sort());
    const mounts = parseMounts((await say('cat /proc/self/mountinfo')).split('\n'));
    for (const { name: hierarchy, controllers } of layout === 'hybrid' || layout === 'legacy'
      ? rig.supervisor.facts.cgroups.v1
      : []) {
      const mount = mountAt(mounts, `/sys/fs/cgroup/${hierarchy}`);
      expect([hierarchy, mount.options[0]]).toEqual([hierarchy, controllers.length === 0 ? 'rw' : 'ro']);
      // The host's own view of the hierarchy is as it was.
      expect(mount.superOptions[0], hierarchy).toBe('rw');
    }

    // ENV-41, ENV-43: its limits are out of reach, on the v1 hierarchies of the host.
    expect(await say(LIFT)).toBe('');
    const outside = (controller: string, file: string): number => {
      const { v1, prefix } = rig.supervisor.facts.cgroups;
      const base = v1.find(({ controllers }) => controllers.includes(controller))?.base ?? '';
      return Number(readFileSync(join(base, prefix, container.name, file), 'utf8'));
    };
    expect(outside('memory', 'memory.limit_in_bytes')).toBe(limits.memory);
    expect(outside('pids', 'pids.max')).toBe(limits.pids);
    // ENV-43: the v2 tree freezes and kills, whatever the payload sees.
    await container.freeze();
    await container.unfreeze();
    expect(await container.kill()).toMatchObject({ exit: { kind: 'killed' } });
  });
});
