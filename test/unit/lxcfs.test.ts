import { describe, expect, test } from 'vitest';
import type { HostFacts, LxcfsFacts } from '#src/plan/facts.js';
import { compileLxcfsReplace } from '#src/plan/lxcfs.js';
import { LXCFS, PURE_V2 } from '../lib/facts.js';
import { actions, at, expectError, has, hostStepOf, initStepOf, planOf, privileged, unprivileged } from './kit.js';

const PATH = '/var/lib/lxcfs';
const on = (lxcfs: LxcfsFacts | null): HostFacts => ({ ...PURE_V2, lxcfs });

describe.each([
  ['unprivileged', unprivileged],
  ['privileged', privileged],
] as const)('%s', (_, spec) => {
  test('ENV-45, ENV-46: every file that LXCFS shows, by the same name, read-only, after proc and sysfs', () => {
    const plan = planOf(spec(), LXCFS);
    const held = actions(plan, 'bind.held');
    expect(held.map(({ name }) => name)).toEqual([
      ...['cpuinfo', 'diskstats', 'loadavg', 'meminfo', 'pressure/cpu', 'pressure/io', 'pressure/memory'].map(
        name => `proc/${name}`,
      ),
      ...['proc/slabinfo', 'proc/stat', 'proc/swaps', 'proc/uptime', 'sys/devices/system/cpu', '.'],
    ]);
    for (const { attributes } of held) {
      expect(attributes).toEqual(['MOUNT_ATTR_RDONLY', 'MOUNT_ATTR_NOSUID', 'MOUNT_ATTR_NODEV', 'MOUNT_ATTR_NOEXEC']);
    }
    const attach = initStepOf(plan, 'mounting.lxcfs.proc.pressure.cpu');
    expect(attach.action).toMatchObject({ op: 'move_mount', target: '/proc/pressure/cpu' });
    expect(attach.needs).toBe('fd:lxcfs/proc/pressure/cpu');
    expect(attach.tolerate?.map(({ errno }) => errno)).toEqual(['ENOENT', 'ENOTDIR']);
    for (const before of ['mounting.proc', 'mounting.sys', 'mounting.pivot']) {
      expect(at(plan, 'mounting.lxcfs.proc.meminfo'), before).toBeGreaterThan(at(plan, before));
    }
  });

  test('ENV-46: entry by entry where LXCFS does not show all of it', () => {
    const plan = planOf(spec(), on({ state: 'alive', path: PATH, proc: ['meminfo'], cpu: ['online'] }));
    expect(initStepOf(plan, 'mounting.lxcfs.sys.devices.system.cpu.online').action).toMatchObject({
      target: '/sys/devices/system/cpu/online',
    });
    expect(has(plan, 'mounting.lxcfs.sys.devices.system.cpu')).toBe(false);
  });

  test('ENV-47: its own directory, for containers inside, if the root file system has that', () => {
    const plan = planOf(spec(), on({ state: 'alive', path: '/srv/lxcfs', proc: [], cpu: [] }));
    expect(hostStepOf(plan, 'mounting.lxcfs.root.open').action).toMatchObject({ name: '.' });
    expect(initStepOf(plan, 'mounting.lxcfs.root').action).toMatchObject({ target: '/srv/lxcfs' });
  });

  test('ENV-44: one that is not there, has died or hangs is told of, and nothing of it is touched', () => {
    const codes = { absent: 'lxcfs-absent', dead: 'lxcfs-dead', hung: 'lxcfs-hung' } as const;
    for (const [state, code] of Object.entries(codes)) {
      const plan = planOf(spec(), on({ state: state as keyof typeof codes, path: PATH }));
      const told = plan.notices.filter(notice => notice.code.startsWith('lxcfs'));
      expect(told).toMatchObject([{ code, message: expect.stringContaining(PATH) }]);
      expect(told[0]?.outcome ?? 'degraded').toBe(state === 'absent' ? 'skipped' : 'degraded');
      expect(actions(plan, 'bind.held')).toEqual([]);
    }
  });

  test('lxcfs: off, or a supervisor that does not look: no step, no word', () => {
    const without = planOf(spec(), on(null));
    expect(planOf(spec({ lxcfs: 'off' }), { ...PURE_V2, lxcfs: LXCFS.lxcfs })).toEqual(without);
    expect(without.steps.filter(({ id }) => id.includes('lxcfs'))).toEqual([]);
    expect(without.notices.filter(({ code }) => code.startsWith('lxcfs'))).toEqual([]);
  });

  test('ENV-49: in a running container, the files of one that lives, or none of one that has died', () => {
    const alive = compileLxcfsReplace(spec(), { state: 'alive', path: PATH, proc: ['meminfo'], cpu: null });
    expect(actions(alive, 'bind.held').map(({ name }) => name)).toEqual([
      'proc/meminfo',
      'sys/devices/system/cpu',
      '.',
    ]);
    expect(actions(alive, 'live.revive')[0]?.mounts).toEqual([
      { mount: 'fd:lxcfs/proc/meminfo', target: '/proc/meminfo' },
      { mount: 'fd:lxcfs/sys/devices/system/cpu', target: '/sys/devices/system/cpu' },
      { mount: 'fd:lxcfs/.', target: PATH },
    ]);
    // What it showed is not known any more: what every LXCFS shows is looked at.
    const dead = compileLxcfsReplace(spec(), { state: 'dead', path: PATH });
    expect(actions(dead, 'bind.held')).toEqual([]);
    expect(actions(dead, 'live.revive')[0]?.mounts.map(({ target }) => target)).toEqual([
      ...['cpuinfo', 'diskstats', 'loadavg', 'meminfo', 'slabinfo', 'stat', 'swaps', 'uptime'].map(
        name => `/proc/${name}`,
      ),
      '/sys/devices/system/cpu',
      PATH,
    ]);
    for (const plan of [alive, dead]) expect(plan.steps.at(-1)?.action.op).toBe('close');
  });
});

test('the spec knows auto and off', () => {
  expect(unprivileged().lxcfs).toBe('auto');
  expectError(() => unprivileged({ lxcfs: '/var/lib/lxcfs' }), 'SPEC_INVALID', 'lxcfs');
});
