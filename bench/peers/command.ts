/** What all peers share: each is a command, started and timed by floor/spawn.c. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Batch, Context, Kept, Sample, Session } from '../contender.js';
import { Refusal } from '../contender.js';
import type { Payload } from '../rootfs.js';

const run = promisify(execFile);

export interface CommandPeer {
  readonly note?: string;
  /** Options of spawn.c that this peer needs. */
  readonly runner?: readonly string[];
  /** The command that runs `payload` in the foreground; {} becomes the run's number. */
  command(payload: Payload): readonly string[];
  /** Writes what the runs with these numbers need; not timed. */
  readonly prepare?: (payload: Payload, first: number, count: number) => void;
  /** Starts the pausing payload and returns. `stamps`: its standard output still is ours. */
  readonly keep?: { readonly command: readonly string[]; readonly stamps: boolean };
  /** Commands that stop one kept container, run one after the other over all of them. */
  readonly stop?: readonly (readonly string[])[];
  readonly supervisors?: () => readonly number[];
}

interface Line {
  readonly call: number;
  readonly stamp: number | null;
  readonly end: number;
  readonly status: number;
}

interface Report {
  readonly lines: readonly Line[];
  readonly wall: number;
  readonly errors: readonly string[];
}

function parse(output: string): Report {
  const lines: Line[] = [];
  const errors: string[] = [];
  let wall = Number.NaN;
  for (const text of output.split('\n')) {
    const [kind, ...fields] = text.split(' ');
    if (kind === 'run') {
      const [, call, stamp, end, status] = fields;
      lines.push({
        call: Number(call),
        stamp: stamp === '-' ? null : Number(stamp),
        end: Number(end),
        status: Number(status),
      });
    } else if (kind === 'err') errors.push(fields.slice(1).join(' ').replace(/\|$/, ''));
    else if (kind === 'all') wall = (Number(fields[1]) - Number(fields[0])) / 1e6;
  }
  return { lines, wall, errors };
}

/** The runtime's own words, short enough for a table. */
function reason(errors: readonly string[]): string {
  const text = (errors[0] ?? 'no output').replaceAll('|', ' ').trim();
  return text.length > 400 ? `${text.slice(0, 400)}…` : text;
}

export class CommandSession implements Session {
  readonly note?: string;
  readonly keep?: (count: number) => Promise<Kept>;
  readonly stopKept?: () => Promise<number>;
  readonly supervisors?: () => Promise<readonly number[]>;
  private next = 0;
  private kept: { readonly first: number; readonly count: number } | null = null;

  constructor(
    private readonly peer: CommandPeer,
    private readonly context: Context,
  ) {
    const { keep, supervisors, note } = peer;
    if (note !== undefined) this.note = note;
    if (keep !== undefined) {
      this.keep = async count => this.startKept(keep, count);
      this.stopKept = async () => this.endKept();
    }
    if (supervisors !== undefined) this.supervisors = async () => supervisors();
  }

  async probe(): Promise<string> {
    const number = this.next++;
    this.peer.prepare?.('probe', number, 1);
    const { stdout } = await this.spawn(['-r', '-b', String(number)], this.peer.command('probe'));
    if (!stdout.includes('END 1'))
      throw new Refusal(reason([stdout.replace(/\s*STATUS \d+\s*$/, '').replaceAll('\n', ' ')]));
    return stdout;
  }

  async once(): Promise<Sample> {
    return (await this.batch(1, 1)).samples[0]!;
  }

  async batch(count: number, atOnce: number): Promise<Batch> {
    const report = await this.time(
      ['-n', String(count), '-j', String(atOnce)],
      count,
      'stamp',
      this.peer.command('stamp'),
    );
    const samples = report.lines.map(({ call, stamp, end, status }) => {
      if (stamp === null || status !== 0) throw new Error(`a start failed: ${reason(report.errors)}`);
      return { first: (stamp - call) / 1e6, reaped: null, gone: (end - call) / 1e6 };
    });
    return { wall: report.wall, samples };
  }

  async close(): Promise<void> {
    await this.stopKept?.();
  }

  private async startKept(keep: NonNullable<CommandPeer['keep']>, count: number): Promise<Kept> {
    this.kept = { first: this.next, count };
    const report = await this.time(['-n', String(count), keep.stamps ? '-d' : '-D'], count, 'pause', keep.command);
    const starts = report.lines.map(({ call, stamp, end, status }) => {
      if (status !== 0 || (keep.stamps && stamp === null)) throw new Error(`a start failed: ${reason(report.errors)}`);
      return ((stamp ?? end) - call) / 1e6;
    });
    return { starts, until: keep.stamps ? 'first instruction' : 'command returned' };
  }

  private async endKept(): Promise<number> {
    if (this.kept === null) return 0;
    const { first, count } = this.kept;
    this.kept = null;
    const before = process.hrtime.bigint();
    for (const command of this.peer.stop ?? [])
      await this.spawn(['-n', String(count), '-b', String(first), '-D'], command);
    return Number(process.hrtime.bigint() - before) / 1e6;
  }

  private async time(
    options: readonly string[],
    count: number,
    payload: Payload,
    command: readonly string[],
  ): Promise<Report> {
    const first = this.next;
    this.next += count;
    this.peer.prepare?.(payload, first, count);
    const { stdout } = await this.spawn(['-b', String(first), ...options], command);
    return parse(stdout);
  }

  private async spawn(options: readonly string[], command: readonly string[]): Promise<{ stdout: string }> {
    return run(join(this.context.bin, 'spawn'), [...(this.peer.runner ?? []), ...options, '--', ...command], {
      maxBuffer: 64 * 1024 * 1024,
    });
  }
}

/** Options that move the runner into our own cgroups, for peers that make theirs below the one they are started in. */
export function inOurCgroups(context: Context): string[] {
  return context.cgroups.flatMap(path => ['-g', path]);
}
