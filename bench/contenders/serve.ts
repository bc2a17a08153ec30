/**
 * A contender that is a process of its own which stays warm and takes commands, one line each: the floor, and
 * Caisson's supervisor (which so has a heap of its own). The lines are described in floor/floor.c, serve().
 */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { Batch, Kept, PhaseSample, Sample, Session } from '../contender.js';
import { PAYLOADS } from '../rootfs.js';

interface Run {
  readonly call: number;
  readonly first: number;
  readonly reaped: number;
  readonly gone: number;
}

function runs(lines: readonly string[]): Run[] {
  return lines
    .filter(line => line.startsWith('run '))
    .map(line => line.split(' ').map(Number))
    .map(([, , call, first, reaped, gone]) => ({ call: call!, first: first!, reaped: reaped!, gone: gone! }));
}

function milliseconds(from: number, to: number): number {
  return (to - from) / 1e6;
}

function phases(lines: readonly string[]): PhaseSample[] {
  return lines
    .filter(line => line.startsWith('phase '))
    .map(line => {
      const [, name, all, host, init] = line.split(' ');
      return { name: name!, wall: Number(all) / 1e6, host: Number(host) / 1e6, init: Number(init) / 1e6 };
    });
}

function wall(lines: readonly string[]): number {
  const fields = lines
    .find(line => line.startsWith('all '))
    ?.split(' ')
    .map(Number);
  return fields === undefined ? Number.NaN : milliseconds(fields[1]!, fields[2]!);
}

export class ServeSession implements Session {
  private readonly child: ChildProcessWithoutNullStreams;
  private readonly ended: Promise<number | null>;
  private waiting: { resolve(lines: string[]): void; reject(error: Error): void } | null = null;
  private lines: string[] = [];
  private errors = '';

  constructor(command: string, args: readonly string[]) {
    this.child = spawn(command, args, { stdio: 'pipe' });
    createInterface({ input: this.child.stdout }).on('line', line => {
      if (line !== 'ok') {
        this.lines.push(line);
        return;
      }
      const { waiting, lines } = this;
      this.waiting = null;
      this.lines = [];
      waiting?.resolve(lines);
    });
    this.child.stderr.on('data', (chunk: Buffer) => {
      this.errors = (this.errors + chunk.toString()).slice(-4000);
    });
    // A write to a child that has just died: its end is reported below.
    this.child.stdin.on('error', () => {});
    this.ended = new Promise(resolve => {
      this.child.on('error', error => {
        this.errors += error.message;
        resolve(null);
      });
      this.child.on('close', code => resolve(code));
    });
    void this.ended.then(code =>
      this.waiting?.reject(new Error(`ended with ${code ?? 'a signal'}: ${this.errors.trim()}`)),
    );
  }

  async probe(): Promise<string> {
    return (await this.ask(`probe ${PAYLOADS.probe}`)).join('\n');
  }

  async once(): Promise<Sample> {
    const lines = await this.ask(`run ${PAYLOADS.stamp}`);
    return { ...this.samples(lines, 1)[0]!, phases: phases(lines) };
  }

  async batch(count: number, atOnce: number): Promise<Batch> {
    const lines = await this.ask(`batch ${count} ${atOnce} ${PAYLOADS.stamp}`);
    return { wall: wall(lines), samples: this.samples(lines, count) };
  }

  async keep(count: number): Promise<Kept> {
    const lines = await this.ask(`hold ${count} ${PAYLOADS.pause}`);
    const starts = runs(lines).map(({ call, first }) => milliseconds(call, first));
    if (starts.length !== count)
      throw new Error(`${starts.length} of ${count} containers started: ${lines.at(-1) ?? ''}`);
    return { starts, until: 'first instruction' };
  }

  async stopKept(): Promise<number> {
    return wall(await this.ask('stop'));
  }

  async supervisors(): Promise<readonly number[]> {
    return this.child.pid === undefined ? [] : [this.child.pid];
  }

  async settle(): Promise<void> {
    await this.ask('settle');
  }

  async close(): Promise<void> {
    this.child.stdin.end();
    const timer = setTimeout(() => this.child.kill('SIGKILL'), 60_000);
    await this.ended;
    clearTimeout(timer);
  }

  private samples(lines: readonly string[], count: number): Sample[] {
    const samples = runs(lines).map(({ call, first, reaped, gone }) => ({
      first: milliseconds(call, first),
      reaped: milliseconds(call, reaped),
      gone: milliseconds(call, gone),
    }));
    if (samples.length !== count || samples.some(sample => !(sample.first > 0))) {
      throw new Error(`a start failed: ${lines.find(line => line.startsWith('error ')) ?? this.errors.trim()}`);
    }
    return samples;
  }

  private ask(command: string): Promise<string[]> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) {
      return Promise.reject(new Error(`it has ended: ${this.errors.trim()}`));
    }
    return new Promise((resolve, reject) => {
      this.waiting = { resolve, reject };
      this.child.stdin.write(`${command}\n`);
    });
  }
}
