/** The container's journal on the host (HST-21): each mode, each refusal, and what is left of it. */
import { execFileSync } from 'node:child_process';
import {
  chownSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import type { Container, Supervisor } from 'caisson';
import { describe, expect, test } from 'vitest';
import { ERRNO } from '#src/spec/errno.js';
import { IMAGE_TIMEOUT_MS, image } from '../lib/images.ts';
import { booted } from '../lib/inside.ts';
import { runElsewhere } from '../lib/other-host.ts';
import { finish, type Spec, useRig } from '../lib/rig.ts';
import { settledDifference, snapshot } from '../lib/snapshot.ts';

const rig = useRig();

const ID = '0123456789abcdef0123456789abcdef';
const DASHED = '01234567-89ab-cdef-0123-456789abcdef';
const INSIDE = `var/log/journal/${ID}`;
const WRITE = ['-c', `echo written > /${INSIDE}/system.journal; stat -c '%u:%g %a' /${INSIDE}`];

interface Place {
  readonly supervisor: Supervisor;
  /** The host's directory of journals. */
  readonly journals: string;
  readonly tree: string;
}

async function place(change: (tree: string) => void = () => undefined, options: object = {}): Promise<Place> {
  const journals = rig.directory('journals');
  const tree = rig.tree();
  writeFileSync(join(tree, 'etc/machine-id'), `${ID}\n`);
  change(tree);
  const supervisor = await rig.open({ facts: { journals, machineId: null }, ...options });
  return { supervisor, journals, tree };
}

const spec = ({ supervisor, tree }: Place, more: Spec): Spec & { supervisor: Supervisor } => ({
  supervisor,
  rootfs: tree,
  init: '/bin/sh',
  args: WRITE,
  ...more,
});

async function run(where: Place, more: Spec): Promise<Container> {
  const container = await rig.start(spec(where, more));
  const end = await finish(container);
  expect(end.exit, container.console.history().toString()).toMatchObject({ kind: 'exit', status: 0 });
  return container;
}

const told = (container: Container): string[] =>
  container
    .report()
    .entries.filter(({ code }) => code === 'journal')
    .map(({ outcome, why }) => `${outcome}: ${why}`);

describe('HST-21', () => {
  test('guest: the host has a symlink to the directory in the tree, over restarts, until the container is removed', async () => {
    const where = await place();
    const container = await run(where, { linkJournal: 'guest' });
    const link = join(where.journals, ID);
    expect(readlinkSync(link)).toBe(join(where.tree, INSIDE));
    expect(readdirSync(link)).toEqual(['system.journal']);
    await container.start();
    await finish(container);
    expect(told(container)).toEqual([]);
    await where.supervisor.remove(container.name);
    expect(readdirSync(where.journals)).toEqual([]);
    // What the payload has written is the user's tree.
    expect(existsSync(join(where.tree, INSIDE, 'system.journal'))).toBe(true);
  });

  test("host: a directory of the host's is the container's, and stays when journals are in it", async () => {
    const where = await place();
    const container = await run(where, { linkJournal: 'host' });
    const path = join(where.journals, ID);
    const owner = container.spec.idmap?.first;
    expect(lstatSync(path)).toMatchObject({ uid: owner, gid: owner });
    expect(container.console.history().toString()).toContain('0:0 755');
    expect(readdirSync(path)).toEqual(['system.journal']);
    // Inside it was covered by a mount: the tree has the place only.
    expect(readdirSync(join(where.tree, INSIDE))).toEqual([]);
    await container.start();
    await finish(container);
    await where.supervisor.remove(container.name);
    expect(readdirSync(path)).toEqual(['system.journal']);
    rmSync(path, { recursive: true });
    const silent = await run(where, { linkJournal: 'host', args: ['-c', 'true'] });
    expect(existsSync(path)).toBe(true);
    await where.supervisor.remove(silent.name);
    expect(readdirSync(where.journals)).toEqual([]);
  });

  test('host, privileged and on a persistent layer: the mount is nosuid, nodev and noexec', async () => {
    const where = await place();
    const rootfs = { path: where.tree, overlay: 'persistent' as const };
    const args = ['-c', `grep ' /${INSIDE} ' /proc/mounts; echo x > /${INSIDE}/system.journal`];
    const container = await run(where, { linkJournal: 'host', rootfs, privileged: true, args });
    expect(container.console.history().toString()).toMatch(/ rw,nosuid,nodev,noexec/);
    expect(readdirSync(join(where.journals, ID))).toEqual(['system.journal']);
  });

  test('auto: what the host has is mounted, and nothing is made', async () => {
    const where = await place();
    const idmap = { first: 1_500_000, count: 65_536 };
    const path = join(where.journals, ID);
    const without = await run(where, { linkJournal: 'auto', idmap, args: ['-c', 'true'] });
    expect(told(without)).toEqual([
      expect.stringContaining(`skipped: its journal cannot be linked: the host has no ${path}`),
    ]);
    expect(readdirSync(where.journals)).toEqual([]);
    mkdirSync(path);
    chownSync(path, idmap.first, idmap.first);
    const container = await run(where, { linkJournal: 'auto', idmap });
    expect(readdirSync(path)).toEqual(['system.journal']);
    await where.supervisor.remove(container.name);
    expect(readdirSync(where.journals)).toEqual([ID]);
  });

  test('machineId env: an image without an id has that of the container', async () => {
    const where = await place(tree => rmSync(join(tree, 'etc/machine-id')));
    await run(where, { linkJournal: 'guest', machineId: 'env', uuid: DASHED });
    expect(readdirSync(where.journals)).toEqual([ID]);
  });
});

describe('HST-21 refusals: guest and host fail the start, try- and auto tell and go on, and nothing is made', () => {
  const SLEEP: Spec = { init: '/bin/true', args: [] };

  async function refused(where: Place, modes: Spec['linkJournal'][], why: RegExp): Promise<void> {
    const before = readdirSync(where.journals);
    for (const linkJournal of modes) {
      const container = await rig.create({ ...spec(where, { linkJournal }), ...SLEEP });
      const optional = linkJournal?.startsWith('try-') === true || linkJournal === 'auto';
      if (optional) {
        await container.start();
        await finish(container);
        expect(told(container), linkJournal).toEqual([expect.stringMatching(why)]);
      } else
        await expect(container.start(), linkJournal).rejects.toMatchObject({
          code: 'JOURNAL_REFUSED',
          message: expect.stringMatching(why),
        });
      await where.supervisor.remove(container.name);
      expect(readdirSync(where.journals), linkJournal).toEqual(before);
    }
  }
  const ALL = ['guest', 'host', 'auto', 'try-guest', 'try-host'] as const;

  test("an id that is the host's", async () => {
    const where = await place(undefined, {});
    const supervisor = await rig.open({ facts: { journals: where.journals, machineId: DASHED } });
    await refused({ ...where, supervisor }, [...ALL], /is the host's/);
  });

  test('no id', async () => {
    await refused(await place(tree => writeFileSync(join(tree, 'etc/machine-id'), '')), [...ALL], /no machine id/);
  });

  test('a host without journals: the directory is not made', async () => {
    const where = await place();
    const journals = join(where.journals, 'none');
    const supervisor = await rig.open({ facts: { journals, machineId: null } });
    await refused({ ...where, supervisor }, [...ALL], /keeps no journals/);
  });

  test('something else of that name on the host', async () => {
    const where = await place();
    const path = join(where.journals, ID);
    writeFileSync(path, '');
    await refused(where, [...ALL], /neither a directory nor a symlink/);
    rmSync(path);
    symlinkSync('/nowhere', path);
    await refused(where, [...ALL], /is a symlink to \/nowhere/);
    rmSync(path);
    mkdirSync(path);
    await refused(where, ['guest', 'try-guest'], /is a directory already/);
    await refused(where, ['host', 'auto', 'try-host'], /belongs to id 0/);
  });

  test('a symlink on the way inside, which leads out of the tree', async () => {
    const outside = rig.directory('outside');
    const where = await place(tree => {
      rmSync(join(tree, 'var/log'), { recursive: true, force: true });
      mkdirSync(join(tree, 'var'), { recursive: true });
      symlinkSync(outside, join(tree, 'var/log'));
    });
    await refused(where, ['guest', 'host', 'try-guest', 'try-host'], /in the image is no directory/);
    expect(readdirSync(outside)).toEqual([]);
  });

  test('an ephemeral container; guest, where the tree is no directory of the host', async () => {
    const where = await place();
    const create = (linkJournal: Spec['linkJournal'], overlay: 'ephemeral' | 'persistent') =>
      rig.create({ ...spec(where, { linkJournal }), ...SLEEP, rootfs: { path: where.tree, overlay } });
    const field = { code: 'SPEC_INVALID', field: 'linkJournal' };
    for (const mode of ['guest', 'host'] as const) await expect(create(mode, 'ephemeral')).rejects.toMatchObject(field);
    await expect(create('guest', 'persistent')).rejects.toMatchObject(field);
    for (const [mode, overlay] of [
      ['auto', 'ephemeral'],
      ['try-guest', 'ephemeral'],
      ['try-host', 'ephemeral'],
      ['try-guest', 'persistent'],
    ] as const) {
      const container = await create(mode, overlay);
      await container.start();
      await finish(container);
      expect(told(container), `${mode} ${overlay}`).toEqual([expect.stringMatching(/^skipped: /)]);
    }
    expect(readdirSync(where.journals)).toEqual([]);
  });

  test('a mount point on either side', async () => {
    const where = await place(tree => mkdirSync(join(tree, INSIDE), { recursive: true }));
    const path = join(where.journals, ID);
    mkdirSync(path);
    const one = (linkJournal: Spec['linkJournal']) => ({
      ...rig.spec('unprivileged', { rootfs: where.tree, linkJournal, ...SLEEP }),
    });
    const facts = { journals: where.journals, machineId: null };
    const elsewhere = async (mounts: string): Promise<string[]> =>
      (
        await runElsewhere({ stateDir: rig.stateDir(), mounts, facts, specs: [one('try-host'), one('try-guest')] })
      ).flatMap(({ report }) => report.entries.filter(({ code }) => code === 'journal').map(({ why }) => why));
    const ours = await elsewhere(`mount -t tmpfs none ${path}`);
    expect(ours).toEqual([
      expect.stringContaining(`${path} on the host is a mount point`),
      expect.stringContaining('mount point'),
    ]);
    rmSync(path, { recursive: true });
    const theirs = await elsewhere(`mount -t tmpfs none ${join(where.tree, INSIDE)}`);
    expect(theirs).toEqual([
      expect.stringContaining('in the image is a mount point'),
      expect.stringContaining('mount point'),
    ]);
  });

  test('LIF-08: what a start that was killed has left is made anew by the next, and goes when the container is removed', async () => {
    const where = await place();
    const path = join(where.journals, ID);
    const target = join(where.tree, INSIDE);
    for (const [linkJournal, link] of [
      ['guest', target],
      ['host', null],
    ] as const)
      for (const next of ['start', 'remove'] as const)
        for (const state of ['made', 'not made', 'torn'] as const) {
          const container = await rig.create(spec(where, { linkJournal, ...SLEEP }));
          const record = join(where.supervisor.stateDir, container.name, 'journal-link.json');
          writeFileSync(record, state === 'torn' ? '{"path": "/va' : JSON.stringify({ path, link }));
          if (state === 'made') link === null ? mkdirSync(path) : symlinkSync(link, path);
          if (next === 'start') {
            await container.start();
            await finish(container);
            expect(readdirSync(where.journals)).toEqual([ID]);
          }
          await where.supervisor.remove(container.name);
          expect(readdirSync(where.journals), `${linkJournal} ${next} ${state}`).toEqual([]);
        }
  });

  test('two of one machine id that start at the same time: one has the journal, and keeps it', async () => {
    const where = await place();
    const other = { ...where, tree: rig.tree() };
    writeFileSync(join(other.tree, 'etc/machine-id'), `${ID}\n`);
    const script = `while ! [ -e /go ]; do sleep 0.05; done; echo x > /${INSIDE}/system.journal`;
    for (let round = 0; round < 10; round++) {
      const make = async (place: Place) => await rig.create(spec(place, { linkJournal: 'host', args: ['-c', script] }));
      const both = [await make(where), await make(other)];
      const starts = await Promise.allSettled(both.map(container => container.start()));
      const won = starts.findIndex(({ status }) => status === 'fulfilled');
      expect(starts.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
      expect(starts.find(start => start.status === 'rejected')?.reason).toMatchObject({ code: 'JOURNAL_REFUSED' });
      for (const { tree } of [where, other]) writeFileSync(join(tree, 'go'), '');
      const winner = both[won];
      if (winner !== undefined) await finish(winner);
      expect(readdirSync(join(where.journals, ID)), `round ${round}`).toEqual(['system.journal']);
      for (const { name } of both) await where.supervisor.remove(name);
      rmSync(join(where.journals, ID), { recursive: true });
      for (const { tree } of [where, other]) rmSync(join(tree, 'go'));
    }
  });

  test('LIF-07: a start that fails at any step takes back what it has made, and keeps what was there', async () => {
    const faults: Record<string, number> = {};
    const where = await place(undefined, { faults });
    for (const linkJournal of ['guest', 'host'] as const) {
      const more = { timezone: 'copy', resolvConf: 'bind-host', ...SLEEP } as const;
      const container = await rig.create(spec(where, { linkJournal, ...more }));
      const ids = container
        .plan()
        .steps.flatMap(({ id, tolerate, needs }) =>
          tolerate === undefined && (needs === undefined || linkJournal === 'host') ? [id] : [],
        );
      const failing = ids.filter(id => /mounting\.(journal|resolv|timezone|pivot|detach)|running\.exec/.test(id));
      expect(failing).toContain('mounting.journal');
      const before = snapshot({ quick: true });
      const failEach = async (left: string[]): Promise<void> => {
        for (const id of failing) {
          faults[id] = ERRNO.EIO;
          await expect(container.start(), id).rejects.toMatchObject({ step: { id } });
          delete faults[id];
          expect(readdirSync(where.journals), `${linkJournal} ${id}`).toEqual(left);
          expect(await settledDifference(before, { quick: true }), id).toBe('');
        }
      };
      await failEach([]);
      await container.start();
      await finish(container);
      expect(readdirSync(where.journals)).toEqual([ID]);
      await failEach([ID]);
      await where.supervisor.remove(container.name);
      expect(readdirSync(where.journals), linkJournal).toEqual([]);
    }
  });
});

test(
  'HST-21: journalctl -m on the host lists what the journald of a Debian has written',
  async ({ skip }) => {
    if (!existsSync('/usr/bin/journalctl')) skip('this host has no journalctl, of the package systemd');
    const journals = rig.directory('journals');
    const supervisor = await rig.open({ facts: { journals } });
    const rootfs = { path: await image('debian-12'), overlay: 'persistent' as const };
    const container = await rig.start({ supervisor, rootfs, machineId: 'env', uuid: DASHED, linkJournal: 'host' });
    await booted(container);
    expect(readdirSync(journals)).toEqual([ID]);
    await container.stop({ timeout: 20_000 });
    const listed = execFileSync('journalctl', ['--directory', journals, '-m', '-o', 'cat', '_PID=1', '--no-pager']);
    expect(listed.toString()).toContain('Startup finished');
  },
  IMAGE_TIMEOUT_MS,
);
