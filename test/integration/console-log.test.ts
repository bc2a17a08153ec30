/** The console's log: on disk, exact over deaths of the supervisor, rotated, followed by many (LIF-12, ENV-25). */
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ConsoleChunk } from 'caisson';
import { afterEach, describe, expect, test } from 'vitest';
import { compile, REAPER } from '../lib/programs.ts';
import { finish, type Spec, type SpecInput, until, useRig, waitForText } from '../lib/rig.ts';
import { slow } from '../lib/slow.ts';
import { Victim } from '../lib/victim.ts';

const rig = useRig();
const shell = (script: string): Spec => ({ init: '/bin/sh', args: ['-c', script] });

const victims: Victim[] = [];
afterEach(async () => {
  for (const victim of victims.splice(0)) await victim.release();
});

async function collect(chunks: AsyncIterable<ConsoleChunk>): Promise<{ text: string; lost: number; start: number }> {
  const parts: Buffer[] = [];
  let lost = 0;
  let start: number | undefined;
  let next: number | undefined;
  for await (const chunk of chunks) {
    expect(chunk.offset).toBe((next ?? chunk.offset - chunk.lost) + chunk.lost);
    start ??= chunk.offset;
    next = chunk.offset + chunk.data.length;
    lost += chunk.lost;
    parts.push(chunk.data);
  }
  return { text: Buffer.concat(parts).toString('latin1'), lost, start: start ?? 0 };
}

function numbers(text: string): number[] {
  return text.split('\n').flatMap(line => (/^line (\d+)\r$/.exec(line) ? [Number(line.slice(5))] : []));
}

describe('LIF-12: no byte is lost or told twice', () => {
  test('over kill -9 of the supervisor, again and again, while a payload prints', async () => {
    const stateDir = rig.stateDir();
    const program = join(rig.dir, 'reaper');
    if (!existsSync(program)) compile(program, REAPER);
    const script =
      'i=0; while [ ! -e /tmp/end ]; do i=$((i+1)); echo "line $i"; done; echo "all $i"; while :; do sleep 1; done';
    const spec: SpecInput = rig.spec('unprivileged', {
      name: 'web',
      ...shell(script),
      console: { log: { maxBytes: 1024 * 1024, files: 200 } },
    });
    let pid = 0;
    for (let round = 0; round < 6; round++) {
      const victim = new Victim(
        { stateDir, specs: round === 0 ? [spec] : [], start: round === 0 },
        { program, mode: 'fast' },
      );
      victims.push(victim);
      const { pids } = await victim.ready;
      pid = pids?.web ?? pid;
      await new Promise(resolve => setTimeout(resolve, 20 + Math.random() * 400));
      await victim.kill();
    }
    const supervisor = await rig.open({ stateDir });
    const container = supervisor.get('web');
    expect(container).toMatchObject({ state: 'running', pid });
    writeFileSync(`/proc/${pid}/root/tmp/end`, '');
    await waitForText(container, /all \d+/);
    const { text, lost, start } = await collect(container.logs());
    expect({ lost, start }).toEqual({ lost: 0, start: 0 });
    const last = Number(/all (\d+)/.exec(text)?.[1]);
    const seen = numbers(text);
    console.log(`${last} lines, ${text.length} bytes over 6 kills`);
    expect(seen).toHaveLength(last);
    expect(seen.every((number, index) => number === index + 1)).toBe(true);
    expect(text.length).toBe(container.console.end);
    await container.kill();
  });

  test('offsets go on over a restart of the container, and of the supervisor', async () => {
    const stateDir = rig.stateDir();
    const first = await rig.open({ stateDir });
    const container = await rig.start({ name: 'web', supervisor: first, ...shell('echo life') });
    await finish(container);
    await container.start();
    await finish(container);
    await rig.close(first);
    const second = await rig.open({ stateDir });
    const again = second.get('web');
    expect(again.console.end).toBe(12);
    expect((await collect(again.logs())).text).toBe('life\r\nlife\r\n');
    await again.start();
    await finish(again);
    expect((await collect(again.logs({ since: 6 }))).text).toBe('life\r\nlife\r\n');
    expect((await collect(again.logs({ tail: { lines: 1 } }))).text).toBe('life\r\n');
    expect((await collect(again.logs({ tail: { bytes: 8 } }))).text).toBe('\r\nlife\r\n');
    const { mode } = statSync(join(stateDir, 'web/console.log'));
    expect(mode & 0o777).toBe(0o600);
    expect(readFileSync(join(stateDir, 'web/console.log'), 'latin1')).toBe('life\r\n'.repeat(3));
  });
});

