/** The console: a pty that is always drained, written to, read by many, kept over restarts (ENV-25, HST-06). */
import { createHash } from 'node:crypto';
import { pipeline } from 'node:stream/promises';
import type { ConsoleChunk, Container } from 'caisson';
import { describe, expect, test } from 'vitest';
import { finish, type Spec, until, useRig, waitForText } from '../lib/rig.ts';

const rig = useRig();
const shell = (script: string): Spec => ({ init: '/bin/sh', args: ['-c', script] });
const text = (container: Container): string => container.console.history().toString();

async function collect(chunks: AsyncIterable<ConsoleChunk>): Promise<ConsoleChunk[]> {
  const out: ConsoleChunk[] = [];
  for await (const chunk of chunks) out.push(chunk);
  return out;
}

describe('input', () => {
  test('what is typed reaches PID 1, echoed by the terminal', async () => {
    const container = await rig.start({ init: '/bin/cat' });
    await container.console.write('héllo\n');
    await until(() => text(container) === 'héllo\r\nhéllo\r\n', 'echo and answer');
    await container.console.write(new Uint8Array([0x04]));
    expect(await finish(container)).toMatchObject({ exit: { kind: 'exit', status: 0 } });
  });

  test('^C is a signal to the foreground, not to us', async () => {
    // Who says that it is ready becomes the sleep: before it is forked, ^C would only be the shell's.
    const script = "trap 'echo interrupted' INT; sh -c 'echo ready; exec sleep 1000'; echo on";
    const container = await rig.start(shell(script));
    await waitForText(container, 'ready');
    await container.console.write('\x03');
    await waitForText(container, /interrupted[\s\S]*on/);
  });

  test('more than the pty takes waits for the payload, and arrives whole and in order', async () => {
    const size = 300_000;
    const script = `stty raw -echo; echo ready; sleep 0.3; head -c ${size} | sha256sum`;
    const container = await rig.start(shell(script));
    await waitForText(container, 'ready');
    const data = Buffer.from(Array.from({ length: size }, (_, index) => (index * 7 + (index >> 8)) & 0xff));
    const half = container.console.write(data.subarray(0, size / 2));
    const rest = container.console.write(data.subarray(size / 2));
    await Promise.all([half, rest]);
    await finish(container);
    expect(text(container)).toContain(createHash('sha256').update(data).digest('hex'));
  });

  test('a stopped container takes none, and one that ends tells the writer', async () => {
    const container = await rig.create(shell('stty raw -echo; echo ready; sleep 1000'));
    await expect(container.console.write('x')).rejects.toMatchObject({ code: 'CLOSED' });
    expect(container.console.connected).toBe(false);
    await container.start();
    expect(container.console.connected).toBe(true);
    await waitForText(container, 'ready');
    const stuck = container.console.write(Buffer.alloc(200_000, 'x'));
    const failed = expect(stuck).rejects.toMatchObject({ code: 'CLOSED' });
    await container.kill();
    await failed;
    await expect(container.console.write('x')).rejects.toMatchObject({ code: 'CLOSED' });
  });

  test('resize changes the window, and tells', async () => {
    const script = "stty size; trap 'stty size' WINCH; echo ready; while :; do sleep 0.05; done";
    const container = await rig.start({ ...shell(script), console: { rows: 30, cols: 90 } });
    await waitForText(container, 'ready');
    expect(text(container)).toContain('30 90\r\n');
    container.console.resize(50, 132);
    await waitForText(container, '50 132');
    await container.kill();
    container.console.resize(1, 1);
  });
});

