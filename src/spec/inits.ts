/** Inits, and the signals by which each halts and reboots (LIF-24; measured, lifecycle.md §4). */

/** PID 1's program where the spec names none (ENV-50). */
export const INIT_DEFAULT = '/sbin/init';
/** Where `init: 'auto'` looks, in this order (HST-58). */
export const INIT_CANDIDATES = ['/usr/lib/systemd/systemd', '/lib/systemd/systemd', INIT_DEFAULT] as const;

const SIGINT = 2;
const SIGUSR1 = 10;
const SIGUSR2 = 12;
const SIGTERM = 15;
const SIGPWR = 30;
/** SIGRTMIN+3 of glibc (LIF-23): systemd's halt.target. */
export const SYSTEMD_HALT = 37;

/**
 * The controlling terminal that PID 1 is given (ENV-54): where it has the console, ^C typed there is a SIGINT to it, which
 * means reboot to most inits, and no login can have the console as its own.
 *
 * `console`: it knows what to do with it. `none`: it leaves terminals to what it starts. `idle`: it opens the console in a
 * way that takes it, unless it has another terminal already: so it gets one on which nobody ever types.
 */
export type InitTerminal = 'console' | 'none' | 'idle';

export interface InitProfile {
  readonly halt: number;
  readonly reboot: number;
  /** What no signal makes it do, but its own command (LIF-48); the signal is the one that comes nearest. */
  readonly deafTo: readonly ('halt' | 'reboot')[];
  readonly terminal: InitTerminal;
  /** What /dev/log is at the start (ENV-27): the way to journald's socket, or a socket of ours. */
  readonly log: 'journal' | 'socket';
}

export const INIT_PROFILES = {
  // It gives the terminal up as soon as it runs.
  systemd: { halt: SYSTEMD_HALT, reboot: SIGINT, deafTo: [], terminal: 'console', log: 'journal' },
  // SIGPWR halts it where its inittab has a power-fail action, and Debian's has none.
  sysvinit: { halt: SIGPWR, reboot: SIGINT, deafTo: ['halt'], terminal: 'idle', log: 'socket' },
  openrc: { halt: SIGPWR, reboot: SIGINT, deafTo: ['halt'], terminal: 'idle', log: 'socket' },
  busybox: { halt: SIGUSR1, reboot: SIGTERM, deafTo: [], terminal: 'none', log: 'socket' },
  runit: { halt: SIGPWR, reboot: SIGINT, deafTo: ['reboot'], terminal: 'none', log: 'socket' },
  finit: { halt: SIGUSR2, reboot: SIGTERM, deafTo: [], terminal: 'none', log: 'socket' },
  // It ends by either, with status 0: a reboot that was asked for is that and a new start.
  s6: { halt: SIGTERM, reboot: SIGTERM, deafTo: [], terminal: 'none', log: 'socket' },
  // A program of the user's own: a shell wants the terminal.
  unknown: { halt: SIGPWR, reboot: SIGINT, deafTo: [], terminal: 'console', log: 'socket' },
} as const satisfies Record<string, InitProfile>;
export type InitName = keyof typeof INIT_PROFILES;
export const INIT_NAMES = Object.keys(INIT_PROFILES) as InitName[];

const PROGRAMS: Readonly<Record<string, InitName>> = {
  systemd: 'systemd',
  runit: 'runit',
  'runit-init': 'runit',
  finit: 'finit',
  'openrc-init': 'openrc',
  's6-svscan': 's6',
  's6-linux-init': 's6',
};

/**
 * The init that an init script becomes: by the last line that runs a known one, with `exec` as in a shell or without, as
 * in execline.
 */
export function initOfScript(text: string): InitName {
  for (const line of text.split('\n').reverse()) {
    const words = line.trim().split(/\s+/);
    const [program = '', argument = ''] = words[0] === 'exec' ? words.slice(1) : words;
    const name = basename(program);
    if (Object.hasOwn(PROGRAMS, name)) return PROGRAMS[name] ?? 'unknown';
    if (name === 'busybox' && argument === 'init') return 'busybox';
  }
  return 'unknown';
}

function basename(path: string): string {
  return path.replace(/^.*\//, '');
}

/**
 * The init that PID 1 is, by the program it runs.
 * @param executable where /proc/<pid>/exe leads.
 * @param command its name in /proc/<pid>/comm: a busybox is an init by that only.
 * @param blocksHalt it blocks SIGRTMIN+3, as only systemd does (LIF-22).
 */
export function detectInit(executable: string, command: string, blocksHalt: boolean): InitName {
  const program = basename(executable.replace(/ \(deleted\)$/, ''));
  if (Object.hasOwn(PROGRAMS, program)) return PROGRAMS[program] ?? 'unknown';
  if (program.startsWith('busybox')) return command === 'init' || command === 'linuxrc' ? 'busybox' : 'unknown';
  if (blocksHalt) return 'systemd';
  return program === 'init' ? 'sysvinit' : 'unknown';
}

/** What of an init a start has to know before it runs. */
export interface InitSigns {
  readonly takesConsole: boolean;
  readonly needsIdleTerminal: boolean;
  readonly hasJournal: boolean;
  readonly lacksJournal: boolean;
}

export function signsOf(init: InitName): InitSigns {
  const { terminal, log } = INIT_PROFILES[init];
  return {
    takesConsole: terminal === 'console',
    needsIdleTerminal: terminal === 'idle',
    hasJournal: log === 'journal',
    lacksJournal: log === 'socket',
  };
}

/** Whether one asks it by a command rather than by a signal. */
export function isDeafTo(init: InitName, purpose: 'halt' | 'reboot'): boolean {
  const { deafTo }: InitProfile = INIT_PROFILES[init];
  return deafTo.includes(purpose);
}