test('ENV-25: a burst of 10 MB is whole, whoever reads and however slowly, and PID 1 waits for nobody', async () => {
  const size = 10_000_000;
  const container = await rig.create({
    ...shell(`stty raw; head -c ${size} /dev/urandom | tee /tmp/sent; sha256sum </tmp/sent >/tmp/sum; sleep 1000`),
    console: { log: { maxBytes: 1024 * 1024, files: 12 } },
  });
  const stop = new AbortController();
  const hashes = [1, 2, 3].map(() => createHash('sha256'));
  const follow = async (index: number): Promise<number> => {
    let total = 0;
    for await (const { data, lost } of container.logs({ since: 0, follow: true, signal: stop.signal })) {
      expect(lost).toBe(0);
      hashes[index]?.update(data);
      total += data.length;
      // One that is slow.
      if (index === 2) await new Promise(resolve => setTimeout(resolve, 5));
      if (total === size) break;
    }
    return total;
  };
  const begun = performance.now();
  const readers = hashes.map((_, index) => follow(index));
  await container.start();
  await until(() => container.console.end === size, 'printed', slow(20_000));
  console.log(`10 MB in ${(performance.now() - begun).toFixed(0)} ms`);
  expect(await Promise.all(readers)).toEqual([size, size, size]);
  await until(() => existsSync(`/proc/${container.pid}/root/tmp/sum`), 'summed');
  await until(() => readFileSync(`/proc/${container.pid}/root/tmp/sum`, 'latin1').length > 64, 'summed');
  const sum = readFileSync(`/proc/${container.pid}/root/tmp/sum`, 'latin1').slice(0, 64);
  expect(hashes.map(hash => hash.digest('hex'))).toEqual([sum, sum, sum]);
  await container.kill();
});

test('is rotated; what is rotated away is told as lost', async () => {
  const stateDir = rig.stateDir();
  const supervisor = await rig.open({ stateDir });
  const container = await rig.create({
    supervisor,
    ...shell('i=0; while [ $i -lt 60000 ]; do i=$((i+1)); echo "line $i"; done'),
    console: { ring: 1000, log: { maxBytes: 65_536, files: 3 } },
  });
  await container.start();
  await finish(container);
  expect(readdirSync(join(stateDir, container.name, 'console'))).toHaveLength(3);
  const { text, lost, start } = await collect(container.logs({ since: 0 }));
  expect(start).toBe(lost);
  expect(lost).toBeGreaterThan(100_000);
  expect(start + text.length).toBe(container.console.end);
  const seen = numbers(text);
  expect(seen.at(-1)).toBe(60_000);
  expect(seen.every((number, index) => number === (seen[0] ?? 0) + index)).toBe(true);
});

test('false: nothing is on disk, and what is in memory can be read', async () => {
  const stateDir = rig.stateDir();
  const supervisor = await rig.open({ stateDir });
  const container = await rig.start({ supervisor, ...shell('echo here'), console: { log: false } });
  await finish(container);
  expect(existsSync(join(stateDir, container.name, 'console'))).toBe(false);
  expect((await collect(container.logs())).text).toBe('here\r\n');
  expect(() => container.logs({ since: -1 })).toThrow(expect.objectContaining({ code: 'SPEC_INVALID' }));
});
