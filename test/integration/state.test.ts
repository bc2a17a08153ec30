/** Bad input leaves nothing; a state directory has one supervisor, and records it cannot use are set aside (design §5). */
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type CaissonError, Supervisor } from 'caisson';
import { describe, expect, test } from 'vitest';
import { useRig } from '../lib/rig.ts';

const rig = useRig();

const LONG = 'x'.repeat(300);

/** What is said, and the field that is to be named. */
const BAD: [what: string, change: Record<string, unknown>, field: string | RegExp][] = [
  ['an unknown key', { memory: 1 }, 'memory'],
  ['an unknown key below limits', { limits: { ram: 1 } }, 'limits.ram'],
  ['an unknown key below rootfs', { rootfs: { path: '/x', readonly: true } }, 'rootfs.readonly'],
  ['no name', { name: undefined }, 'name'],
  ['a name that is a number', { name: 7 }, 'name'],
  ['an empty name', { name: '' }, 'name'],
  ['a name with a slash', { name: 'a/b' }, 'name'],
  ['a name that climbs', { name: '..' }, 'name'],
  ['a name that is a path', { name: '../../etc' }, 'name'],
  ['a name with a dot', { name: 'a.b' }, 'name'],
  ['a name with NUL', { name: 'a\0b' }, 'name'],
  ['a name with a newline', { name: 'a\n' }, 'name'],
  ['a name of 300 characters', { name: LONG }, 'name'],
  ['a name of 64 characters', { name: 'x'.repeat(64) }, 'name'],
  ['a name that begins with a hyphen', { name: '-a' }, 'name'],
  ['a name outside ASCII', { name: 'wéb' }, 'name'],
  ['a name like the staging directory of another', { name: '.unfinished-a' }, 'name'],
  ['no rootfs', { rootfs: undefined }, 'rootfs'],
  ['a relative rootfs', { rootfs: 'rootfs' }, 'rootfs'],
  ['a rootfs with NUL', { rootfs: '/a\0b' }, 'rootfs'],
  ['a rootfs that is a list', { rootfs: ['/'] }, 'rootfs'],
  ['a rootfs path of 5000 characters', { rootfs: { path: `/${'x'.repeat(5000)}` } }, 'rootfs.path'],
  ['an overlay of another kind', { rootfs: { path: '/x', overlay: 'shared' } }, 'rootfs.overlay'],
  ['a relative init', { init: 'sbin/init' }, 'init'],
  ['args that are a string', { args: '-c' }, 'args'],
  ['an argument with NUL', { args: ['a\0b'] }, 'args.0'],
  ['an argument that is a number', { args: ['a', 1] }, 'args.1'],
  ['privileged as text', { privileged: 'yes' }, 'privileged'],
  ['privileged with an idmap', { privileged: true, idmap: { first: 1000, count: 10 } }, 'idmap'],
  ["an idmap at the host's root", { idmap: { first: 0, count: 10 } }, 'idmap.first'],
  ['an idmap past the last id', { idmap: { first: 4_294_967_290, count: 100 } }, /^idmap/],
  ['a negative memory limit', { limits: { memory: -1 } }, 'limits.memory'],
  ['a memory limit as text', { limits: { memory: '1G' } }, 'limits.memory'],
  ['a fractional pids limit', { limits: { pids: 1.5 } }, 'limits.pids'],
  ['a signal that is none', { signals: { halt: 'SIGSTOPP' } }, 'signals.halt'],
  ['a signal of 65', { signals: { reboot: 65 } }, 'signals.reboot'],
  ['a variable with =', { environment: { 'A=B': 'c' } }, /^environment/],
  ['a variable with NUL', { environment: { A: 'b\0' } }, 'environment.A'],
  ['container= in the environment', { environment: { container: 'docker' } }, 'environment.container'],
  ['an rlimit that is none', { rlimits: { files: { soft: 1, hard: 1 } } }, 'rlimits.files'],
  ['an rlimit without hard', { rlimits: { nofile: { soft: 1 } } }, 'rlimits.nofile.hard'],
  ['a layout that is none', { cgroups: { layout: 'v3' } }, 'cgroups.layout'],
  ['a console ring of 1 TiB', { console: { ring: 2 ** 40 } }, 'console.ring'],
  ['a window of no rows', { console: { rows: 0 } }, 'console.rows'],
  ['a host name with a blank', { hostname: 'a b' }, 'hostname'],
  ['an oom score beyond 1000', { oomScoreAdj: 1001 }, 'oomScoreAdj'],
  ['both rootfs and template', { template: 'busybox' }, 'rootfs'],
  ['a template that is none', { template: 'debian', rootfs: undefined }, 'template'],
];

/** Every file of the state directory with its content. */
function listing(dir: string): string[] {
  return readdirSync(dir, { recursive: true, encoding: 'utf8' }).sort();
}