describe('output', () => {
  test('every reader gets everything, from where it asked', async () => {
    const container = await rig.create(
      shell('for i in 1 2 3; do echo line $i; sleep 0.02; done; echo ready; read x; echo after $x'),
    );
    const stop = new AbortController();
    const early = collect(container.console.read({ signal: stop.signal }));
    await container.start();
    await waitForText(container, 'ready');
    const from = container.console.end;
    const now = collect(container.console.read({ from: 'now', signal: stop.signal }));
    const history = collect(container.console.read({ signal: stop.signal }));
    const offset = collect(container.console.read({ from: 5, signal: stop.signal }));
    await container.console.write('all\n');
    await finish(container);
    await until(() => text(container).includes('after all'), 'the last line');
    stop.abort();
    const whole = text(container);
    const joined = (chunks: ConsoleChunk[]): string => Buffer.concat(chunks.map(({ data }) => data)).toString();
    expect(joined(await early)).toBe(whole);
    expect(joined(await history)).toBe(whole);
    expect(joined(await now)).toBe(whole.slice(from));
    expect(joined(await offset)).toBe(whole.slice(5));
    for (const reader of [early, now, history, offset]) {
      let next = (await reader)[0]?.offset ?? 0;
      for (const chunk of await reader) {
        expect(chunk.offset).toBe(next);
        expect(chunk.lost).toBe(0);
        next += chunk.data.length;
      }
    }
  });

  test('a slow reader is told what it lost, and holds nobody up', async () => {
    const ring = 4096;
    const container = await rig.create({
      ...shell('head -c 100000 /dev/zero | tr "\\0" a; printf end'),
      console: { ring },
    });
    await container.start();
    const chunks = container.console.read({ from: 0 });
    await finish(container);
    const first = await chunks.next();
    const chunk = first.value as ConsoleChunk;
    expect(chunk.lost).toBe(100_003 - ring);
    expect(chunk.offset).toBe(chunk.lost);
    expect(chunk.data).toHaveLength(ring);
    expect(chunk.data.toString().endsWith('aaaend')).toBe(true);
    await chunks.return();
  });

  test('a ring of nothing keeps nothing, and PID 1 still never blocks', async () => {
    const container = await rig.create({ ...shell('head -c 1000000 /dev/zero | tr "\\0" a'), console: { ring: 0 } });
    await container.start();
    expect(await finish(container)).toMatchObject({ exit: { kind: 'exit', status: 0 } });
    expect(container.console.end).toBe(1_000_000);
    expect(container.console.history()).toHaveLength(0);
  });

  test('what was printed last before the end is not lost', async () => {
    for (let round = 0; round < 10; round++) {
      const { text: printed } = await rig.run(shell(`head -c 20000 /dev/zero | tr '\\0' ${round}; printf last`));
      expect(printed.length).toBe(20_004);
      expect(printed.endsWith(`${round}last`)).toBe(true);
    }
  });

  test('history goes on over restarts and reboots', async () => {
    const tree = rig.tree();
    const container = await rig.create({
      ...shell('echo life; [ -e /etc/x ] || { touch /etc/x; reboot -f; }'),
      rootfs: tree,
    });
    await container.start();
    await finish(container);
    await container.start();
    await finish(container);
    expect(text(container)).toBe('life\r\n'.repeat(3));
    expect(container.console.end).toBe(18);
    expect(container.console.since(6).data.toString()).toBe('life\r\n'.repeat(2));
  });

  test('HST-06: a console that init closes and opens again still works', async () => {
    const { lines } = await rig.run(
      shell('exec 0<&- 1>&- 2>&-; sleep 0.3; exec 1>/dev/console; echo back; : </dev/console && echo read'),
    );
    expect(lines).toEqual(['back', 'read']);
  });

  test('as a Node stream: both ways, and destroyed', async () => {
    const container = await rig.start(shell('stty -echo; read line; echo "got $line"; sleep 1000'));
    const stream = container.console.stream();
    stream.write('by stream\n');
    let seen = '';
    for await (const chunk of stream) {
      seen += String(chunk);
      if (seen.includes('got by stream')) break;
    }
    expect(stream.destroyed).toBe(true);
    const stop = new AbortController();
    const parts: string[] = [];
    const piped = pipeline(container.console.stream({ signal: stop.signal }), async source => {
      for await (const chunk of source) parts.push(String(chunk));
    });
    await until(() => parts.join('').includes('got by stream'), 'history piped');
    stop.abort();
    await piped;
    expect(container.state).toBe('running');
  });

  test('as bytes, and a reader that goes away leaves nothing behind', async () => {
    const container = await rig.start(shell('echo bytes; sleep 1000'));
    let seen = '';
    for await (const bytes of container.console) {
      seen += bytes.toString();
      if (seen.includes('bytes')) break;
    }
    await expect(waitForText(container, 'never', { timeoutMs: 50 })).rejects.toThrow('did not show');
  });
});
