/** An LXCFS of the tests' own, on a directory of theirs: never the machine's. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, rmdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { until } from './rig.ts';

export class TestLxcfs {
  private process: ChildProcess | undefined;
  private said = '';

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
    this.process = spawn('lxcfs', ['-f', '-p', join(this.base, 'pid'), this.path], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    for (const output of [this.process.stdout, this.process.stderr]) {
      output?.on('data', data => {
        this.said += data;
      });
    }
    await until(() => this.mounted, 'LXCFS is mounted');
  }

  /** Whether it has found that controller: on cgroup v2 only what its own cgroup has. */
  knows(controller: string): boolean {
    return this.said.split('\n').some(line => /^\s*\d+: fd:/.test(line) && line.split(/[\s,:]+/).includes(controller));
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

/**
 * Before the rig of a test file: on a host with nothing but cgroup v2 LXCFS mounts that tree once more for itself, by
 * which the options of the host's own mount change (nsdelegate). It is not the tests that leave that behind.
 */
export async function startOnce(): Promise<void> {
  const base = mkdtempSync('/var/tmp/caisson-lxcfs-');
  const path = join(base, 'mount');
  mkdirSync(path);
  const lxcfs = new TestLxcfs(base, path);
  await lxcfs.start();
  await lxcfs.end();
  rmSync(join(base, 'pid'), { force: true });
  rmdirSync(path);
  rmdirSync(base);
}