describe('bad input', () => {
  test.each(BAD)('%s: an error naming the field, and nothing created', async (_, change, field) => {
    const before = listing(rig.supervisor.stateDir);
    const { seq } = rig.supervisor;
    const spec = Object.fromEntries(
      Object.entries({ name: 'bad', rootfs: rig.rootfs, ...change }).filter(([, value]) => value !== undefined),
    );
    const error: CaissonError = await rig.supervisor.create(spec as never).then(
      () => {
        throw new Error('it was accepted');
      },
      reason => reason,
    );
    expect(['SPEC_INVALID', 'TEMPLATE_UNKNOWN']).toContain(error.code);
    if (typeof field === 'string') expect(error.field).toBe(field);
    else expect(error.field).toMatch(field);
    expect(error.message).toContain(error.field?.split('.')[0]);
    expect(listing(rig.supervisor.stateDir)).toEqual(before);
    expect(rig.supervisor.list()).toEqual([]);
    expect(rig.supervisor.seq).toBe(seq);
  });

  test.each([undefined, null, 7, 'web', [], () => 1])('%s in place of a spec', async input => {
    await expect(rig.supervisor.create(input as never)).rejects.toMatchObject({ code: 'SPEC_INVALID' });
    expect(rig.supervisor.list()).toEqual([]);
  });

  test('a rootfs that is a file: refused by name when it is started, nothing made of it', async () => {
    const file = join(rig.directory('x'), 'rootfs');
    writeFileSync(file, '');
    await expect(rig.start({ rootfs: file })).rejects.toMatchObject({ code: 'ROOTFS_NOT_DIR', field: 'rootfs' });
    await rig.expectNothingLeft();
  });

  test('a name that is taken, also twice at once', async () => {
    const spec = { name: 'one', rootfs: rig.rootfs };
    const settled = await Promise.allSettled([rig.supervisor.create(spec), rig.supervisor.create(spec)]);
    expect(settled.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
    await expect(rig.supervisor.create(spec)).rejects.toMatchObject({ code: 'CONTAINER_EXISTS', field: 'name' });
    expect(readdirSync(rig.supervisor.stateDir).sort()).toEqual(['.journal', '.lock', 'one']);
    await rig.supervisor.remove('one');
    await expect(rig.supervisor.remove('one')).rejects.toMatchObject({ code: 'CONTAINER_NOT_FOUND' });
    expect(() => rig.supervisor.get('one')).toThrow(/no container/);
    // Free again, ids too.
    const again = await rig.supervisor.create(spec);
    expect(again.state).toBe('stopped');
  });

  test('a directory of that name which is not ours is left alone', async () => {
    const path = join(rig.supervisor.stateDir, 'mine');
    mkdirSync(path);
    writeFileSync(join(path, 'precious'), 'data');
    await expect(rig.supervisor.create({ name: 'mine', rootfs: rig.rootfs })).rejects.toMatchObject({
      code: 'CONTAINER_EXISTS',
    });
    expect(readFileSync(join(path, 'precious'), 'utf8')).toBe('data');
    rmSync(path, { recursive: true });
  });

  test('a start and a removal at once: one of them is refused', async () => {
    for (const order of ['start first', 'remove first']) {
      const container = await rig.create({ name: 'race', init: '/bin/sleep', args: ['1000'] });
      const both =
        order === 'start first'
          ? [container.start(), rig.supervisor.remove('race')]
          : [rig.supervisor.remove('race'), container.start()];
      const settled = await Promise.allSettled(both);
      expect(
        settled.filter(({ status }) => status === 'rejected'),
        order,
      ).toHaveLength(1);
      if (rig.supervisor.list().length > 0) {
        await container.kill();
        await rig.supervisor.remove('race');
      }
      expect(container.pid, order).toBeUndefined();
      await rig.expectNothingLeft();
    }
  });
});

test('two removals at once are one', async () => {
  const container = await rig.create({});
  await Promise.all([rig.supervisor.remove(container.name), rig.supervisor.remove(container.name)]);
  expect(rig.supervisor.list().map(({ name }) => name)).not.toContain(container.name);
  await expect(rig.supervisor.remove(container.name)).rejects.toMatchObject({ code: 'CONTAINER_NOT_FOUND' });
});

describe('the state directory', () => {
  test('STATE_LOCKED: a second supervisor is refused while the first has it, and not afterwards', async () => {
    const stateDir = rig.stateDir();
    const first = await rig.open({ stateDir });
    await expect(Supervisor.open({ stateDir })).rejects.toMatchObject({ code: 'STATE_LOCKED', field: 'stateDir' });
    // Nor by another way to it.
    await expect(Supervisor.open({ stateDir: `${stateDir}/../${stateDir.split('/').at(-1)}/` })).rejects.toMatchObject({
      code: 'STATE_LOCKED',
    });
    await rig.close(first);
    const second = await rig.open({ stateDir });
    await rig.close(second);
    await rig.expectNothingLeft();
  });

  /** Two containers recorded, then one record changed while no supervisor looks. */
  async function damaged(
    change: (record: string) => void,
  ): Promise<{ supervisor: Supervisor; record: string; told: string[] }> {
    const stateDir = rig.stateDir();
    const first = await rig.open({ stateDir });
    await rig.create({ supervisor: first, name: 'good', init: '/bin/true' });
    await rig.create({ supervisor: first, name: 'web', init: '/bin/true' });
    await rig.close(first);
    const record = join(stateDir, 'web', 'container.json');
    change(record);
    const supervisor = await rig.open({ stateDir });
    const told: string[] = [];
    for await (const event of supervisor.events({ since: 0, signal: AbortSignal.timeout(30) })) {
      if (event.type === 'notice' && event.code === 'record-set-aside') told.push(event.message);
    }
    return { supervisor, record, told };
  }

  const edit = (change: (stored: Record<string, unknown>) => void) => (record: string) => {
    const stored = JSON.parse(readFileSync(record, 'utf8')) as Record<string, unknown>;
    change(stored);
    writeFileSync(record, JSON.stringify(stored));
  };

  test.each<[string, (record: string) => void]>([
    ['torn', record => writeFileSync(record, readFileSync(record, 'utf8').slice(0, 40))],
    ['empty', record => writeFileSync(record, '')],
    ['not JSON', record => writeFileSync(record, '\u0000\u0001binary')],
    ['JSON of something else', record => writeFileSync(record, '[1, 2, 3]')],
    ['null', record => writeFileSync(record, 'null')],
    ['of another version', edit(stored => Object.assign(stored, { version: 2 }))],
    ['naming another container', edit(stored => Object.assign(stored.spec as object, { name: 'good' }))],
    ['naming a path', edit(stored => Object.assign(stored.spec as object, { name: '../good' }))],
    ['with an id range that is none', edit(stored => Object.assign(stored, { idmap: { first: 'root', count: -1 } }))],
    [
      "with an id range over the host's ids",
      edit(stored => Object.assign(stored, { idmap: { first: 0, count: 65_536 } })),
    ],
    ['with a spec that no longer holds', edit(stored => Object.assign(stored.spec as object, { colour: 'red' }))],
    [
      'a directory',
      record => {
        rmSync(record);
        mkdirSync(record);
        writeFileSync(join(record, 'inside'), 'x');
      },
    ],
  ])('a record that is %s is set aside and reported; the others are there', async (_, change) => {
    let content: string[] = [];
    const { supervisor, record, told } = await damaged(path => {
      change(path);
      content = existsSync(join(path, 'inside')) ? ['inside'] : [readFileSync(path, 'utf8')];
    });
    expect(supervisor.list().map(({ name }) => name)).toEqual(['good']);
    expect(existsSync(record)).toBe(false);
    const kept = existsSync(join(`${record}.bad`, 'inside')) ? ['inside'] : [readFileSync(`${record}.bad`, 'utf8')];
    expect(kept).toEqual(content);
    expect(told).toHaveLength(1);
    expect(told[0]).toContain('web');
    await supervisor.get('good').start();
    // Its name is not given to another until somebody has looked.
    await expect(rig.create({ supervisor, name: 'web' })).rejects.toMatchObject({ code: 'CONTAINER_EXISTS' });
  });

  test("a record without a container's name for its directory, and files, are not taken for containers", async () => {
    const stateDir = rig.stateDir();
    writeFileSync(join(stateDir, 'README'), 'a file');
    mkdirSync(join(stateDir, 'not a name'));
    mkdirSync(join(stateDir, 'empty'));
    mkdirSync(join(stateDir, '.unfinished-half'));
    writeFileSync(join(stateDir, '.unfinished-half', 'container.json'), '{}');
    const supervisor = await rig.open({ stateDir });
    expect(supervisor.list()).toEqual([]);
    expect(readdirSync(stateDir).sort()).toEqual(['.journal', '.lock', 'README', 'empty', 'not a name']);
  });

  test('containers survive their supervisor: same spec, ids and order', async () => {
    const stateDir = rig.stateDir();
    const first = await rig.open({ stateDir });
    for (const name of ['zeta', 'alpha', 'mid']) {
      await rig.create({ supervisor: first, name, limits: { pids: 30 }, environment: { N: name } });
      await new Promise(resolve => setTimeout(resolve, 2));
    }
    await rig.supervisor.create({ name: 'elsewhere', rootfs: rig.rootfs });
    const before = first.list().map(({ spec }) => spec);
    await rig.close(first);
    const second = await rig.open({ stateDir });
    expect(second.list().map(({ spec }) => spec)).toEqual(before);
    expect(before.map(({ name }) => name)).toEqual(['zeta', 'alpha', 'mid']);
    const firsts = before.map(({ idmap }) => idmap?.first);
    expect(new Set(firsts).size).toBe(3);
    const next = await rig.create({ supervisor: second, name: 'next' });
    expect(firsts).not.toContain(next.spec.idmap?.first);
  });

  test('a state directory that moves takes its containers with it, under a new id', async () => {
    const stateDir = rig.stateDir();
    const first = await rig.open({ stateDir });
    await rig.create({ supervisor: first, name: 'web', init: '/bin/true' });
    await rig.close(first);
    const moved = rig.stateDir();
    rmSync(moved, { recursive: true });
    renameSync(stateDir, moved);
    const second = await rig.open({ stateDir: moved });
    await second.get('web').start();
    expect(second.get('web').runDir).not.toContain(first.stateDir);
  });
});
