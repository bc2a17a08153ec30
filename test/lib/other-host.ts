/**
 * This machine with other mounts: a supervisor in a mount namespace of its own, in which a script mounts before what the
 * host is to have. Nothing of it is seen outside, and it goes with the process.
 */
import { execFile } from 'node:child_process';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import type { CreateInput, EndOfLife, HostFacts, StartReport } from 'caisson';
import { slow } from './slow.ts';

const FIXTURE = fileURLToPath(new URL('../integration/fixtures/run.mjs', import.meta.url));

export interface RanElsewhere {
  readonly name: string;
  readonly text: string;
  readonly end: EndOfLife;
  readonly report: StartReport;
}

export interface OtherHost {
  readonly stateDir: string;
  /** A shell script that mounts. */
  readonly mounts: string;
  readonly specs: readonly CreateInput[];
  readonly facts?: Partial<HostFacts>;
}

export function runElsewhere({ mounts, ...told }: OtherHost): Promise<RanElsewhere[]> {
  const script = `set -e\n${mounts}\nexec "$0" "$@"`;
  const argv = ['--mount', '--propagation', 'private', 'sh', '-c', script];
  const program = [process.execPath, FIXTURE, JSON.stringify(told)];
  return new Promise((resolve, reject) => {
    execFile('unshare', [...argv, ...program], { timeout: slow(60_000) }, (error, stdout, stderr) => {
      if (error === null)
        resolve(
          stdout
            .split('\n')
            .filter(Boolean)
            .map(line => JSON.parse(line) as RanElsewhere),
        );
      else reject(new Error(`${error.message}\n${stdout}${stderr}`));
    });
  });
}
