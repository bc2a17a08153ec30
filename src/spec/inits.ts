/** Inits, and the signals by which each halts and reboots (LIF-24; measured, lifecycle.md §4). */

const SIGINT = 2;
const SIGUSR1 = 10;
const SIGUSR2 = 12;
const SIGTERM = 15;
const SIGPWR = 30;
/** SIGRTMIN+3 of glibc (LIF-23): systemd's halt.target. */
export const SYSTEMD_HALT = 37;

export interface InitProfile {
  readonly halt: number;
  readonly reboot: number;
}

export const INIT_PROFILES = {
  systemd: { halt: SYSTEMD_HALT, reboot: SIGINT },
  // SIGPWR halts it only where its inittab has a power-fail action, and Debian's has none.
  sysvinit: { halt: SIGPWR, reboot: SIGINT },
  openrc: { halt: SIGPWR, reboot: SIGINT },
  busybox: { halt: SIGUSR1, reboot: SIGTERM },
  // No signal makes it reboot.
  runit: { halt: SIGPWR, reboot: SIGINT },
  finit: { halt: SIGUSR2, reboot: SIGTERM },
  // It ends by either, with status 0: a reboot that was asked for is that and a new start.
  s6: { halt: SIGTERM, reboot: SIGTERM },
  unknown: { halt: SIGPWR, reboot: SIGINT },
} as const satisfies Record<string, InitProfile>;
export type InitName = keyof typeof INIT_PROFILES;
export const INIT_NAMES = Object.keys(INIT_PROFILES) as InitName[];

const PROGRAMS: Readonly<Record<string, InitName>> = {
  systemd: 'systemd',
  runit: 'runit',
  'runit-init': 'runit',
  finit: 'finit',
  's6-svscan': 's6',
};

/**
 * The init that PID 1 is, by the program it runs.
 * @param executable where /proc/<pid>/exe leads.
 * @param command its name in /proc/<pid>/comm: a busybox is an init by that only.
 * @param blocksHalt it blocks SIGRTMIN+3, as only systemd does (LIF-22).
 */
export function detectInit(executable: string, command: string, blocksHalt: boolean): InitName {
  const program = executable.replace(/ \(deleted\)$/, '').replace(/^.*\//, '');
  if (Object.hasOwn(PROGRAMS, program)) return PROGRAMS[program] ?? 'unknown';
  if (program.startsWith('busybox')) return command === 'init' || command === 'linuxrc' ? 'busybox' : 'unknown';
  if (blocksHalt) return 'systemd';
  return program === 'init' ? 'sysvinit' : 'unknown';
}
