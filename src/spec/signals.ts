/**
 * Signals by name, as PID 1 of a Linux container sees them. Real-time signals count from glibc's SIGRTMIN, 34
 * (LIF-23): the kernel's own 32 and 33 belong to the threading library.
 */
const NUMBERS: Readonly<Record<string, number>> = {
  SIGHUP: 1,
  SIGINT: 2,
  SIGQUIT: 3,
  SIGILL: 4,
  SIGTRAP: 5,
  SIGABRT: 6,
  SIGBUS: 7,
  SIGFPE: 8,
  SIGKILL: 9,
  SIGUSR1: 10,
  SIGSEGV: 11,
  SIGUSR2: 12,
  SIGPIPE: 13,
  SIGALRM: 14,
  SIGTERM: 15,
  SIGSTKFLT: 16,
  SIGCHLD: 17,
  SIGCONT: 18,
  SIGSTOP: 19,
  SIGTSTP: 20,
  SIGTTIN: 21,
  SIGTTOU: 22,
  SIGURG: 23,
  SIGXCPU: 24,
  SIGXFSZ: 25,
  SIGVTALRM: 26,
  SIGPROF: 27,
  SIGWINCH: 28,
  SIGIO: 29,
  SIGPWR: 30,
  SIGSYS: 31,
};
const RTMIN = 34;
const RTMAX = 64;

/** The number of `SIGTERM`, `TERM`, `SIGRTMIN+3` or `37`; undefined for anything else. */
export function signalNumber(name: string | number): number | undefined {
  if (typeof name === 'number') return Number.isInteger(name) && name >= 1 && name <= RTMAX ? name : undefined;
  if (/^\d+$/.test(name)) return signalNumber(Number(name));
  const upper = name.toUpperCase();
  const full = upper.startsWith('SIG') ? upper : `SIG${upper}`;
  const offset = /^SIGRTMIN(?:\+(\d{1,2}))?$/.exec(full);
  if (offset !== null) {
    const number = RTMIN + Number(offset[1] ?? 0);
    return number <= RTMAX ? number : undefined;
  }
  return NUMBERS[full];
}

export function signalName(number: number): string {
  if (number >= RTMIN && number <= RTMAX) return number === RTMIN ? 'SIGRTMIN' : `SIGRTMIN+${number - RTMIN}`;
  for (const [name, value] of Object.entries(NUMBERS)) if (value === number) return name;
  return `SIG${number}`;
}
