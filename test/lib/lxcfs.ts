/** An LXCFS of the tests' own, on a directory of theirs: never the machine's. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { until } from './rig.ts';

export class TestLxcfs {
  private process: ChildProcess | undefined;

  /** @param base an empty directory; LXCFS is mounted on `path` below it, which must exist. */
  constructor(
    private readonly base: string,
    readonly path: string,
  ) {}

  get mounted(): boolean {
    return readFileSync('/proc/self/mountinfo', 'utf8')
      .split('\n')
      .some(line => line.split(' ')[4] === this.path && line.includes(' - fuse.lxcfs '));
  }

  async start(): Promise<void> {
    this.process = spawn('lxcfs', ['-f', '-p', join(this.base, 'pid'), this.path], { stdio: 'ignore' });
    await until(() => this.mounted, 'LXCFS is mounted');
  }

  signal(signal: 'SIGSTOP' | 'SIGCONT'): void {
    this.process?.kill(signal);
  }

  /** Its mount stays, and answers ENOTCONN. */
  async kill(): Promise<void> {
    const { process } = this;
    this.process = undefined;
    if (process === undefined) return;
    const ended = process.exitCode !== null || process.signalCode !== null ? undefined : once(process, 'exit');
    process.kill('SIGKILL');
    await ended;
  }

  /** As a service manager does after such an end. */
  unmount(): void {
    if (this.mounted) execFileSync('umount', ['-l', this.path]);
  }

  /** Nothing of it is left, whatever a test did to it. */
  async end(): Promise<void> {
    await this.kill();
    this.unmount();
  }
}
