/** Credentials (HST-18, HST-41) and the variable that leads to them (ENV-52). */

import { explain, explainJSON } from 'caisson';
import { describe, expect, test } from 'vitest';
import { IMAGE_TIMEOUT_MS, image } from '../lib/images.ts';
import { sections } from '../lib/report.ts';
import { MODES, useRig } from '../lib/rig.ts';

const rig = useRig();

const SECRET = 'correct horse battery staple';
const credentials = { 'db.password': SECRET, key: { base64: 'AAH/' }, large: 'x'.repeat(300_000) };

const REPORT = `exec 2>&1
echo '@@ environ'; tr '\\0' '\\n' </proc/1/environ
cd /run/host/credentials
echo '@@ files'; stat -c '%n|%F|%u:%g|%a|%s' . *
echo '@@ key'; od -An -tx1 key
echo '@@ secret'; [ "$(cat db.password)" = '${SECRET.split(' ').join("'' ''")}' ] && echo same
echo '@@ type'; grep ' /run/host/credentials ' /proc/mounts
echo '@@ writes'; mount -o remount,rw,bind /run/host/credentials; touch new; rm -f key
echo '@@ end'`;

describe.each(MODES)('%s', mode => {
  test('HST-18: files 0400 in a directory 0500 of container root, on a read-only ramfs; ENV-52', async () => {
    const { text, container } = await rig.run({ mode, credentials, script: REPORT });
    const report = sections(text);
    expect(report.has('end'), text).toBe(true);
    expect(report.get('environ')).toEqual(['container=lxc', 'CREDENTIALS_DIRECTORY=/run/host/credentials']);
    expect(report.get('files')).toEqual([
      '.|directory|0:0|500|0',
      'db.password|regular file|0:0|400|28',
      'key|regular file|0:0|400|3',
      'large|regular file|0:0|400|300000',
    ]);
    expect(report.get('key')).toEqual([' 00 01 ff']);
    expect(report.get('secret')).toEqual(['same']);
    expect(report.get('type')?.[0]).toMatch(/ ramfs ro,nosuid,nodev,noexec/);
    const writes = report.get('writes') ?? [];
    expect(writes.filter(line => line.includes('Read-only file system')).length).toBe(2);
    // Neither in what is shown of the plan, nor of the container.
    const plan = container.plan();
    const shown = [explain(plan), explainJSON(plan), JSON.stringify(container), JSON.stringify(container.report())];
    for (const output of shown) {
      expect(output).not.toContain(Buffer.from(SECRET).toString('base64'));
      expect(output).not.toContain(SECRET);
    }
    expect(explain(plan)).toContain('db.password');
  });

  test('HST-18: without any there is no variable, and an empty directory', async () => {
    const script = 'tr "\\0" "\\n" </proc/1/environ; ls -A /run/host/credentials; grep -c credentials /proc/mounts';
    const { lines } = await rig.run({ mode, script });
    expect(lines).toEqual(['container=lxc', '0']);
  });
});

test('ENV-52: the report lists every variable that a feature added, and no other is there', async () => {
  const script = 'tr "\\0" "\\n" </proc/1/environ | cut -d= -f1';
  const spec = {
    credentials: { key: 'x' },
    machineId: 'env',
    ready: 'notify',
    environment: { LANG: 'C.UTF-8' },
  } as const;
  const { lines, container } = await rig.run({ ...spec, script });
  const entry = container.report().entries.find(({ code }) => code === 'environment');
  expect(entry?.outcome).toBe('done');
  const listed = [...(entry?.why ?? '').matchAll(/(\w+) \((\w+)\)/g)].map(([, name, field]) => [name, field]);
  expect(Object.fromEntries(listed)).toEqual({
    container_uuid: 'machineId',
    NOTIFY_SOCKET: 'ready',
    CREDENTIALS_DIRECTORY: 'credentials',
    LANG: 'environment',
  });
  expect(lines.sort()).toEqual(['container', ...listed.map(([name]) => name)].sort());
  const plain = await rig.run({ script });
  expect(plain.lines).toEqual(['container']);
  expect(plain.container.report().entries.filter(({ code }) => code === 'environment')).toEqual([]);
});

test('HST-18: a value shows in no error, and a start that fails leaves nothing', async () => {
  const supervisor = await rig.open({ faults: { 'mounting.credentials.mount': 12 } });
  const container = await rig.create({ supervisor, credentials });
  const error: Error = await container.start().then(
    () => expect.unreachable('it started'),
    (thrown: Error) => thrown,
  );
  expect(JSON.stringify(error)).toContain('mounting.credentials.mount');
  expect(JSON.stringify(error)).not.toContain(Buffer.from(SECRET).toString('base64'));
});

test('HST-18: what is no credential is refused by name', async () => {
  for (const [bad, field] of [
    [{ 'a/b': 'x' }, 'credentials.a/b'],
    [{ '..': 'x' }, 'credentials...'],
    [{ key: { base64: 'secret?' } }, 'credentials.key'],
    [{ key: 'x'.repeat(1024 * 1024 + 1) }, 'credentials'],
  ] as const) {
    const error: Error = await rig.create({ credentials: bad }).then(
      () => expect.unreachable('it was accepted'),
      (thrown: Error) => thrown,
    );
    expect(error).toMatchObject({ code: 'SPEC_INVALID', field });
    expect(error.message).not.toContain('secret?');
  }
});

test.each(['debian-12', 'debian-13'] as const)(
  'HST-18: the systemd of %s lists and reads them, and calls them secure',
  async name => {
    const rootfs = { path: await image(name), overlay: 'ephemeral' as const };
    const script = 'systemd-creds list --no-pager --no-legend; systemd-creds cat db.password';
    const { lines } = await rig.run({ rootfs, credentials: { 'db.password': 'abc' }, script });
    expect(lines[0]).toMatch(/^db\.password\s+secure\s+3B\s/);
    expect(lines.at(-1)).toBe('abc');
  },
  IMAGE_TIMEOUT_MS,
);
