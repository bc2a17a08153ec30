/** A supervisor in a process of its own, to be killed (fixtures/supervise.mjs). */
import { type ChildProcess, spawn } from 'node:child_process';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import process from 'node:process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { CreateInput, GroupInput } from 'caisson';

const FIXTURE = fileURLToPath(new URL('../integration/fixtures/supervise.mjs', import.meta.url));

export interface VictimOptions {
  readonly stateDir: string;
  readonly specs: readonly CreateInput[];
  readonly killAt?: string;
  /** Created and started in place of the containers. */
  readonly groups?: readonly GroupInput[];
  readonly loop?: boolean;
  /** What the host starts is started in place of the containers. */
  readonly autostart?: boolean;
  /** False: only adopt. */
  readonly start?: boolean;
}

/** The program that inherits its orphans in place of the host's PID 1 (REAPER in programs.ts). */
export interface Reaper {
  readonly program: string;
  readonly mode: 'fast' | 'slow';
}

interface Ready {
  readonly ready: true;
  readonly pids?: Record<string, number>;
}

type Said = Ready | { command: number } | { dead: true } | { container: string; state: string; seq: number };

export class Victim {
  /** States its containers went through, as `name state`. */
  readonly states: string[] = [];
  /** The same by the sequence number of the event that told. */
  readonly told = new Map<number, string>();
  /** Settles when it is dead; without a reaper, with the signal that did it. */
  readonly dead: Promise<NodeJS.Signals | null>;
  readonly ready: Promise<Ready>;
  private readonly child: ChildProcess;
  private readonly exited: Promise<NodeJS.Signals | null>;
  private command: number | undefined;
  private errors = '';

  constructor(options: VictimOptions, reaper?: Reaper) {
    const command = [process.execPath, FIXTURE, JSON.stringify(options)];
    const [program = '', ...args] = reaper === undefined ? command : [reaper.program, reaper.mode, ...command];
    const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'pipe'] });
    this.child = child;
    child.stderr.on('data', (data: Buffer) => {
      this.errors += data.toString();
    });
    this.exited = new Promise(resolve => child.once('close', (_code, signal) => resolve(signal)));
    let told: (signal: null) => void = () => undefined;
    this.dead = Promise.race([this.exited, new Promise<null>(resolve => (told = resolve))]);
    this.ready = new Promise((resolve, reject) => {
      createInterface({ input: child.stdout }).on('line', line => {
        const said = JSON.parse(line) as Said;
        if ('ready' in said) resolve(said);
        else if ('command' in said) this.command = said.command;
        else if ('dead' in said) told(null);
        else {
          const state = `${said.container} ${said.state}`;
          this.states.push(state);
          this.told.set(said.seq, state);
        }
      });
      void this.dead.then(signal => reject(new Error(`it died by ${signal} before it was ready: ${this.errors}`)));
    });
    // Awaited by those who need it.
    this.ready.catch(() => undefined);
  }

  /** SIGKILL to the supervisor; resolves when it is dead. */
  async kill(): Promise<void> {
    if (this.command === undefined) this.child.kill('SIGKILL');
    else process.kill(this.command, 'SIGKILL');
    await this.dead;
  }

  /** Ends the reaper, if there is one. */
  async release(): Promise<void> {
    this.child.stdin?.end();
    await this.exited;
  }
}

/**
 * Processes in a cgroup of this supervisor that are still a copy of Node: children of an unfinished start. Zombies
 * have ended; that they are not reaped is up to the host's PID 1.
 */
export function halfMade(prefix: string): string[] {
  return readdirSync('/proc').flatMap(entry => {
    if (!/^\d+$/.test(entry)) return [];
    try {
      const cgroups = readFileSync(`/proc/${entry}/cgroup`, 'utf8');
      if (!cgroups.includes(`/${prefix}/`) && !cgroups.includes(`/${prefix}-`)) return [];
      return readlinkSync(`/proc/${entry}/exe`) === process.execPath ? [entry] : [];
    } catch (error) {
      // Ended meanwhile, or a zombie, which has no program any more.
      if (['ENOENT', 'ESRCH'].includes((error as NodeJS.ErrnoException).code ?? '')) return [];
      throw error;
    }
  });
}
